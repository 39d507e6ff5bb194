"""PatchCore with the authors' settings, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Features
from adbench.backbone.weights import architecture
from adbench.blocks.maps import gaussian_blur
from adbench.config import layers, words
from adbench.errors import AdbenchError
from adbench.methods.patchcore import PatchCore

AUTHORS = {"dims": 48, "padding": "zeros", "level_norm": "false", "align_corners": "false"}
Array = NDArray[np.float64]


def windows_mean(values: Array, count: int) -> Array:
    n = values.shape[-1]
    parts = [values[..., i * n // count : -(-(i + 1) * n // count)].mean(-1) for i in range(count)]
    return np.stack(parts, axis=-1)


def levels_of(features: Features) -> list[Array]:
    """Return the levels as (B, grid, grid, C)."""
    levels = [level.permute(0, 2, 3, 1) for level in features.stages.values()]
    for tokens in features.blocks.values():
        grid = round((tokens.shape[1] - 1) ** 0.5)
        levels.append(tokens[:, 1:].reshape(len(tokens), grid, grid, -1))
    return [level.double().numpy() for level in levels]


def authors_patches(features: Features, dims: int) -> Array:
    """Return (B * patches, dims): for each level the 3 x 3 neighbours' values down to dims, then all levels'."""
    levels = []
    for square in levels_of(features):
        grid = square.shape[1]
        padded = np.pad(square, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = [padded[:, y : y + grid, x : x + grid] for y in range(3) for x in range(3)]
        levels.append(windows_mean(np.stack(shifted, axis=-1).reshape(*square.shape[:3], -1), dims))
    finest = levels[0].shape[1]
    even = [resized(level, finest) for level in levels]
    return windows_mean(np.concatenate(even, axis=-1), dims).reshape(-1, dims)


def resized(level: Array, size: int) -> Array:
    square = torch.from_numpy(level).permute(0, 3, 1, 2)
    return F.interpolate(square, (size, size), mode="bilinear", align_corners=False).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("backbone", "grid", "read"), [("bench", 8, (6, 9)), ("cnn_bench", 14, (2, 3))])
def test_the_authors_settings_equal_plain_numpy(
    request: pytest.FixtureRequest, support, backbone: str, grid: int, read: tuple[int]
) -> None:
    bench = request.getfixturevalue(backbone)
    method, toy = bench.fitted("patchcore", coreset=0.2, neighbours=3, **AUTHORS), support()
    assert (*method.declared.blocks, *method.declared.stages) == read
    batch = bench.batch(method, toy.images[3:])
    with torch.no_grad():
        scores = method.score(batch)
    own = authors_patches(bench.batch(method, toy.images[:3]).features, 48)
    bank = method.bank.double().numpy()
    distance_to_own = np.linalg.norm(own[:, None] - bank[None], axis=2)
    scale = float(np.linalg.norm(own, axis=1).mean())
    np.testing.assert_allclose(distance_to_own.min(0), 0, atol=1e-5 * scale)  # the bank holds rows of the support
    assert len(set(distance_to_own.argmin(0))) == len(bank) == round(0.2 * len(own))

    patches = authors_patches(batch.features, 48)
    distances = np.linalg.norm(patches[:, None] - bank[None], axis=2).reshape(3, grid * grid, -1)
    nearest = torch.from_numpy(distances.min(2)).view(3, 1, grid, grid)
    pixels = F.interpolate(nearest, (112, 112), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(scores.maps, gaussian_blur(pixels, 4.0), atol=1e-4, rtol=1e-4)
    for i in range(3):  # Eq. 6 and 7
        worst = distances[i].min(1).argmax()
        star = distances[i, worst].argmin()
        around = np.linalg.norm(bank - bank[star], axis=1).argsort()[:3]
        weight = 1 - np.exp(distances[i, worst, star]) / np.exp(distances[i, worst, around]).sum()
        assert float(scores.image[i]) == pytest.approx(weight * distances[i, worst, star], rel=1e-3)


def test_the_preset_of_the_paper_reads_two_stages_of_a_wide_resnet() -> None:
    (run,) = words.parse(["method=patchcore", "preset=paper"])
    assert (run.backbone, run.input_size, run.schedule) == ("wide-resnet-50-2", 224, "paper")
    params = layers.method_params(PatchCore.Params, "patchcore", run.schedule)
    shape = architecture(layers.section(BackboneConfig, "backbone", run.backbone), run.backbone)
    declared = PatchCore.capability(params, shape)
    assert declared.stages == (2, 3)
    assert not declared.blocks
    assert (params.dims, params.level_norm, params.padding, params.align_corners) == (1024, False, "zeros", False)


@pytest.mark.parametrize("change", [{"level_norm": "false"}, {"padding": "zeros"}, {"align_corners": "false"}, AUTHORS])
def test_each_setting_of_the_authors_changes_the_map(bench, support, change: dict[str, object]) -> None:
    images = support().images[3:]
    plain, changed = bench.fitted("patchcore"), bench.fitted("patchcore", **change)
    with torch.no_grad():
        maps = [method.score(bench.batch(method, images)).maps for method in (plain, changed)]
    assert not torch.allclose(*maps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": "[2]"}, r"method\.stages=\[2\] is not possible: the backbone is a ViT.*method\.blocks=\[6, 9\]"),
        ({"dims": 64}, r"method\.dims=64 is not possible with method\.padding=none.*method\.padding=zeros"),
        ({"dims": -1, "padding": "zeros"}, r"method\.dims=-1 is not possible: at least 0"),
        ({"padding": "reflect"}, r"method\.padding=reflect is not possible: choose from none, zeros"),
    ],
)
def test_what_is_not_possible_is_refused(bench, change: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("patchcore", **change)


def test_zeros_around_no_neighbourhood_are_refused(bench) -> None:
    with pytest.raises(AdbenchError, match=r"method\.padding=zeros is not possible with method\.neighbourhood=1"):
        bench.new("patchcore", padding="zeros", neighbourhood=1)
