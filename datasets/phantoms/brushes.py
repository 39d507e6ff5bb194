"""The drawing vocabulary of the phantoms: seeded streams, coordinates, smooth noise, ellipses, soft edges.

All arrays are float64: last-bit differences between processors then stay far below one grey level, so a phantom is
the same 8-bit image on every machine. Loops over pixels work in place where they are hot: a fresh array of this size
costs more than the arithmetic. Lengths are in half image heights, the origin is the image centre, y points down.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Field = NDArray[np.float64]
Mask = NDArray[np.bool_]
Size = tuple[int, int]
Radii = Sequence[float | Field] | Field


def stream(*keys: int) -> np.random.Generator:
    """A random generator that depends on nothing but the integers given."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))


@lru_cache(maxsize=32)
def grid(size: Size) -> tuple[Field, Field]:
    """Coordinates (y, x) of the pixel centres, shapes (H, 1) and (1, W); y in [-1, 1], x in [-W/H, W/H]."""
    height, width = size
    y = (2 * np.arange(height, dtype=np.float64) + 1) / height - 1
    x = (2 * np.arange(width, dtype=np.float64) + 1 - width) / height
    y.flags.writeable = x.flags.writeable = False
    return y[:, None], x[None, :]


@lru_cache(maxsize=256)
def _spline(pixels: int, cells: int) -> csr_array:
    """Cubic B-spline weights (pixels, cells + 3): row i blends the four control points around pixel i.

    Sparse, because a dense product would start as many threads as there are processors.
    """
    position = (np.arange(pixels) + 0.5) / pixels * cells
    first = np.minimum(position.astype(np.int64), cells - 1)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    columns = (first[:, None] + np.arange(4)).ravel()
    return csr_array((weights.ravel(), columns, 4 * np.arange(pixels + 1)), shape=(pixels, cells + 3))


def noise(rng: np.random.Generator, size: Size, cells: int, across: int | None = None) -> Field:
    """Smooth random field (H, W) of mean 0 and standard deviation about 1.

    `cells` control points span the height; `across` span the width (default: isotropic).
    """
    height, width = size
    across = max(1, round(cells * width / height)) if across is None else across
    control = rng.standard_normal((cells + 3, across + 3))
    rows = np.ascontiguousarray((_spline(width, across) @ control.T).T)
    field: Field = _spline(height, cells) @ rows / 0.479
    return field


def curve(rng: np.random.Generator, pixels: int, cells: int) -> Field:
    """Smooth random line (pixels,) of mean 0 and standard deviation about 1."""
    line: Field = _spline(pixels, cells) @ rng.standard_normal(cells + 3) / 0.692
    return line


def ellipse(size: Size, centre: Sequence[float], radii: Radii, angle: float = 0.0) -> Field:
    """Elliptic radius (H, W): 0 at the centre (y, x), 1 on the outline, growing linearly. `angle` is in radians."""
    y, x = grid(size)
    return radius(y - centre[0], x - centre[1], radii, angle)


def radius(dy: Field, dx: Field, radii: Radii, angle: float = 0.0) -> Field:
    """Elliptic radius of offsets that the caller may have bent or mirrored first."""
    c, s = np.cos(angle), np.sin(angle)
    along: Field = dy * c + dx * s
    across: Field = dx * c - dy * s
    along /= radii[0]
    across /= radii[1]
    along *= along
    across *= across
    along += across
    np.sqrt(along, out=along)
    return along


def ramp(value: Field, low: float, high: float) -> Field:
    """Smooth step from 0 at `low` to 1 at `high` (low > high falls instead)."""
    t = np.asarray(value - low)
    t /= high - low
    np.clip(t, 0.0, 1.0, out=t)
    square = t * t
    t *= -2
    t += 3
    t *= square
    return t


def inside(distance: Field, edge: float) -> Field:
    """Coverage in [0, 1] of an elliptic radius: 1 inside, 0 outside, 0.5 on the outline, `edge` wide."""
    return ramp(distance, 1 + edge / 2, 1 - edge / 2)


def bell(value: Field, width: float) -> Field:
    """Gaussian bump exp(-(value / width)^2), 1 at 0."""
    t = np.asarray(value / width)
    t *= t
    np.negative(t, out=t)
    np.exp(t, out=t)
    return t


def over(base: Field, paint: Field | float, cover: Field) -> Field:
    """`paint` laid over `base` with coverage in [0, 1]."""
    return base + (paint - base) * cover


def pick(rng: np.random.Generator, allowed: Mask, size: Size) -> tuple[float, float]:
    """Coordinates (y, x) of one pixel drawn uniformly from `allowed`, which must hold at least one."""
    spots = np.flatnonzero(allowed)
    row, column = divmod(int(spots[rng.integers(spots.size)]), size[1])
    y, x = grid(size)
    return float(y[row, 0]), float(x[0, column])
