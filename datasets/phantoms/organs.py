"""Painters of healthy anatomy: brain, liver and chest. A painter turns two random streams into a `Scene`.

The patient stream fixes the anatomy and the scanner, the slice stream the position and everything that moves.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .brushes import Field, Mask, Size, bell, curve, ellipse, grid, inside, noise, over, radius, ramp

Generator = np.random.Generator


@dataclass
class Scene:
    """Healthy anatomy before the scanner: `image` (H, W) or (H, W, 3) in [0, 1], and where a lesion may sit.

    `level` is the typical intensity of the organ, `grain` the standard deviation of the noise still to be added,
    `marks` holds what a lesion of that family needs to know about the anatomy.
    """

    image: Field
    site: Mask
    level: float
    grain: float
    marks: dict[str, Field] = field(default_factory=dict)
    repaint: Callable[[Field, Field], Field] | None = None


def brain(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Axial FLAIR-like slice between skull base (z = 0) and vertex (z = 1), with or without the skull."""
    y, x = grid(size)
    stripped = patient.random() < 0.4
    width = patient.uniform(0.58, 0.72) * (1.05 if stripped else 1.0)
    length = min(width * patient.uniform(1.18, 1.34), 0.93)
    level = patient.uniform(0.2, 0.42)
    ventricle, sulcus_depth, fat = patient.uniform(0.6, 1.4), patient.uniform(0.4, 0.9), patient.uniform(0.45, 0.95)
    narrowing, tilt, grain = patient.uniform(0.05, 0.2), patient.normal(0, 0.06), patient.uniform(0.006, 0.028)

    z = slice_.uniform(0.28 if stripped else 0.05, 0.93)
    shrink = np.sqrt(1 - (max(z - 0.45, 0) / 0.68) ** 2) if z > 0.45 else 1 - 0.25 * (0.45 - z)
    shift = slice_.normal(0, 0.025, 2)
    c, s = np.cos(tilt), np.sin(tilt)
    v, u = (y - shift[0]) * c + (x - shift[1]) * s, (x - shift[1]) * c - (y - shift[0]) * s
    u = u / (1 + narrowing * np.clip(v / length, -1, 1))
    head = radius(v, u, (length * shrink, width * shrink)) + 0.018 * noise(slice_, size, 5)
    if stripped:
        head = head * 0.83
    cortex = inside(head / 0.82, 0.05)

    fold = np.minimum(np.abs(noise(slice_, size, 15)), np.abs(noise(slice_, size, 20)) + 0.05)
    edge = ramp(head, 0.3, 0.66)
    tissue = level * (1 + 0.05 * noise(slice_, size, 4) + 0.035 * noise(slice_, size, 30))
    # Grey matter lies along the folds and is brighter than white matter.
    tissue *= (1 + 0.22 * bell(fold, 0.6) * edge) * (1 - sulcus_depth * bell(fold, 0.13) * edge)
    gap = bell(u - 0.012 * noise(slice_, size, 6, 1), 0.014) * (1 - (0.8 if z < 0.62 else 0.0) * bell(v, 0.3))
    tissue *= 1 - 0.75 * gap * ramp(np.asarray(z), 0.2, 0.35)

    side, swell = np.abs(u - 0.01 * slice_.normal()), ventricle * np.exp(-(((z - 0.52) / 0.17) ** 2))
    deep, cap = np.exp(-(((z - 0.47) / 0.12) ** 2)), patient.uniform(0.0, 0.4)
    if deep > 0.03:
        tissue *= 1 + 0.13 * deep * inside(radius(v - 0.02, side - 0.2, (0.2, 0.09), 0.25), 0.3)
    fluid = np.zeros(size)
    if swell > 0.05:
        front = radius(v + 0.1, side - 0.05 - 0.55 * (v + 0.05) ** 2, (0.24 * swell, 0.05 * swell))
        horns = np.minimum(front, radius(v - 0.22, side - 0.13 - 0.3 * v, (0.12 * swell, 0.04 * swell)))
        fluid = inside(horns, 0.35)
        if swell > 0.4:
            fluid = np.maximum(fluid, bell(u, 0.016) * bell(v - 0.05, 0.12))
        tissue = over(tissue * (1 + swell * cap * bell(horns - 1.25, 0.3)), 0.25 * level, fluid)

    image = np.full(size, 0.02)
    if not stripped:
        skin = fat * (0.8 + 0.18 * noise(slice_, size, 7))
        image = over(image, np.clip(skin, 0.2, 1.0), inside(head, 0.03))
        image = over(image, 0.06, inside(head / 0.925, 0.04))
    image = over(image, tissue, cortex)
    site = (cortex > 0.95) & (head < 0.74) & (fluid < 0.2)
    if z < 0.3 and not stripped:
        face = ramp(v, -0.05 - z, -0.2 - z) * inside(head / 0.93, 0.05) * ramp(np.asarray(z), 0.32, 0.2)
        bone = 0.08 + fat * ramp(noise(slice_, size, 13) + 0.6 * noise(slice_, size, 26), -0.2, 1.9)
        bone = over(bone, 0.02, inside(radius(v + 0.5 * length, side - 0.02, (0.16, 0.13)), 0.4))
        eyes = radius(v + 0.6 * length, side - 0.26, (0.11, 0.1))
        bone = over(bone, 0.75 * level, inside(eyes, 0.2)) + 0.3 * fat * bell(eyes - 1.15, 0.12)
        image = over(image, np.clip(bone, 0, 1), face)
        temples = inside(radius(v - 0.02, side - 0.47, (0.22, 0.12), 0.3), 0.5) * inside(head / 0.95, 0.04)
        temples *= ramp(np.asarray(z), 0.32, 0.2)
        image = over(image, np.clip(bone, 0, 1), temples)
        site &= (face < 0.1) & (temples < 0.1)
    for _ in range(slice_.integers(0, 4)):  # bright vessels lie in the folds, seen in healthy brains too
        at = slice_.uniform(0, 2 * np.pi)
        up, side_ = 0.76 * length * shrink * np.sin(at), 0.76 * width * shrink * np.cos(at)
        spot = radius(v - up, u - side_, (0.022, 0.03), at)
        image = over(image, level * slice_.uniform(1.4, 2.2), inside(spot, 0.6) * cortex)
    image *= 1 + 0.09 * noise(slice_, size, 2)
    return Scene(image, site, level, grain, {"midline": shift[1] + 0 * u, "up": v, "side": u})


