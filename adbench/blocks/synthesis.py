"""Synthetic anomalies on normal images: the tasks of MediCLIP (Zhang et al., MICCAI 2024, Sec. 2), which took them from
Baugh et al. (*Many tasks make light work*, MICCAI 2023) and NSA (Schlüter et al., ECCV 2022); and CutMix, as published
and as DRA has it.

A task is a pure function: from an image, uint8 (C, H, W), and a generator to the changed image and its mask, bool
(H, W). Points are (y, x) in pixels. Where the paper gives no number, it is from MediCLIP's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from adbench.blocks.poisson import seamless
from adbench.blocks.shapes import Floats, Mask, any_convex, any_noise
from adbench.blocks.validate import intervals

Image = NDArray[np.uint8]
Task = Callable[[Image, Generator], tuple[Image, Mask]]
NAMES = ("cutpaste", "gauss", "source", "identity")
TRIES = 20  # rectangles drawn for one that changes the image


@dataclass
class Ranges:
    """From what each anomaly is drawn, uniformly between two numbers. The defaults are the authors' code."""

    cutpaste_sides: list[float] = field(default_factory=lambda: [0.1, 0.6])  # of a shape, as shares of the image's
    gauss_sides: list[float] = field(default_factory=lambda: [0.3, 0.8])
    source_sides: list[float] = field(default_factory=lambda: [0.2, 0.6])  # these bound a gamma distribution
    gauss_strength: list[float] = field(default_factory=lambda: [0.4, 0.6])  # gamma, a share of the grey range
    source_strength: list[float] = field(default_factory=lambda: [0.5, 2.0])  # log2 of the exponent alpha

    def check(self, name: str) -> None:
        """Raise AdbenchError, which calls these ranges `name`, for one that is not possible."""
        intervals(self, 0.05, 1, "cutpaste_sides", "gauss_sides", "source_sides", of=name)
        intervals(self, 0, 1, "gauss_strength", of=name)
        intervals(self, 0, 4, "source_strength", of=name)


def tasks(
    names: Sequence[str], sources: Sequence[Image], blend: str = "hard", ranges: Ranges | None = None
) -> list[Task]:
    """Return the tasks called `names` (of NAMES); `cutpaste` cuts from `sources` and pastes by `blend` (of BLENDS)."""
    by_name: dict[str, Task] = {
        "cutpaste": cutpaste(sources, blend, ranges),
        "gauss": partial(gauss, ranges=ranges),
        "source": partial(source, ranges=ranges),
        "identity": identity,
    }
    return [by_name[name] for name in names]


def identity(image: Image, _: Generator) -> tuple[Image, Mask]:
    """Return the image unchanged: a normal image among the anomalies."""
    return image, np.zeros(image.shape[1:], dtype=bool)


def cutpaste(sources: Sequence[Image], blend: str = "hard", ranges: Ranges | None = None) -> Task:
    """Return the task that pastes a rotated and scaled piece of one of `sources`, in the shape of thresholded noise.

    `blend`: `hard` replaces the pixels, `poisson` their gradients (Pérez et al., SIGGRAPH 2003). The mask is
    where the image then differs, closed and with its holes filled.
    """
    # Not closures: a loader's workers receive them by pickle.
    return partial(_cutpaste, partial(_cutpaste_once, sources, BLENDS[blend], (ranges or Ranges()).cutpaste_sides))


def _cutpaste(once: Task, image: Image, g: Generator) -> tuple[Image, Mask]:
    after, within = once_or_twice(once, image, g)
    return after, changed(image, after, within)


def _cutpaste_once(
    sources: Sequence[Image], join: Callable[..., Image], sides: Sequence[float], image: Image, g: Generator
) -> tuple[Image, Mask]:
    shape, corner = _placed(any_noise(g, image.shape[1:], sides), image, g)
    piece = any_piece(sources[int(g.integers(len(sources)))], shape.shape, g)
    return join(image, piece, shape, corner), _on(image, shape, corner)


