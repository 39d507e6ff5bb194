"""Random shapes of synthetic anomalies: thresholded gradient noise, sheared and rotated ellipses and rectangles.

Sizes and bounds are in pixels, points (y, x). Source: the code of MediCLIP and of Baugh et al. (MICCAI 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]


def any_noise(g: Generator, size: tuple[int, ...], sides: Sequence[float], threshold: float = 0.3) -> Mask:
    """Return gradient noise above `threshold` in a box with random sides; drawn again until it fills a fifth.

    `sides` are the least and the largest side as shares of `size`; a side has at least 2 pixels.
    """
    box = []
    for n in size:
        low, high = np.rint(np.array(sides) * n).astype(int)
        box.append(int(g.integers(max(low, 2), max(high, low + 1, 3))))
    while True:
        angles = g.uniform(0, 2 * np.pi, (2, 2))
        mask: Mask = gradient_noise(angles, g.uniform(-np.pi / 2, np.pi / 2), (box[0], box[1])) > threshold
        if mask.mean() >= 0.2:
            return mask


def gradient_noise(angles: Floats, turn: float, shape: tuple[int, int]) -> Floats:
    """Return Perlin's noise over one cell, in about [-1, 1], rotated by `turn` radians about its centre.

    `angles` (2, 2) are the directions of the gradients at the cell's corners. Outside the rotated cell it is 0.
    """
    centre = (np.array(shape).reshape(2, 1, 1) - 1) / 2
    y, x = np.indices(shape) - centre
    turned = np.stack([np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x])
    v, u = (turned + centre) / np.array(shape).reshape(2, 1, 1)
    slope_v, slope_u = np.cos(angles), np.sin(angles)
    corners = [[slope_v[i, j] * (v - i) + slope_u[i, j] * (u - j) for j in (0, 1)] for i in (0, 1)]
    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))
    left, right = (corners[0][j] + (corners[1][j] - corners[0][j]) * fade_v for j in (0, 1))
    noise = np.sqrt(2) * (left + (right - left) * fade_u)
    inside = (v >= 0) & (v < 1) & (u >= 0) & (u < 1)
    return np.where(inside, noise, 0.0)


@dataclass(frozen=True)
class Convex:
    """An ellipse or rectangle with half sides `half` (2,) about the origin, moved by the linear map `matrix` (2, 2)."""

    ellipse: bool
    half: Floats
    matrix: Floats

    @property
    def extent(self) -> NDArray[np.int_]:
        """Pixels from the centre to the edge of the bounding box, (2,)."""
        corners = self.matrix @ ((self.half - 0.5)[:, None] * np.array([[1, 1, -1, -1], [1, -1, 1, -1]]))
        return np.ceil(corners.max(1)).astype(int)

    def mask(self) -> Mask:
        """Return the pixels whose centre lies inside, in the bounding box."""
        y, x = self.extent
        points = np.mgrid[-y : y + 1, -x : x + 1].reshape(2, -1)
        ratio = np.linalg.inv(self.matrix) @ points / self.half[:, None]
        inside = (ratio**2).sum(0) <= 1 if self.ellipse else (np.abs(ratio) <= 1).all(0)
        return inside.reshape(2 * y + 1, 2 * x + 1)

    def reach(self, origin: Floats, direction: Floats) -> Floats:
        """Return the factors (N,) by which `direction` (2, N) reaches the outline from `origin` (2,) inside."""
        inverse = np.linalg.inv(self.matrix)
        q = (inverse @ origin / self.half)[:, None]
        d = inverse @ direction / self.half[:, None]
        if self.ellipse:
            a, b, c = (d * d).sum(0), (q * d).sum(0), (q * q).sum(0) - 1
            root: Floats = (np.sqrt(b * b - a * c) - b) / a
            return root
        with np.errstate(divide="ignore"):
            return np.where(d == 0, np.inf, (1 - np.sign(d) * q) / np.abs(d)).min(0)

    def pushed(self, centre: NDArray[np.int_], exponent: float) -> Floats:
        """Return (2, h, w), the point in the box from which each pixel takes its value when the middle is enlarged.

        A pixel at the share r of the way from `centre` (2,), a pixel inside, to the outline reads the point at
        r^exponent.
        """
        mask = self.mask()
        points: Floats = np.indices(mask.shape).astype(float)
        start = centre.astype(float)
        mask[tuple(centre)] = False  # it has no direction, and is unchanged
        offset = points[:, mask] - start[:, None]
        steps = self.reach(start - self.extent, offset)  # 1 / r
        points[:, mask] = start[:, None] + offset * np.maximum(steps, 1) ** (1 - exponent)
        return points


def any_convex(g: Generator, size: tuple[int, ...], sides: Sequence[float]) -> Convex:
    """Return a sheared and rotated ellipse or rectangle: sides 0.03 + Gamma(2, 0.1) of `size`, clipped to `sides`.

    A side has at least 2 pixels.
    """
    whole = np.array(size)
    low, high = (np.rint(side * whole).astype(int).clip(2) for side in sides)
    lengths = ((0.03 + g.gamma(2, 0.1, 2)) * whole).clip(low, high).astype(int)
    shear, angle = g.normal(0, 0.2, 2), g.uniform(-np.pi / 2, np.pi / 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = Convex(bool(g.random() < 0.5), lengths / 2, turn @ np.array([[1, shear[0]], [shear[1], 1]]))
    too_big = float(((2 * shape.extent + 1) / high).max())
    return shape if too_big <= 1 else Convex(shape.ellipse, shape.half, shape.matrix / too_big)
