"""Anomaly maps: from a grid of patches to pixels, smoothing, and the image score from the map."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_SCORES = ("auto", "map_max", "detection")
Edge = Literal["reflect", "symmetric", "constant"]


def patch_map(scores: Tensor, size: int, align_corners: bool = True) -> Tensor:
    """Interpolate patch scores (B, patches) on a square grid to (B, size, size), fp32: bilinear.

    Corners are aligned; without `align_corners` the grid's cells and the pixels cover the same area.

    >>> patch_map(torch.tensor([[0.0, 2.0, 4.0, 6.0]]), 3).tolist()
    [[[0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [4.0, 5.0, 6.0]]]
    """
    return upsample(scores[..., None], size, align_corners)[:, 0]


def upsample(patches: Tensor, size: int, align_corners: bool = True) -> Tensor:
    """Interpolate (B, patches, C) on a square grid to (B, C, size, size), fp32: bilinear, corners as in `patch_map`.

    Two products with the interpolation matrix: on a CPU the backward pass of torch's own operator is ten times slower.
    """
    grid = round(patches.shape[1] ** 0.5)
    weights = _interpolation(grid, size, patches.device, align_corners)
    with torch.autocast(patches.device.type, enabled=False):
        square = patches.float().transpose(1, 2).reshape(len(patches), -1, grid, grid)
        return weights @ square @ weights.T


@functools.cache
@torch.inference_mode(False)
def _interpolation(grid: int, size: int, device: torch.device, align_corners: bool) -> Tensor:
    """Return the (size, grid) matrix of linear interpolation, the same bits on every device."""
    matrix = F.interpolate(torch.eye(grid)[None], size=size, mode="linear", align_corners=align_corners)[0].T
    return matrix.contiguous().to(device)


def gaussian_blur(maps: Tensor, sigma: float, radius: int | None = None, edge: Edge = "reflect") -> Tensor:
    """Blur (B, H, W) maps with a Gaussian of `sigma` pixels; a `sigma` of 0 changes nothing.

    The kernel has 2 `radius` + 1 pixels a side; None: it is cut at 4 sigma. What lies beyond the edge, in the words of
    `numpy.pad`: the map reflected, without its outermost pixels or with them (`symmetric`, the default of SciPy's
    `gaussian_filter`), or zeros (`constant`). Computed in fp32, also under autocast, which would round every pixel.

    >>> row = torch.tensor([[[1.0, 0.0, 0.0]] * 3])
    >>> blurred = [gaussian_blur(row, 9e9, radius=1, edge=e) for e in ("reflect", "symmetric", "constant")]
    >>> [round(float(maps[0, 1, 0]) * 3) for maps in blurred]  # thirds: of 0 1 0, 1 1 0 and 0 1 0
    [1, 2, 1]
    """
    if sigma == 0:
        return maps
    maps = maps.float()
    radius = min(int(4 * sigma + 0.5) if radius is None else radius, min(maps.shape[-2:]) - 1)
    x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = _padded(maps, radius, edge)[:, None]
    with torch.autocast(maps.device.type, enabled=False):
        rows = F.conv2d(padded, kernel.view(1, 1, 1, -1))
        return F.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]


def _padded(maps: Tensor, radius: int, edge: Edge) -> Tensor:
    if edge != "symmetric" or not radius:
        return F.pad(maps[:, None], (radius, radius, radius, radius), mode=edge)[:, 0]
    for side in (1, 2):  # torch's own function has no such mode
        before, after = maps.narrow(side, 0, radius), maps.narrow(side, maps.shape[side] - radius, radius)
        maps = torch.cat([before.flip(side), maps, after.flip(side)], side)
    return maps


def top_mean(scores: Tensor, share: float) -> Tensor:
    """Return the mean (B,) of the highest int(share * n), at least one, of scores (B, n): the empirical tail value.

    >>> scores = torch.tensor([[1.0, 4.0, 2.0, 0.0]])
    >>> top_mean(scores, 0.5).tolist(), top_mean(scores, 0.01).tolist()
    ([3.0], [4.0])
    """
    return scores.topk(max(1, int(share * scores.shape[1])), dim=1).values.mean(1)


def scored_by_map(image_score: str, has_masks: bool) -> bool:
    """Return whether the image score is the maximum of the map, for `image_score` of IMAGE_SCORES.

    `map_max` always, `detection` never, `auto` where the support has masks: without them no map is trained.

    >>> scored_by_map("auto", has_masks=True), scored_by_map("detection", has_masks=True)
    (True, False)
    """
    return image_score == "map_max" or (image_score == "auto" and has_masks)
