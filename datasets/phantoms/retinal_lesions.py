"""Lesions of the retina: they follow the layers, and some of them bend the layers."""

import numpy as np

from .brushes import Field, Mask, bell, curve, grid, inside, noise, over, radius, ramp
from .lesion import Lesion, covered
from .organs import Generator, Scene


def _column(scene: Scene, rng: Generator) -> tuple[float, int]:
    """A column of a scan away from its border: coordinate x and index."""
    width = scene.site.shape[1]
    index = int(rng.integers(width // 8, width - width // 8))
    return float(grid(scene.site.shape)[1][0, index]), index


def cyst(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """Dark round cavities within the retina."""
    y, x = grid(scene.site.shape)
    at, _ = _column(scene, rng)
    cover, largest, centre = np.zeros(scene.site.shape), 0.0, (0.0, at)
    for _ in range(1 + rng.integers(0, 2 + round(6 * bulk))):
        where = at + rng.normal(0, 0.12 + 0.2 * bulk)
        index = int(np.abs(x[0] - where).argmin())
        height = scene.marks["height"][index]
        size = (0.05 + 0.1 * bulk) * rng.uniform(0.6, 1.3) * min(1.0, height / scene.marks["thick"] + 0.3)
        middle = scene.marks["base"][index] - height * rng.uniform(0.45, 0.65)
        cover = np.maximum(cover, inside(radius(y - middle, x - x[0, index], (size, size * rng.uniform(1, 1.9))), 0.3))
        if size > largest:
            largest, centre = size, (float(middle), float(x[0, index]))
    cover = cover * ((y < scene.marks["base"] - 0.04) & (y > scene.marks["base"] - 0.95 * scene.marks["height"]))
    dark = scene.image * (0.85 - 0.65 * vigour)
    return Lesion(over(scene.image, dark, cover), covered(cover), centre)


def _raised(scene: Scene, lift: Field, bump: Field) -> tuple[Field, Mask]:
    assert scene.repaint is not None
    y, _ = grid(scene.site.shape)
    top, base = scene.marks["base"] - lift - bump, scene.marks["base"]
    mask = (y > top) & (y < base) & (lift + bump > 0.012)
    if not mask.any():  # thinner than a pixel: mark the pixel under the summit
        column = int((lift + bump).argmax())
        mask[int(np.abs(y[:, 0] - base[column]).argmin()), column] = True
    return scene.repaint(lift, bump), mask


def fluid(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """A dome of dark fluid between the retina and its pigment epithelium."""
    at, index = _column(scene, rng)
    high, wide = 0.05 + 0.16 * bulk + 0.06 * vigour, 0.16 + 0.4 * bulk
    x = grid(scene.site.shape)[1][0]
    dome = high * np.clip(1 - ((x - at) / wide) ** 2, 0, None) ** 1.2
    dome = dome * (1 + 0.1 * curve(rng, x.size, 12))
    image, mask = _raised(scene, dome, np.zeros_like(dome))
    return Lesion(image, mask, (float(scene.marks["base"][index]), at))


def drusen(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """Humps of the pigment epithelium, filled with grey deposit."""
    at, index = _column(scene, rng)
    x = grid(scene.site.shape)[1][0]
    bump = np.zeros_like(x)
    for i in range(1 + rng.integers(0, 3 + round(4 * bulk))):
        where = at + (rng.normal(0, 0.3) if i else 0.0)
        high, wide = (0.035 + 0.05 * bulk + 0.05 * vigour) * rng.uniform(0.7, 1.3), rng.uniform(0.05, 0.08 + 0.1 * bulk)
        bump = np.maximum(bump, high * bell(x - where, wide))
    bump = np.where(bump < 0.006, 0.0, bump)
    image, mask = _raised(scene, np.zeros_like(bump), bump)
    return Lesion(image, mask, (float(scene.marks["base"][index]), at))


def disruption(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """A stretch where the outer layers lose their order and the epithelium fades."""
    y, x = grid(scene.site.shape)
    at, index = _column(scene, rng)
    base, wide = scene.marks["base"], 0.2 + 0.4 * bulk
    ragged = 0.06 * noise(rng, scene.site.shape, 8)
    band = ramp(np.abs(y - base + 0.09) + ragged, 0.17, 0.08) * ramp(np.abs(x - at) + ragged, wide, 0.6 * wide)
    mess = 0.55 * scene.level * (1 + 0.45 * noise(rng, scene.site.shape, 18))
    cover = band * (0.35 + 0.65 * vigour)
    return Lesion(over(scene.image, np.clip(mess, 0.02, 1), cover), band > 0.5, (float(base[index] - 0.1), at))


def exudate(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """Bright foci within the retina, each casting a shadow."""
    y, x = grid(scene.site.shape)
    at, _ = _column(scene, rng)
    image, cover, centre = scene.image, np.zeros(scene.site.shape), (0.0, at)
    for i in range(1 + rng.integers(0, 2 + round(4 * bulk))):
        where = at + (rng.normal(0, 0.15) if i else 0.0)
        index = int(np.abs(x[0] - where).argmin())
        middle = float(scene.marks["base"][index] - scene.marks["height"][index] * rng.uniform(0.3, 0.75))
        size = 0.035 + 0.05 * bulk
        spot = inside(radius(y - middle, x - x[0, index], (size, size * rng.uniform(1, 1.7))), 0.5)
        shade = ramp(np.abs(x - x[0, index]), 1.2 * size, 0.6 * size) * (y > middle)
        image = over(image * (1 - 0.5 * vigour * shade), 2 * scene.level * (0.65 + 0.4 * vigour), spot)
        cover = np.maximum(cover, spot)
        centre = centre if i else (middle, float(x[0, index]))
    return Lesion(image, covered(cover), centre)
