from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adbench.backbone.config import Architecture, Stage
from adbench.backbone.contract import Features
from adbench.blocks.pyramid import (
    Levels,
    adaptively_pooled,
    check_local,
    chosen_levels,
    level_maps,
    local_vectors,
    mean_pooled,
    patch_vectors,
    square,
)
from adbench.errors import AdbenchError

Array = NDArray[np.float64]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def around(level: Array, side: int, y: int, x: int) -> Array:
    """Return the values (C, side, side) around a position of (C, h, w), zero beyond the border."""
    padded = np.pad(level, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
    return padded[:, y : y + side, x : x + side]


def windows_mean(values: Array, count: int) -> Array:
    """Average values (N,) over `count` windows, from floor(i N / count) to ceil((i + 1) N / count)."""
    n = len(values)
    return np.array([values[i * n // count : -(-(i + 1) * n // count)].mean() for i in range(count)])


VIT = Architecture(depth=12, width=3, patch=14, embed_dim=3)
CNN = Architecture(0, 0, 0, 8, class_token=False, stages=(Stage(1, 4, 4), Stage(2, 6, 8), Stage(3, 8, 16)))


def test_blocks_become_square_maps_without_the_class_token() -> None:
    tokens = torch.arange(2 * 5 * 3.0).view(2, 5, 3)
    (level,) = level_maps(Features({7: tokens.half()}), VIT)
    assert level.dtype == torch.float32
    assert level.shape == (2, 3, 2, 2)
    assert level[1, :, 1, 0].tolist() == tokens[1, 1 + 2].tolist(), "row 1, column 0 is the third patch"
    assert torch.equal(square(tokens[:, 1:]), level)
    (bare,) = level_maps(Features({7: tokens[:, 1:]}), dataclasses.replace(VIT, class_token=False))
    assert torch.equal(bare, level)


def test_stages_are_maps_already() -> None:
    stages = {2: noise(1, 6, 4, 4).half(), 3: noise(1, 8, 2, 2)}
    fine, coarse = level_maps(Features({}, stages=stages), CNN)
    assert torch.equal(fine, stages[2].float())
    assert coarse is stages[3]


def test_levels_are_those_named_or_the_methods_own_of_the_backbones_kind() -> None:
    none, own = SimpleNamespace(blocks=[], stages=[]), {"blocks": (6, 9), "stages": (2, 3)}
    assert chosen_levels(none, VIT, **own) == Levels((6, 9), ())
    assert chosen_levels(none, CNN, **own) == Levels((), (2, 3))
    assert chosen_levels(SimpleNamespace(blocks=[], stages=[1]), CNN, **own) == Levels((), (1,))
    assert (Levels((6, 9), ()).channels(VIT), Levels((), (1, 3)).channels(CNN)) == (6, 12)


@pytest.mark.parametrize(
    ("architecture", "named", "message"),
    [
        (
            CNN,
            {"blocks": [6]},
            r"method\.blocks=\[6\] is not possible: the backbone is a CNN.* method\.stages=\[2, 3\]",
        ),
        (
            VIT,
            {"stages": [2]},
            r"method\.stages=\[2\] is not possible: the backbone is a ViT.* method\.blocks=\[6, 9\]",
        ),
        (CNN, {"stages": [7]}, r"method\.stages=\[7\] is not possible: stages 1, 2, 3 can each be named once"),
    ],
)
def test_levels_of_another_kind_of_backbone_are_refused(
    architecture: Architecture, named: dict[str, list[int]], message: str
) -> None:
    params = SimpleNamespace(**{"blocks": [], "stages": []} | named)
    with pytest.raises(AdbenchError, match=message):
        chosen_levels(params, architecture, blocks=(6, 9), stages=(2, 3))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_means_over_neighbours_with_and_without_zeros_beyond_the_border(side: int) -> None:
    level = noise(1, 4, 6, 6)
    with_zeros, without = mean_pooled(level, side, zeros=True)[0], mean_pooled(level, side)[0]
    there = np.ones((1, 6, 6))
    for y in range(6):
        for x in range(6):
            total = around(level[0].numpy(), side, y, x).sum((1, 2))
            np.testing.assert_allclose(with_zeros[:, y, x], total / side**2, atol=1e-6)
            np.testing.assert_allclose(without[:, y, x], total / around(there, side, y, x).sum(), atol=1e-6)


@pytest.mark.parametrize(("channels", "dims"), [(4, 36), (4, 8), (5, 7), (2, 30)])  # to as many, fewer, odd, more
def test_adaptive_pooling_averages_the_neighbours_values_over_windows(channels: int, dims: int) -> None:
    level = noise(2, channels, 4, 4)
    pooled = adaptively_pooled(level, 3, dims)
    assert pooled.shape == (2, dims, 4, 4)
    for b, y, x in np.ndindex(2, 4, 4):
        wanted = windows_mean(around(level[b].numpy(), 3, y, x).ravel(), dims)
        np.testing.assert_allclose(pooled[b, :, y, x], wanted, atol=1e-6)


def test_adaptive_pooling_to_as_many_numbers_as_channels_is_the_mean_with_zeros() -> None:
    level = noise(2, 6, 5, 5)
    torch.testing.assert_close(adaptively_pooled(level, 3, 6), mean_pooled(level, 3, zeros=True))


def test_levels_meet_on_the_finest_grid_whatever_their_order() -> None:
    fine, coarse = noise(2, 3, 8, 8), noise(2, 5, 4, 4, seed=1)
    bilinear = patch_vectors([fine, coarse])
    assert bilinear.shape == (2, 64, 8)
    assert torch.equal(patch_vectors([coarse, fine])[..., 5:], bilinear[..., :3])
    assert torch.equal(square(bilinear)[:, :3], fine)
    # Between the coarse centres, at 1/4 and 3/4: 0.75 of the nearer value and 0.25 of the other one.
    row = coarse[0, :, :, 0]
    wanted = 0.75 * row[:, 1] + 0.25 * row[:, 0]
    torch.testing.assert_close(square(bilinear)[0, 3:, 2, 0], wanted)
    nearest = square(patch_vectors([fine, coarse], "nearest"))[:, 3:]
    assert torch.equal(nearest, coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_levels_meet_on_a_coarser_grid_with_corners_aligned() -> None:
    fine, coarse = noise(2, 3, 5, 5), noise(2, 4, 3, 3, seed=1)
    both = square(patch_vectors([fine, coarse], grid=3, align_corners=True))
    assert both.shape == (2, 7, 3, 3)
    torch.testing.assert_close(both[:, :3], fine[:, :, ::2, ::2])  # of 0 to 4 three positions are 0, 2 and 4
    assert torch.equal(both[:, 3:], coarse)
    wide = square(patch_vectors([noise(1, 2, 4, 4)], grid=3, align_corners=True))
    level = noise(1, 2, 4, 4)  # of 0 to 3 the middle of three is 1.5
    torch.testing.assert_close(wide[:, :, 1, 1], level[:, :, 1:3, 1:3].mean((2, 3)))
    torch.testing.assert_close(wide[:, :, 0, 1], level[:, :, 0, 1:3].mean(2))


def test_the_coarsest_levels_grid_and_stride() -> None:
    assert (Levels((6, 9), ()).stride(VIT), Levels((6, 9), ()).grid(VIT, 112)) == (14, 8)
    assert (Levels((), (3, 1)).stride(CNN), Levels((), (3, 1)).grid(CNN, 224)) == (16, 14)
    assert Levels((), (1, 2)).grid(CNN, 100) == 13  # convolutions round up


def test_a_norm_of_each_level_takes_its_scale_away() -> None:
    small, large = noise(1, 16, 4, 4), 100 + 50 * noise(1, 16, 4, 4)
    both = patch_vectors([small, large], level_norm=True)
    for part in both.split(16, dim=-1):
        torch.testing.assert_close(part.mean(-1), torch.zeros(1, 16), atol=1e-5, rtol=0)
        torch.testing.assert_close(part.square().mean(-1), torch.ones(1, 16), atol=1e-3, rtol=0)


def local(**changes: object) -> SimpleNamespace:
    plain = {"neighbourhood": 3, "padding": "none", "dims": 0, "level_norm": False}
    return SimpleNamespace(**plain | changes)


def test_local_vectors_are_pooled_levels_side_by_side() -> None:
    fine, coarse = noise(2, 4, 4, 4), noise(2, 6, 2, 2, seed=1)
    found = local_vectors([fine, coarse], local())
    assert found.shape == (2, 16, 10)
    centre = fine[0, :, 0:3, 1:4].mean((1, 2))
    torch.testing.assert_close(found[0, 1 * 4 + 2, :4], centre)
    corner = fine[0, :, :2, :2].mean((1, 2))  # four neighbours, or nine with zeros
    torch.testing.assert_close(found[0, 0, :4], corner)
    torch.testing.assert_close(local_vectors([fine, coarse], local(padding="zeros"))[0, 0, :4], corner * 4 / 9)


def test_local_vectors_of_dims_are_averaged_twice() -> None:
    level = noise(1, 4, 3, 3)
    values = around(level[0].numpy(), 3, 1, 1).reshape(-1)
    one = windows_mean(values, 5)
    found = local_vectors([level, level], local(padding="zeros", dims=5))
    np.testing.assert_allclose(found[0, 4], windows_mean(np.concatenate([one, one]), 5), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbourhood": 2}, r"method\.neighbourhood=2 is not possible: an odd number"),
        ({"dims": 8}, r"method\.dims=8 is not possible with method\.padding=none"),
        ({"neighbourhood": 1, "padding": "zeros"}, r"method\.padding=zeros .* there is no neighbour"),
        ({"padding": "mirror"}, r"method\.padding=mirror is not possible: choose from none, zeros"),
    ],
)
def test_local_vectors_that_are_not_possible(change: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        check_local(local(**change))