def liver(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Liver alone on black, window-equalised parenchyma with branching vessels."""
    y, x = grid(size)
    big, left, level = patient.uniform(0.85, 1.1), patient.uniform(0.6, 1.15), patient.uniform(0.42, 0.68)
    enhance, grain = patient.uniform(-0.22, 0.3), patient.uniform(0.02, 0.055)
    z = slice_.uniform(0.1, 0.95)
    grow = 0.75 + 0.3 * np.sin(np.pi * z)
    shift = slice_.normal(0, 0.05, 2)
    v, u = y - shift[0] + 0.04 * noise(slice_, size, 3), x - shift[1] + 0.04 * noise(slice_, size, 3)
    right_lobe = radius(v - 0.06, u + 0.26, (0.66 * big * grow, 0.5 * big * grow), -0.15)
    left_lobe = radius(v + 0.3 * big, u - 0.22, (0.27 * big * grow, 0.55 * left * (1.15 - z)), 0.2)
    hilum = radius(v - 0.3, u - 0.24, (0.34, 0.27 + 0.1 * z), 0.4)
    outline = np.maximum(np.minimum(right_lobe, left_lobe), 2 - hilum)
    body = inside(outline, 0.04)

    parenchyma = level * (1 + 0.05 * noise(slice_, size, 3) + 0.035 * noise(slice_, size, 24))
    parenchyma = parenchyma + patient.uniform(-0.06, 0.06) * v + 0.4 * grain * noise(slice_, size, 70)
    tree, twig = noise(slice_, size, 5), noise(slice_, size, 9)
    near = ramp(hilum, 2.6, 1.1)
    vessels = bell(tree, 0.09) * ramp(noise(slice_, size, 4), -0.4, 0.6) * (0.4 + 0.6 * near)
    vessels = np.maximum(vessels, 0.7 * bell(twig, 0.11) * ramp(noise(slice_, size, 5), 0.2, 1.0))
    for _ in range(slice_.integers(1, 6)):  # veins cut across look like small round lesions
        where = slice_.uniform(-0.5, 0.3), slice_.uniform(-0.6, 0.2)
        vein = ellipse(size, where, slice_.uniform(0.025, 0.06, 2), slice_.uniform(0, 3))
        vessels = np.maximum(vessels, inside(vein, 0.5) * slice_.uniform(0.5, 1.0))
    image = over(parenchyma, parenchyma * (1 + enhance), vessels)
    return Scene(image * body, (outline < 0.86), level, grain, {"body": body, "up": v, "side": u})


def chest(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Frontal chest film: lungs, ribs, clavicles, heart, diaphragm; now and then a cable."""
    y, x = grid(size)
    wide, tall, air = patient.uniform(0.88, 1.12), patient.uniform(0.88, 1.12), patient.uniform(0.16, 0.32)
    soft, ribs, heart_size = patient.uniform(0.55, 0.75), patient.uniform(0.05, 0.13), patient.uniform(0.8, 1.2)
    mark, spacing, grain = patient.uniform(0.03, 0.09), patient.uniform(5.5, 7.5), patient.uniform(0.012, 0.035)
    breath, lean = slice_.normal(0, 0.04), slice_.normal(0, 0.03)
    v, u = y + 0.02 * noise(slice_, size, 3), x - lean + slice_.normal(0, 0.05) * y
    side = np.abs(u)
    trunk = inside(np.sqrt(radius(((v - 0.8) / 1.72) ** 2, (u / (1.08 * wide)) ** 2, (1, 1))), 0.06)
    image = over(np.full(size, 0.05), soft * (0.92 + 0.08 * v + 0.04 * noise(slice_, size, 4)), trunk)

    dome = 0.5 * tall + breath + np.where(u > 0, 0.05, 0.0)
    lung = radius(v + 0.08, side - 0.42 * wide, (0.72 * tall, 0.33 * wide + 0.08 * v), 0.08)
    floor = v - dome + 0.35 * (side - 0.4 * wide) ** 2 * 4 - 0.22 * ramp(side, 0.55 * wide, 0.8 * wide)
    field_ = inside(lung, 0.12) * ramp(floor, 0.03, -0.03)
    texture = air * (1 + 0.12 * noise(slice_, size, 4)) + 0.012 * noise(slice_, size, 30)
    branches = bell(noise(slice_, size, 8), 0.22) + 0.6 * bell(noise(slice_, size, 15), 0.25)
    texture += mark * branches * ramp(side, 0.75 * wide, 0.15)
    hila = inside(radius(v + 0.05, side - 0.2, (0.2, 0.1), 0.3), 0.9)
    texture += 0.14 * hila * (0.8 + 0.3 * noise(slice_, size, 10))
    image = over(image, texture, field_)

    back, front = v + 0.08 - 0.75 * (side - 0.28) ** 2, v - 0.1 - 0.75 * (0.85 * wide - side)
    rib = ramp(np.cos(back * spacing * np.pi), 0.2, 0.8) * ramp(side, 0.1, 0.22)
    rib += 0.5 * ramp(np.cos(front * spacing * np.pi), 0.3, 0.8) * ramp(side, 0.3, 0.5)
    image += ribs * rib * trunk * ramp(v, 0.85, 0.4) * (0.6 + 0.4 * ramp(side, 0.3, 0.8))
    collar = bell(v + 0.68 * tall + 0.28 * (side - 0.35), 0.045) * ramp(side, 0.06, 0.12) * ramp(side, 0.85, 0.7)
    image += 0.14 * collar
    spine = ramp(side, 0.14, 0.07)
    image = over(image, soft * (1 + 0.05 * np.cos(v * 26)), 0.9 * spine)
    heart = radius(v - 0.2 * tall, u - 0.13, (0.3 * heart_size, 0.27 * heart_size), 0.5)
    image = over(image, soft * 0.97, inside(heart, 0.14) * 0.92)
    image = over(image, soft * 0.9, inside(radius(v + 0.28, u - 0.07, (0.15, 0.12)), 0.5) * 0.8)
    if slice_.random() < 0.25:  # a cable or a line
        wire = bell(u - slice_.uniform(-0.6, 0.6) - 0.15 * curve(slice_, size[0], 3)[:, None], 0.008)
        image += 0.22 * wire * ramp(v, slice_.uniform(-0.6, 0.4), -0.9)
    image = image * slice_.uniform(0.88, 1.12) + slice_.uniform(-0.04, 0.04)
    lungs = np.clip(field_ - 0.9 * spine - inside(heart, 0.14), 0, 1)
    marks = {"lung": lungs, "up": v, "side": u, "floor": floor, "hila": hila, "field": field_}
    return Scene(image, lungs > 0.9, soft, grain, marks)
