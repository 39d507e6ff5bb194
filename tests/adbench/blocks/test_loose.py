from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.loose import (
    checked_groups,
    fused_groups,
    group_means,
    grouped,
    loose_map,
    loose_scores,
    loose_terms,
    map_distance,
    middle_blocks,
    noisy_bottleneck,
    rebuilt_groups,
    scale_gradient,
    small_weights,
    token_distance,
)
from adbench.errors import AdbenchError


def vit(depth: int, **facts: object) -> Architecture:
    return dataclasses.replace(Architecture(depth, 64, 14, 64), **facts)


def test_the_papers_blocks() -> None:
    assert middle_blocks(vit(12)) == (3, 4, 5, 6, 7, 8, 9, 10)
    assert middle_blocks(vit(24)) == (5, 7, 9, 11, 13, 15, 17, 19)


def test_blocks_that_the_backbones_yaml_names_come_first() -> None:
    assert middle_blocks(vit(12, default_levels=(9, 10, 11, 12))) == (9, 10, 11, 12)


def test_groups_and_heads_that_are_not_possible() -> None:
    def params(**changes: object) -> SimpleNamespace:
        return SimpleNamespace(**{"levels": [], "groups": 2, "decoder_blocks": 8, "heads": 0} | changes)

    assert checked_groups(params(), vit(12)) == middle_blocks(vit(12))
    assert checked_groups(params(levels=[2, 5], heads=4), vit(12)) == (2, 5)
    checked_groups(params(groups=9), vit(0))  # a backbone without blocks is refused elsewhere
    with pytest.raises(
        AdbenchError, match=r"groups=3 .* 2 blocks of the backbone and method.decoder_blocks=8: at most 2"
    ):
        checked_groups(params(levels=[2, 5], groups=3), vit(12))
    with pytest.raises(AdbenchError, match=r"groups=2 .* method.decoder_blocks=1: at most 1"):
        checked_groups(params(decoder_blocks=1), vit(12))
    with pytest.raises(AdbenchError, match=r"heads=5 .* have 64 channels"):
        checked_groups(params(heads=5), vit(12))


