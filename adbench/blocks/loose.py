"""Loose reconstruction: a decoder rebuilds the means of groups of a ViT's blocks, not each block (Dinomaly, CVPR 2025).

A group's map counts as a whole in the loss, and how much of its gradient reaches a patch may depend on the patch.
INP-Former (CVPR 2025) rebuilds the same groups with another decoder and another weight of the gradient.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.maps import gaussian_blur, patch_map, top_mean
from adbench.blocks.precision import l2_normalize
from adbench.errors import AdbenchError

READ = 8  # blocks
HEAD = 64  # channels of an attention head of the decoder
EPSILON = 1e-8  # of the decoder's layer norms


def middle_blocks(architecture: Architecture) -> tuple[int, ...]:
    """Return the blocks that are read by default: eight in the middle, or those that the backbone's YAML names.

    Dinomaly's of 12 and 24 blocks; by the same rule of any other number, and fewer where there are not eight.

    >>> [middle_blocks(Architecture(depth, 768, 14, 768))[::7] for depth in (12, 24, 40)]
    [(3, 10), (5, 19), (7, 28)]
    """
    depth = architecture.depth
    if architecture.default_levels or not depth:
        return architecture.levels(READ)
    apart = max(1, depth // 12)
    return tuple(range(depth // 6 + 1, depth + 1, apart))[:READ]


def checked_groups(params: Any, architecture: Architecture) -> tuple[int, ...]:
    """Return the blocks that are read, `params.levels` or `middle_blocks`.

    Raises AdbenchError, by `params.groups`, `decoder_blocks` and `heads`, where the backbone has no such blocks, where
    groups outnumber the blocks of the backbone or of the decoder, and where heads don't divide the width of a token.
    """
    levels = architecture.checked_levels(params.levels or middle_blocks(architecture))
    if not architecture.depth:  # a run says so
        return levels
    most = min(len(levels), params.decoder_blocks)
    if params.groups > most:
        raise AdbenchError(
            f"method.groups={params.groups} is not possible with {len(levels)} blocks of the backbone and "
            f"method.decoder_blocks={params.decoder_blocks}: at most {most}."
        )
    if params.heads and architecture.width % params.heads:
        raise AdbenchError(
            f"method.heads={params.heads} is not possible: the backbone's tokens have {architecture.width} channels, "
            "and a number that divides them is needed."
        )
    return levels


def grouped(count: int, groups: int) -> list[range]:
    """Return the places 0 to count - 1 in so many runs of neighbours, as equal in length as possible.

    >>> grouped(5, 2)
    [range(0, 3), range(3, 5)]
    """
    ends = [0]
    for group in range(groups):
        ends.append(ends[-1] + count // groups + (group < count % groups))
    return [range(start, end) for start, end in itertools.pairwise(ends)]


def group_means(
    features: Features, blocks: Sequence[int], groups: int, prefix: int, level_norm: bool = False
) -> Tensor:
    """Return (B, groups, tokens, width), fp32: the mean over each group of blocks.

    The tokens are the `prefix` ones (a class token), the registers, where they were read, and the patches.
    `level_norm`: each token of each block is brought to mean 0 and variance 1 first.
    """
    streams = []
    for block in blocks:
        stream = features.blocks[block].float()
        if features.registers:
            stream = torch.cat([stream[:, :prefix], features.registers[block].float(), stream[:, prefix:]], dim=1)
        streams.append(F.layer_norm(stream, stream.shape[-1:]) if level_norm else stream)
    return torch.stack([torch.stack([streams[i] for i in run]).mean(0) for run in grouped(len(blocks), groups)], dim=1)


def fused_groups(means: Tensor, blocks: int) -> Tensor:
    """Return (B, ...): the mean over all `blocks`, of the means over each group of them (B, groups, ...)."""
    runs = grouped(blocks, means.shape[1])
    return functools.reduce(torch.add, [means[:, i] * (len(run) / blocks) for i, run in enumerate(runs)])


def noisy_bottleneck(width: int, dropout: float) -> nn.Sequential:
    """Return an MLP over tokens (..., width), four times as wide inside, with dropout before, within and after it."""
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(width, 4 * width), nn.GELU(),
        nn.Dropout(dropout), nn.Linear(4 * width, width), nn.Dropout(dropout),
    )  # fmt: skip


def rebuilt_groups(outputs: Sequence[Tensor], groups: int) -> Tensor:
    """Return (B, groups, tokens, width), fp32: the means over groups of decoder blocks, the last blocks first.

    So the first group of the backbone's blocks faces the last ones of the decoder.
    """
    last_first = [output.float() for output in reversed(outputs)]
    runs = grouped(len(outputs), groups)
    return torch.stack([torch.stack([last_first[i] for i in run]).mean(0) for run in runs], dim=1)


def token_distance(target: Tensor, output: Tensor) -> Tensor:
    """Return 1 - cosine over the channels of (..., width), in fp32: shape (...).

    >>> token_distance(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 5.0]])).tolist()
    [0.0, 1.0]
    """
    return 1 - (l2_normalize(target) * l2_normalize(output)).sum(-1)


def map_distance(target: Tensor, output: Tensor) -> Tensor:
    """Return (B,): 1 - cosine between two maps (B, patches, width), each read as one long vector.

    >>> target, output = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    >>> round(float(map_distance(target, output)), 4)  # 1 - 1 / sqrt(2)
    0.2929
    """
    return token_distance(target.flatten(1), output.flatten(1))


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradient * factor, None


def scale_gradient(values: Tensor, factor: Tensor) -> Tensor:
    """Return `values` as they are; the gradient that reaches them is multiplied by `factor`, which broadcasts to them.

    >>> values = torch.ones(2, requires_grad=True)
    >>> scale_gradient(values, torch.tensor([1.0, 0.1])).sum().backward()
    >>> values.grad
    tensor([1.0000, 0.1000])
    """
    scaled: Tensor = _ScaledGradient.apply(values, factor)
    return scaled


def loose_terms(
    target: Tensor, output: Tensor, factors: Callable[[Tensor], Tensor], blocks: Sequence[int]
) -> dict[str, Tensor]:
    """Return a named term of the loss for each group of (B, groups, patches, width); their sum is a mean over groups.

    A term is `map_distance`, averaged over images. The gradient that reaches a patch of the output is multiplied by
    `factors`, which are (B, patches) of the patches' distances (B, patches).
    """
    terms: dict[str, Tensor] = {}
    runs = grouped(len(blocks), target.shape[1])
    for i, run in enumerate(runs):
        factor = factors(token_distance(target[:, i], output[:, i].detach()))
        weighted = scale_gradient(output[:, i], factor[..., None])
        loss = map_distance(target[:, i], weighted).mean() / len(runs)
        terms[f"blocks {blocks[run[0]]} to {blocks[run[-1]]}"] = loss
    return terms


def small_weights(module: nn.Module) -> None:
    """Give every linear layer below `module` weights of a normal distribution of 0.01, cut at 0.03, and zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.01, a=-0.03, b=0.03)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def loose_map(distance: Tensor, input_size: int, map_size: int) -> Tensor:
    """Return (B, map_size, map_size) of patch distances (B, patches): to the input size, corners aligned, then to that.

    Both bilinear. The second step doesn't align corners.
    """
    maps = patch_map(distance, input_size)
    return F.interpolate(maps[:, None], size=map_size, mode="bilinear", align_corners=False)[:, 0]


def loose_scores(distance: Tensor, input_size: int, params: Any) -> tuple[Tensor, Tensor]:
    """Return scores (B,) and maps (B, map_size, map_size) of patch distances (B, groups, patches).

    The map is the mean over groups, smoothed by a Gaussian of `params.sigma` over 5 x 5 of its pixels, zeros beyond its
    edge; the score the mean of its `params.top` highest share.
    """
    maps = loose_map(distance.mean(1), input_size, params.map_size)
    maps = gaussian_blur(maps, params.sigma, radius=2, edge="constant")
    return top_mean(maps.flatten(1), params.top), maps