def cutmix(sources: Sequence[Image], sides: Sequence[float] = (0.1, 0.6)) -> Task:
    """Return the task that replaces a rectangle by that of one of `sources` at the same place (Yun et al., ICCV 2019).

    The rectangle has the image's proportions and a share of its sides drawn from `sides`. A piece of the image itself,
    as where it is the only source, comes from another place. The mask is where the image then differs; a rectangle
    that changes nothing, such as one of two black corners, is drawn again, up to TRIES times.
    """
    return partial(_cutmix, sources, sides)


def _cutmix(sources: Sequence[Image], sides: Sequence[float], image: Image, g: Generator) -> tuple[Image, Mask]:
    for _ in range(TRIES):
        lengths = np.rint(g.uniform(sides[0], sides[1]) * np.array(image.shape[1:])).astype(int).clip(1)
        shape, corner = _placed(np.ones(lengths, dtype=bool), image, g)
        source = sources[int(g.integers(len(sources)))]
        origin = _placed(shape, image, g)[1] if np.array_equal(source, image) else corner
        after = paste(image, source[_box(shape, origin)].astype(float), shape, corner)
        if not np.array_equal(after, image):
            break
    return after, changed(image, after, _on(image, shape, corner))


def moved(sides: Sequence[float] = (0.1, 0.6)) -> Task:
    """Return the task that puts a rectangle of the image, in other colours, elsewhere in it.

    DRA's form of CutMix (Ding et al., CVPR 2022, Eq. 4); its colour jitter is taken as one of brightness and contrast,
    two factors from 0.5 to 1.5. Rectangle and mask are as in `cutmix`.
    """
    return partial(_moved, sides)


def _moved(sides: Sequence[float], image: Image, g: Generator) -> tuple[Image, Mask]:
    for _ in range(TRIES):
        lengths = np.rint(g.uniform(sides[0], sides[1]) * np.array(image.shape[1:])).astype(int).clip(1)
        shape, corner = _placed(np.ones(lengths, dtype=bool), image, g)
        origin = _placed(shape, image, g)[1]
        piece = image[_box(shape, origin)].astype(float)
        brightness, contrast = g.uniform(0.5, 1.5, 2)
        after = paste(image, brightness * piece.mean() + contrast * (piece - piece.mean()), shape, corner)
        if not np.array_equal(after, image):
            break
    return after, changed(image, after, _on(image, shape, corner))


def gauss(image: Image, g: Generator, ranges: Ranges | None = None) -> tuple[Image, Mask]:
    """Brighten or darken a noise-shaped part by a smooth texture of at most `gauss_strength` of the grey range."""
    return once_or_twice(partial(_gauss_once, ranges or Ranges()), image, g)


def _gauss_once(ranges: Ranges, image: Image, g: Generator) -> tuple[Image, Mask]:
    shape, corner = _placed(any_noise(g, image.shape[1:], ranges.gauss_sides), image, g)
    speckle = (g.standard_normal(image.shape[1:]) >= 0).astype(float)
    smooth = ndimage.gaussian_filter(speckle, g.choice([4.0, 7.0]))
    low, high = ranges.gauss_strength
    texture = (smooth - smooth.min()) / np.ptp(smooth) * g.choice([-1, 1]) * g.uniform(low, high)
    where = _on(image, shape, corner)
    patch = _box(shape, corner)[1:]
    return add_texture(image, texture, where, _spread(shape, g.uniform(1, 4), patch, where)), where


def _spread(shape: Mask, sigma: float, patch: tuple[slice, ...], where: Mask) -> Floats:
    blurred = np.zeros(where.shape)
    blurred[patch] = ndimage.gaussian_filter(shape.astype(float), sigma)  # inside its box, edges reflected
    return blurred


def add_texture(image: Image, texture: Floats, where: Mask, weight: Floats) -> Image:
    """Add texture (H, W), 1 being the whole grey range, times weight (H, W) to the pixels `where`; clipped."""
    return _bytes(image + 255 * texture * weight * where)


def source(image: Image, g: Generator, ranges: Ranges | None = None) -> tuple[Image, Mask]:
    """Enlarge the middle of an ellipse or rectangle and compress its rim; the mask is the whole shape."""
    return once_or_twice(partial(_source_once, ranges or Ranges()), image, g)


