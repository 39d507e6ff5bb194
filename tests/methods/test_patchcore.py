"""PatchCore with the authors' settings, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from adbench.backbone.clip import Features
from adbench.blocks.maps import gaussian_blur
from adbench.errors import AdbenchError

AUTHORS = {"dims": 48, "padding": "zeros", "level_norm": "false", "align_corners": "false"}
Array = NDArray[np.float64]


def windows_mean(values: Array, count: int) -> Array:
    n = values.shape[-1]
    parts = [values[..., i * n // count : -(-(i + 1) * n // count)].mean(-1) for i in range(count)]
    return np.stack(parts, axis=-1)


def authors_patches(features: Features, dims: int) -> Array:
    """Return (B * patches, dims): for each level the 3 x 3 neighbours' values down to dims, then all levels'."""
    levels = []
    for tokens in features.blocks.values():
        grid = round((tokens.shape[1] - 1) ** 0.5)
        square = tokens[:, 1:].double().numpy().reshape(len(tokens), grid, grid, -1)
        padded = np.pad(square, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = [padded[:, y : y + grid, x : x + grid] for y in range(3) for x in range(3)]
        levels.append(windows_mean(np.stack(shifted, axis=-1).reshape(len(tokens), grid, grid, -1), dims))
    return windows_mean(np.concatenate(levels, axis=-1), dims).reshape(-1, dims)


def test_the_authors_settings_equal_plain_numpy(bench, support) -> None:
    method, toy = bench.fitted("patchcore", coreset=0.2, neighbours=3, **AUTHORS), support()
    batch = bench.batch(method, toy.images[3:])
    with torch.no_grad():
        scores = method.score(batch)
    own = authors_patches(bench.batch(method, toy.images[:3]).features, 48)
    bank = method.bank.double().numpy()
    distance_to_own = np.linalg.norm(own[:, None] - bank[None], axis=2)
    np.testing.assert_allclose(distance_to_own.min(0), 0, atol=1e-4)  # the bank holds rows of the support
    assert len(set(distance_to_own.argmin(0))) == len(bank) == round(0.2 * len(own))

    distances = np.linalg.norm(authors_patches(batch.features, 48)[:, None] - bank[None], axis=2).reshape(3, 64, -1)
    nearest = torch.from_numpy(distances.min(2)).view(3, 1, 8, 8)
    pixels = F.interpolate(nearest, (112, 112), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(scores.maps, gaussian_blur(pixels, 4.0), atol=1e-4, rtol=1e-4)
    for i in range(3):  # Eq. 6 and 7
        worst = distances[i].min(1).argmax()
        star = distances[i, worst].argmin()
        around = np.linalg.norm(bank - bank[star], axis=1).argsort()[:3]
        weight = 1 - np.exp(distances[i, worst, star]) / np.exp(distances[i, worst, around]).sum()
        assert float(scores.image[i]) == pytest.approx(weight * distances[i, worst, star], rel=1e-4)


@pytest.mark.parametrize("change", [{"level_norm": "false"}, {"padding": "zeros"}, {"align_corners": "false"}, AUTHORS])
def test_each_setting_of_the_authors_changes_the_map(bench, support, change: dict[str, object]) -> None:
    images = support().images[3:]
    plain, changed = bench.fitted("patchcore"), bench.fitted("patchcore", **change)
    with torch.no_grad():
        maps = [method.score(bench.batch(method, images)).maps for method in (plain, changed)]
    assert not torch.allclose(*maps)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"dims": 64}, r"method\.dims=64 is not possible with method\.padding=none.*method\.padding=zeros"),
        ({"dims": -1, "padding": "zeros"}, r"method\.dims=-1 is not possible: at least 0"),
        ({"padding": "reflect"}, r"method\.padding=reflect is not possible: choose from none, zeros"),
    ],
)
def test_what_is_not_possible_is_refused(bench, words: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("patchcore", **words)
