"""Lesions of brain, liver, chest and tissue, and which family has which."""

import numpy as np

from .brushes import Field, bell, grid, inside, noise, over, pick, radius, ramp
from .lesion import Lesion, Painter, covered
from .organs import Generator, Scene
from .retinal_lesions import cyst, disruption, drusen, exudate, fluid
from .tissue import nuclei, stain


def _blob(scene: Scene, rng: Generator, size: float, rough: float) -> tuple[Field, tuple[float, float]]:
    """Elliptic radius around a random site, its outline roughened by noise in proportion to `rough`."""
    shape = scene.site.shape
    y, x = grid(shape)
    centre = pick(rng, scene.site, shape)
    radii = size * np.exp(rng.normal(0, 0.175, 2))
    distance = radius(y - centre[0], x - centre[1], radii, rng.uniform(0, np.pi))
    cells = int(np.clip(2.2 / size, 4, 24))
    return distance + rough * noise(rng, shape, cells), centre


def _within(scene: Scene) -> Field:
    """Coverage that ends softly at the border of the site."""
    return scene.marks["body"] if "body" in scene.marks else scene.site.astype(np.float64)


Range = tuple[float, float]  # from weak to strong


def patch(low: float, high: float, rough: float, edge: float, shift: Range, grainy: float = 0.1) -> Painter:
    """A roundish focus: radius from `low` to `high`, organ level changed by the factor 1 + `shift`, weak to strong."""

    def paint(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
        distance, centre = _blob(scene, rng, low + (high - low) * bulk, rough)
        cover = inside(distance, edge) * _within(scene)
        factor = 1 + shift[0] + (shift[1] - shift[0]) * vigour
        texture = 1 + grainy * noise(rng, scene.site.shape, 14)
        return Lesion(over(scene.image, scene.level * factor * texture, cover), covered(cover), centre)

    return paint


def ring(low: float, high: float, rim: Range, core: Range) -> Painter:
    """A dark core in a bright rim, as in necrosis, abscess or metastasis."""

    def paint(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
        distance, centre = _blob(scene, rng, low + (high - low) * bulk, 0.12)
        cover = inside(distance, 0.25) * _within(scene)
        bright = scene.level * (1 + rim[0] + (rim[1] - rim[0]) * vigour)
        dark = scene.level * (1 + core[0] + (core[1] - core[0]) * vigour)
        fill = over(np.full(scene.site.shape, dark), bright, ramp(distance, 0.5, 0.72))
        fill = fill * (1 + 0.08 * noise(rng, scene.site.shape, 16))
        return Lesion(over(scene.image, fill, cover), covered(cover), centre)

    return paint


def several(painter: Painter, most: int) -> Painter:
    """Between one and `most` foci of the same kind; the mask is their union."""

    def paint(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
        first = painter(scene, rng, bulk, vigour)
        image, mask = first.image, first.mask
        for _ in range(rng.integers(0, most)):
            again = painter(Scene(image, scene.site, scene.level, scene.grain, scene.marks), rng, 0.6 * bulk, vigour)
            image, mask = again.image, mask | again.mask
        return Lesion(image, mask, first.centre)

    return paint


def opacity(low: float, high: float, rough: float, edge: float, gain: Range) -> Painter:
    """A whitening of the lung that lets ribs and vessels shine through; `gain` is added, weak to strong."""

    def paint(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
        distance, centre = _blob(scene, rng, low + (high - low) * bulk, rough)
        cover = inside(distance, edge) * scene.marks["lung"]
        add = (gain[0] + (gain[1] - gain[0]) * vigour) * (1 + 0.15 * noise(rng, scene.site.shape, 12))
        return Lesion(scene.image + add * cover, covered(cover), centre)

    return paint


def effusion(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """Fluid at the base of one lung, its upper border a meniscus that rises to the outer wall."""
    side = -1.0 if rng.random() < 0.5 else 1.0
    outward = side * scene.marks["side"]
    level = scene.marks["floor"] + 0.12 + 0.35 * bulk + 0.5 * np.clip(outward - 0.3, 0, None) ** 1.5
    cover = ramp(level, -0.05, 0.05) * scene.marks["lung"] * (outward > 0)
    if not (cover > 0.3).any():
        cover = scene.marks["lung"] * (outward > 0) * (scene.marks["up"] > 0.2)
    add = (0.1 + 0.28 * vigour) * (1 + 0.05 * noise(rng, scene.site.shape, 6))
    return Lesion(scene.image + add * cover, covered(cover), (0.4, 0.45 * side))


def diffuse(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """Net-like shadows over most of both lungs."""
    net = bell(noise(rng, scene.site.shape, 16), 0.3) + 0.5 * bell(noise(rng, scene.site.shape, 26), 0.3)
    cloud = ramp(noise(rng, scene.site.shape, 3), 0.6 - 1.6 * bulk, 1.4 - 1.6 * bulk)
    cover = cloud * scene.marks["lung"]
    add = (0.04 + 0.14 * vigour) * (0.5 + net)
    return Lesion(scene.image + add * cover, covered(cover), (0.0, 0.0))


def _region(scene: Scene, rng: Generator, bulk: float) -> tuple[Field, tuple[float, float]]:
    distance, centre = _blob(scene, rng, 0.22 + 0.5 * bulk, 0.25)
    return inside(distance + 0.12 * noise(rng, scene.site.shape, 16), 0.35) * (1 - scene.marks["gaps"]), centre


def crowd(length: Range, spread: float, count: int, ink: Range) -> Painter:
    """A region whose nuclei are replaced: `length` scales their size, `ink` their darkness, weak to strong."""

    def paint(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
        cover, centre = _region(scene, rng, bulk)
        marks, shape = scene.marks, scene.site.shape
        scale = float(marks["length"]) * (length[0] + (length[1] - length[0]) * vigour)
        cells = nuclei(rng, shape, count, scale, spread, cover)
        dark = ink[0] + (ink[1] - ink[0]) * vigour
        blue = over(marks["blue"], 0.06 + dark * cells * (0.8 + 0.25 * noise(rng, shape, 50)), cover)
        eosin = over(marks["eosin"], 0.5 * (marks["eosin"] + marks["eosin"].mean()) * (1 - 0.3 * cells), cover)
        fresh = stain(eosin * (1 - 0.4 * over(marks["cells"], 0.0, cover)), np.clip(blue, 0, None), marks["tint"])
        return Lesion(over(scene.image, fresh, np.minimum(1, 3 * cover)[..., None]), covered(cover), centre)

    return paint


def necrosis(scene: Scene, rng: Generator, bulk: float, vigour: float) -> Lesion:
    """A smooth pink region where nuclei have faded to dust."""
    cover, centre = _region(scene, rng, bulk)
    marks, shape = scene.marks, scene.site.shape
    dust = 0.5 * ramp(noise(rng, shape, 50), 1.2, 2.2)
    blue = over(marks["blue"], dust, (0.5 + 0.5 * vigour) * cover)
    eosin = over(marks["eosin"], 0.75 * (1 + 0.1 * noise(rng, shape, 12)), cover)
    return Lesion(over(scene.image, stain(eosin, blue, marks["tint"]), cover[..., None]), covered(cover), centre)


LESIONS: dict[str, dict[str, Painter]] = {
    "brainmri": {
        "mass": patch(0.08, 0.32, 0.13, 0.3, (0.22, 1.4), 0.14),
        "oedema": patch(0.14, 0.42, 0.33, 0.7, (0.15, 0.85), 0.08),
        "spot": several(patch(0.028, 0.07, 0.05, 0.6, (0.4, 1.4)), 3),
        "ring": ring(0.1, 0.3, (0.2, 1.2), (-0.2, -0.7)),
        "cavity": patch(0.07, 0.24, 0.15, 0.3, (-0.25, -0.75), 0.05),
    },
    "liverct": {
        "hypodense": several(patch(0.06, 0.26, 0.1, 0.3, (-0.14, -0.5), 0.04), 3),
        "hyperdense": several(patch(0.06, 0.22, 0.1, 0.35, (0.14, 0.55), 0.04), 3),
        "infiltration": patch(0.16, 0.42, 0.35, 0.8, (-0.12, -0.35), 0.07),
        "ring": ring(0.09, 0.26, (0.08, 0.35), (-0.15, -0.5)),
        "cyst": patch(0.045, 0.2, 0.03, 0.15, (-0.45, -0.85), 0.02),
    },
    "resc": {"cyst": cyst, "fluid": fluid, "drusen": drusen, "disruption": disruption, "exudate": exudate},
    "oct17": {"cyst": cyst, "fluid": fluid, "drusen": drusen, "disruption": disruption, "exudate": exudate},
    "chestxray": {
        "consolidation": opacity(0.14, 0.38, 0.28, 0.7, (0.07, 0.34)),
        "nodule": several(opacity(0.05, 0.11, 0.06, 0.4, (0.09, 0.32)), 2),
        "mass": opacity(0.12, 0.24, 0.08, 0.3, (0.1, 0.36)),
        "effusion": effusion,
        "diffuse": diffuse,
    },
    "his": {
        "cluster": crowd((1.0, 1.15), 0.3, 900, (0.95, 1.35)),
        "pleomorphism": crowd((1.25, 2.0), 0.8, 260, (0.6, 1.0)),
        "necrosis": necrosis,
    },
}

# The pretraining distribution: one or two kinds fewer per family.
NARROW: dict[str, tuple[str, ...]] = {
    "brainmri": ("mass", "oedema", "spot"),
    "liverct": ("hypodense", "hyperdense", "infiltration"),
    "resc": ("cyst", "fluid", "drusen"),
    "oct17": ("cyst", "fluid", "drusen"),
    "chestxray": ("consolidation", "nodule", "effusion"),
    "his": ("cluster", "pleomorphism"),
}