def _source_once(ranges: Ranges, image: Image, g: Generator) -> tuple[Image, Mask]:
    outline = any_convex(g, image.shape[1:], ranges.source_sides)
    shape, corner = _placed(outline.mask(), image, g)
    inside = np.argwhere(shape)
    centre = inside[g.integers(len(inside))]
    out = image.copy()
    box = _box(shape, corner)
    points = outline.pushed(centre, 2 ** g.uniform(ranges.source_strength[0], ranges.source_strength[1]))
    for channel, patch in zip(out[box], image[box], strict=True):
        channel[:] = _bytes(ndimage.map_coordinates(patch.astype(float), points, order=3, mode="nearest"))
    return out, _on(image, shape, corner)


def once_or_twice(once: Task, image: Image, g: Generator) -> tuple[Image, Mask]:
    """Apply an anomaly, and with probability 1/2 a second one of its kind on top; the masks are united."""
    after, where = once(image, g)
    if g.random() < 0.5:
        after, more = once(after, g)
        where = where | more
    return after, where


def paste(image: Image, piece: Floats, shape: Mask, corner: NDArray[np.int_]) -> Image:
    """Replace the pixels of `shape` (h, w), its first one at `corner`, by those of `piece` (C, h, w) in 0 to 255."""
    out = image.copy()
    box = _box(shape, corner)
    out[box] = np.where(shape, _bytes(piece), image[box])
    return out


BLENDS: Mapping[str, Callable[..., Image]] = {"hard": paste, "poisson": seamless}


def any_piece(image: Image, shape: tuple[int, ...], g: Generator) -> Floats:
    """Cut a random piece of size `shape` out of (C, H, W), rotated up to 45 degrees, scaled by 1 + Exp(0.1) or 1/that.

    The part that is cut out stays within 0.8 of the image.
    """
    size = np.array(image.shape[1:])
    angle = g.uniform(-np.pi / 4, np.pi / 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    low, high = _reach(turn, shape)
    factor = 1 + g.exponential(0.1)
    scale = min(g.choice([factor, 1 / factor]), float((0.8 * size / (high - low)).min()))
    low, high = _reach(scale * turn, shape)
    start = g.integers(0, size - (high - low), endpoint=True)
    piece = np.stack([
        ndimage.affine_transform(channel.astype(float), scale * turn, start - low, output_shape=shape, mode="nearest")
        for channel in image
    ])  # fmt: skip
    # The cubic spline overshoots.
    clipped: Floats = piece.clip(image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True))
    return clipped


def _reach(matrix: Floats, shape: tuple[int, ...]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    corners = matrix @ np.array([[0, 0, shape[0], shape[0]], [0, shape[1], 0, shape[1]]])
    return np.floor(corners.min(1)).astype(int), np.ceil(corners.max(1)).astype(int)


def changed(before: Image, after: Image, within: Mask) -> Mask:
    """Return where (C, H, W) images differ `within` (H, W): each part of it closed by 3 x 3, its holes filled."""
    differs = within & (before != after).any(0)
    out = np.zeros_like(differs)
    for box in ndimage.find_objects(ndimage.label(within)[0]):
        closed = ndimage.binary_closing(np.pad(differs[box], 1), np.ones((3, 3)))[1:-1, 1:-1]
        out[box] |= ndimage.binary_fill_holes(closed, structure=np.ones((3, 3)))
    return out


def _placed(shape: Mask, image: Image, g: Generator) -> tuple[Mask, NDArray[np.int_]]:
    """Draw the corner of the shape's box in the image."""
    return shape, g.integers(0, np.array(image.shape[1:]) - shape.shape, endpoint=True)


def _box(shape: Mask, corner: NDArray[np.int_]) -> tuple[slice, slice, slice]:
    y, x = (slice(int(c), int(c) + n) for c, n in zip(corner, shape.shape, strict=True))
    return slice(None), y, x


def _on(image: Image, shape: Mask, corner: NDArray[np.int_]) -> Mask:
    where = np.zeros(image.shape[1:], dtype=bool)
    where[_box(shape, corner)[1:]] = shape
    return where


def _bytes(values: Floats) -> Image:
    out: Image = np.rint(values).clip(0, 255).astype(np.uint8)
    return out
