"""Fixed augmentations, computed once: views of MVFA (11), MadCLIP (16) and RegAD (22); rotations; grey images."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

ROTATIONS = (22.5, -22.5, 11.25, -11.25)  # degrees
SHIFT = 0.1  # in [-1, 1] coordinates: 12 pixels of 240
REGAD_ROTATIONS = (11.25, 22.5, 33.75, 45.0)  # degrees, both ways
REGAD_SHIFTS = (0.2, 0.1)  # in [-1, 1] coordinates
ZOOMS = (1.1, 1.15, 1.2, 1.3)


def fixed_views(
    images: Tensor, masks: Tensor, zooms: bool, jitter: torch.Generator | None, groups: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the V views of N images, ordered by view: (V * N, 3, H, W) in [0, 1] and bool masks (V * N, H, W).

    The original, 4 rotations, 4 shifts and 2 flips (11 views, MVFA Sec. 4.1); `zooms` adds 4 central zooms, a
    generator for `jitter` one colour jitter of the `groups` (16 views, MadCLIP's code). Images and masks are resampled
    bilinearly, with reflection beyond the border; masks are then thresholded at 0.5.
    """
    both = torch.cat([images, masks[:, None].to(images.dtype)], dim=1)
    moves = [rotation(angle) for angle in ROTATIONS] + [shift(x, y) for x in (SHIFT, -SHIFT) for y in (SHIFT, -SHIFT)]
    makers: list[Callable[[], Tensor]] = [lambda: both]
    makers += [functools.partial(_affine, both, matrix) for matrix in moves]
    makers += [functools.partial(both.flip, axis) for axis in (3, 2)]
    if zooms:
        makers += [functools.partial(central_zoom, both, zoom) for zoom in ZOOMS]
    if jitter is not None:
        makers += [lambda: torch.cat([colour_jitter(images, jitter, groups), both[:, 3:]], dim=1)]
    # One view at a time: all of them twice would be most of what a small cell holds in memory.
    pixels = images.new_empty(len(makers), *images.shape)
    moved = masks.new_empty(len(makers), *masks.shape, dtype=torch.bool)
    for number, make in enumerate(makers):
        view = make()
        pixels[number], moved[number] = view[:, :3], view[:, 3] > 0.5
    return pixels.flatten(0, 1), moved.flatten(0, 1)


def regad_views(images: Tensor) -> Tensor:
    """Return the 22 views (22 * N, 3, H, H) of square uint8 images (N, 3, H, H), ordered by view (RegAD, ECCV 2022).

    The original; 8 rotations up to 45 degrees and 8 shifts by 5 and 10 % along both axes, bilinear, with reflection
    beyond the border; the mirror image; grey; 3 quarter turns.
    """
    pixels = images.float()
    moved = [_affine(pixels, rotation(sign * angle)) for sign in (-1, 1) for angle in REGAD_ROTATIONS]
    moved += [_affine(pixels, shift(x, y)) for far in REGAD_SHIFTS for x in (far, -far) for y in (far, -far)]
    views = [images, *(view.round().clamp(0, 255).to(torch.uint8) for view in moved)]
    return torch.cat([*views, images.flip(3), luminance(images), *(images.rot90(k, (2, 3)) for k in (1, 2, 3))])


def rotation(degrees: float) -> Tensor:
    """Return the (2, 3) matrix of a rotation about the centre."""
    angle = math.radians(degrees)
    return torch.tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]])


def rotated(images: Tensor, degrees: Sequence[float], mode: str = "bilinear", border: str = "reflection") -> Tensor:
    """Rotate uint8 images (N, C, H, H) counter-clockwise about their middle, each by its own angle.

    mode: `bilinear` or `nearest`. border: `reflection` at the outermost pixels, which aren't repeated, or `zeros`.

    >>> rotated(torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8), [90]).tolist()
    [[[[2, 4], [1, 3]]]]
    """
    turns = torch.stack([rotation(-angle) for angle in degrees])
    grid = F.affine_grid(turns, list(images.shape), align_corners=True)
    found = F.grid_sample(images.float(), grid, mode=mode, padding_mode=border, align_corners=True)
    return found.round().clamp(0, 255).to(torch.uint8)


def shift(x: float, y: float) -> Tensor:
    """Return the (2, 3) matrix of a translation in [-1, 1] coordinates."""
    return torch.tensor([[1, 0, x], [0, 1, y]])


def _affine(images: Tensor, matrix: Tensor) -> Tensor:
    grid = F.affine_grid(matrix.to(images)[None].expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def central_zoom(images: Tensor, zoom: float) -> Tensor:
    """Cut int(H / zoom) x int(W / zoom) pixels out of the middle of (N, C, H, W), and resize them to H x W bilinearly.

    The whole number makes the zoom a little larger than `zoom`; of an odd rest one more pixel is cut off at the end.

    >>> central_zoom(torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4), 2)[0, 0, 0].tolist()
    [1.0, 1.25, 1.75, 2.0]
    """
    height, width = images.shape[2:]
    rows, columns = int(height / zoom), int(width / zoom)
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = images[:, :, top : top + rows, left : left + columns]
    return F.interpolate(middle, size=(height, width), mode="bilinear", align_corners=False)


def colour_jitter(
    images: Tensor, generator: torch.Generator, groups: Tensor | None = None, strength: float = 0.2
) -> Tensor:
    """Scale brightness, then contrast, of (N, C, H, W) in [0, 1] by factors in [1 - strength, 1 + strength].

    One pair of factors for the whole stack, or with `groups` int64 (N,) a pair for each number from 0 on, such as the
    class of an image. The mean in the contrast is over channels and rows, one for each column of pixels, as in
    MadCLIP's code.
    """
    count = 1 if groups is None else int(groups.max()) + 1
    factors = 1 + strength * (2 * torch.rand(count, 2, generator=generator) - 1)
    pairs = factors.expand(len(images), 2) if groups is None else factors[groups]
    brightness, contrast = pairs.to(images)[:, :, None, None, None].unbind(1)
    images = images * brightness
    mean = images.mean(dim=(1, 2), keepdim=True)
    return ((images - mean) * contrast + mean).clamp(0, 1)


def luminance(images: Tensor) -> Tensor:
    """Turn uint8 RGB (N, 3, H, W) into grey of three equal channels, as Pillow rounds it (ITU-R 601-2)."""
    weights = torch.tensor([19595, 38470, 7471]).view(1, 3, 1, 1)
    grey = (images.long() * weights).sum(1, keepdim=True) + 0x8000 >> 16
    return grey.to(torch.uint8).expand(-1, 3, -1, -1).contiguous()