@pytest.mark.parametrize("depth", range(1, 49))
def test_every_depth_has_blocks(depth: int) -> None:
    blocks = middle_blocks(vit(depth))
    assert list(blocks) == sorted(set(blocks))
    assert 1 <= blocks[0] <= blocks[-1] <= depth
    assert len(blocks) == (8 if depth >= 9 else len(range(depth // 6 + 1, depth + 1)))


@pytest.mark.parametrize(
    ("count", "groups", "sizes"), [(8, 2, [4, 4]), (8, 1, [8]), (8, 8, [1] * 8), (7, 3, [3, 2, 2]), (3, 2, [2, 1])]
)
def test_groups_are_runs_of_neighbours(count: int, groups: int, sizes: list[int]) -> None:
    runs = grouped(count, groups)
    assert [len(run) for run in runs] == sizes
    assert [i for run in runs for i in run] == list(range(count))


def test_group_means_keep_the_class_token_the_registers_and_the_patches_in_this_order() -> None:
    def stream(block: int) -> torch.Tensor:  # a class token and two patches
        return torch.tensor([[[block], [10.0 * block], [20.0 * block]]])

    blocks = {block: stream(block) for block in (1, 2, 3)}
    plain = group_means(Features(blocks), (1, 2, 3), 2, prefix=1)
    assert plain[0, :, :, 0].tolist() == [[1.5, 15, 30], [3, 30, 60]]
    registers = {block: torch.tensor([[[block + 0.5], [block + 0.25]]]) for block in blocks}
    found = group_means(Features(blocks, registers=registers), (1, 2, 3), 1, prefix=1)
    assert found[0, 0, :, 0].tolist() == [2, 2.5, 2.25, 20, 40]
    wide = torch.tensor([[[3.0, 5.0]]])  # mean 4, deviation 1
    found = group_means(Features({1: wide, 2: 10 * wide}), (1, 2), 1, prefix=0, level_norm=True)
    torch.testing.assert_close(found, torch.tensor([[[[-1.0, 1.0]]]]), atol=1e-4, rtol=0)
    found = group_means(Features({1: stream(1).half()}), (1,), 1, prefix=0)
    assert found.dtype == torch.float32


def test_the_first_group_faces_the_last_blocks_of_the_decoder() -> None:
    outputs = [torch.full((1, 1, 1), float(i)) for i in range(1, 9)]
    assert rebuilt_groups(outputs, 2).flatten().tolist() == [6.5, 2.5]
    assert rebuilt_groups(outputs, 8).flatten().tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert rebuilt_groups(outputs[:3], 2).flatten().tolist() == [2.5, 1]


def test_distances_of_patches_and_of_whole_maps() -> None:
    target = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    output = torch.tensor([[[4.0, 3.0], [2.0, 0.0]]])
    torch.testing.assert_close(token_distance(target, output), torch.tensor([[1 - 24 / 25, 1.0]]))
    # 24 + 0 of the lengths sqrt(26) and sqrt(29): long patches weigh more
    torch.testing.assert_close(map_distance(target, output), torch.tensor([1 - 24 / (26 * 29) ** 0.5]))
    assert map_distance(target, 5 * target).abs() < 1e-6
    expected = 1 - F.cosine_similarity(target.flatten(1), output.flatten(1))
    torch.testing.assert_close(map_distance(target, output), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert map_distance(target.bfloat16(), output.bfloat16()).dtype == torch.float32


def test_a_gradient_is_scaled_and_the_value_is_not() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    scaled = scale_gradient(values, torch.tensor([[1.0], [0.1]]))
    assert torch.equal(scaled, values)
    (scaled**2).sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([[2.0, 4.0], [0.6, 0.8]]))


def test_weights_are_small_and_biases_zero() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(200, 300), nn.LayerNorm(300), nn.Linear(300, 200, bias=False))
    small_weights(layers)
    for i in (0, 2):
        weight = layers[i].weight.detach()
        assert weight.abs().max() <= 0.03
        assert float(weight.std()) == pytest.approx(0.0099, abs=2e-4)
        assert abs(float(weight.mean())) < 2e-4
    assert not layers[0].bias.any()
    assert layers[1].weight.eq(1).all()


def test_the_map_goes_through_the_input_size() -> None:
    distance = torch.rand(2, 16, generator=torch.Generator().manual_seed(0))
    first = F.interpolate(distance.view(2, 1, 4, 4), size=56, mode="bilinear", align_corners=True)
    expected = F.interpolate(first, size=20, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(loose_map(distance, 56, 20), expected)
    corner = loose_map(distance, 56, 56)[:, 0, 0]
    torch.testing.assert_close(corner, distance[:, 0])


def test_unequal_groups_count_by_their_blocks() -> None:
    means = torch.tensor([[[[3.0]], [[6.0]]]])  # of blocks 1, 2, 3 of five, and of 4, 5
    assert fused_groups(means, 5).shape == (1, 1, 1)
    assert float(fused_groups(means, 5)) == pytest.approx(3 * 0.6 + 6 * 0.4)


def test_a_term_for_each_group_and_a_gradient_by_patch() -> None:
    target = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]])
    output = torch.tensor([[[[1.0, 1.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]]], requires_grad=True)
    terms = loose_terms(target, output, lambda d: (d > 0.5).float(), (3, 4, 7))
    assert list(terms) == ["blocks 3 to 4", "blocks 7 to 7"]
    # (1 + 2) / sqrt(2 * 6) and 1 / 2; each group is half
    assert [float(term.detach()) for term in terms.values()] == pytest.approx([(1 - 3 / 12**0.5) / 2, 0.25])
    sum(terms.values()).backward()
    assert output.grad is not None
    moved = output.grad.abs().sum(-1) > 0
    assert moved.tolist() == [[[False, False], [False, True]]]  # distances 0.29, 0, 0, 1


def test_scores_are_the_highest_of_the_smoothed_map() -> None:
    distance = torch.rand(2, 3, 16, generator=torch.Generator().manual_seed(0))
    plain = SimpleNamespace(map_size=20, sigma=0.0, top=0.25)
    score, maps = loose_scores(distance, 56, plain)
    torch.testing.assert_close(maps, loose_map(distance.mean(1), 56, 20))
    torch.testing.assert_close(score, maps.flatten(1).sort(descending=True).values[:, :100].mean(1))
    smooth = loose_scores(distance, 56, SimpleNamespace(map_size=20, sigma=4.0, top=0.25))[1]
    weights = torch.exp(-torch.tensor([4.0, 1, 0, 1, 4]) / 32)
    weights = torch.outer(weights, weights) / weights.sum() ** 2
    torch.testing.assert_close(smooth[:, 9, 7], (weights * maps[:, 7:12, 5:10]).sum((1, 2)))


def test_a_bottleneck_without_noise_is_an_mlp() -> None:
    quiet = noisy_bottleneck(4, 0.0)
    assert [part.p for part in quiet if isinstance(part, nn.Dropout)] == [0.0] * 3
    x = torch.rand(2, 4)
    torch.testing.assert_close(quiet(x), quiet[4](F.gelu(quiet[1](x))))
