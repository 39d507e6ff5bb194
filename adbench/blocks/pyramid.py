"""Levels of a backbone, a CNN's stages or a ViT's blocks, as maps: pooled over neighbourhoods, put on one grid and
concatenated into patch vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.validate import at_least, choices, odd
from adbench.errors import AdbenchError

Resize = Literal["bilinear", "nearest"]


class LevelParams(Protocol):
    """A method's parameters `blocks`, of a ViT, and `stages`, of a CNN; empty where the method chooses."""

    blocks: list[int]
    stages: list[int]


class LocalParams(Protocol):
    """A method's parameters of locally aware patch vectors; see `local_vectors`."""

    neighbourhood: int
    padding: str
    dims: int
    level_norm: bool


class Levels(NamedTuple):
    """What a method reads of its backbone: `blocks` or `stages`; the other one is empty."""

    blocks: tuple[int, ...]
    stages: tuple[int, ...]

    def channels(self, architecture: Architecture) -> int:
        """Return how many channels all levels have together."""
        return len(self.blocks) * architecture.width + sum(architecture.stage(n).channels for n in self.stages)

    def stride(self, architecture: Architecture) -> int:
        """Return how many pixels of the image lie between two positions of the coarsest level."""
        return max((architecture.stage(n).stride for n in self.stages), default=architecture.patch)

    def grid(self, architecture: Architecture, size: int) -> int:
        """Return how many positions wide the coarsest level is, for images of `size` pixels."""
        stride = self.stride(architecture)
        return -(-size // stride) if self.stages else size // stride


def chosen_levels(
    params: LevelParams, architecture: Architecture, blocks: tuple[int, ...], stages: tuple[int, ...]
) -> Levels:
    """Return the levels that `params` names, else the method's own `blocks` of a ViT or `stages` of a CNN.

    Raises AdbenchError for a level that the backbone doesn't have, and for levels of the other kind.
    """
    kind, key, other = ("CNN", "stages", "blocks") if architecture.stages else ("ViT", "blocks", "stages")
    if named := getattr(params, other):
        raise AdbenchError(
            f"method.{other}={named} is not possible: the backbone is a {kind}, whose levels are "
            f"method.{key}={list(stages if architecture.stages else blocks)} by default."
        )
    if not architecture.stages:
        return Levels(tuple(params.blocks) or blocks, ())
    have = [stage.number for stage in architecture.stages]
    if any(number not in have for number in params.stages):
        raise AdbenchError(
            f"method.stages={params.stages} is not possible: stages {', '.join(map(str, have))} can each be named once."
        )
    return Levels((), tuple(architecture.stage(number).number for number in params.stages or stages))


def level_maps(features: Features, architecture: Architecture) -> list[Tensor]:
    """Return the levels of B images as maps (B, C, h, w), fp32, in rising order: stages, and patches of blocks."""
    prefix = architecture.prefix
    blocks = [square(tokens[:, prefix:].float()) for tokens in features.blocks.values()]
    return blocks + [level.float() for level in features.stages.values()]


def square(patches: Tensor) -> Tensor:
    """Return patch tokens (B, h * h, C) as a map (B, C, h, h)."""
    grid = round(patches.shape[1] ** 0.5)
    return patches.transpose(1, 2).unflatten(2, (grid, grid))


def mean_pooled(level: Tensor, side: int, zeros: bool = False) -> Tensor:
    """Return the mean of (B, C, h, w) over side x side neighbours, `side` odd.

    Beyond the border there are no neighbours, or with `zeros` neighbours that are zero.

    >>> level = torch.tensor([[[[3.0, 6.0]]]])
    >>> mean_pooled(level, 3).tolist(), mean_pooled(level, 3, zeros=True).tolist()
    ([[[[4.5, 4.5]]]], [[[[1.0, 1.0]]]])
    """
    return F.avg_pool2d(level, side, stride=1, padding=side // 2, count_include_pad=zeros)


def adaptively_pooled(level: Tensor, side: int, dims: int) -> Tensor:
    """Return (B, dims, h, w): the values of all side x side neighbours, averaged down to `dims` numbers.

    The C * side * side values of a position, channel by channel, are averaged over `dims` windows of nearly the same
    length (PatchCore, Roth et al., CVPR 2022, Sec. 3.1: adaptive average pooling). Beyond the border they are zero.

    >>> level = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    >>> torch.allclose(adaptively_pooled(level, 3, 1), torch.tensor(10 / 9))
    True
    """
    b, _, h, w = level.shape
    around = F.unfold(level, side, padding=side // 2).transpose(1, 2)  # (B, h * w, C * side * side)
    return F.adaptive_avg_pool1d(around, dims).transpose(1, 2).reshape(b, dims, h, w)


def patch_vectors(
    levels: Sequence[Tensor],
    resize: Resize = "bilinear",
    level_norm: bool = False,
    grid: int | None = None,
    align_corners: bool = False,
) -> Tensor:
    """Return (B, h * w, sum of C): levels (B, C, h, w) on one grid, concatenated.

    grid: its side; None: that of the finest level. align_corners: of a bilinear `resize`.
    level_norm: each level is layer-normed at each position first, where levels differ in scale.

    >>> fine, coarse = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([[[[9.0]]]])
    >>> patch_vectors([coarse, fine], "nearest").tolist()
    [[[9.0, 1.0], [9.0, 2.0], [9.0, 3.0], [9.0, 4.0]]]
    >>> patch_vectors([coarse, fine], grid=1).tolist()
    [[[9.0, 2.5]]]
    """
    finest = max((level.shape[2:] for level in levels), key=lambda shape: shape[0])
    size = torch.Size((grid, grid)) if grid else finest
    parts = []
    for level in levels:
        if level.shape[2:] != size:
            corners = align_corners if resize == "bilinear" else None
            level = F.interpolate(level, size=tuple(size), mode=resize, align_corners=corners)
        part = level.flatten(2).transpose(1, 2)
        parts.append(F.layer_norm(part, part.shape[-1:]) if level_norm else part)
    return torch.cat(parts, dim=-1)


def check_local(params: LocalParams) -> None:
    """Raise AdbenchError for parameters of `local_vectors` that are not possible."""
    odd(params, "neighbourhood")
    choices(params, padding=("none", "zeros"))
    at_least(params, 0, "dims", most=10**4)
    if params.dims and params.padding == "none":
        raise AdbenchError(
            f"method.dims={params.dims} is not possible with method.padding=none: adaptive pooling needs every "
            "neighbour. Add method.padding=zeros, or take method.dims=0, plain means."
        )
    if params.neighbourhood == 1 and params.padding == "zeros":
        raise AdbenchError("method.padding=zeros is not possible with method.neighbourhood=1: there is no neighbour.")


def local_vectors(levels: Sequence[Tensor], params: LocalParams) -> Tensor:
    """Return PatchCore's locally aware patch vectors (B, patches, C) of levels (B, C, h, w).

    Each level is pooled over `neighbourhood`, and all are concatenated on the finest grid: with `dims` 0 plain means,
    else adaptive pooling to `dims` numbers of each level, and then of all levels together. `padding` says what is
    beyond the border: nothing, or zeros. `level_norm`: as in `patch_vectors`.
    """
    if not params.dims:
        pooled = [mean_pooled(level, params.neighbourhood, params.padding == "zeros") for level in levels]
        return patch_vectors(pooled, level_norm=params.level_norm)
    pooled = [adaptively_pooled(level, params.neighbourhood, params.dims) for level in levels]
    return F.adaptive_avg_pool1d(patch_vectors(pooled, level_norm=params.level_norm), params.dims)
