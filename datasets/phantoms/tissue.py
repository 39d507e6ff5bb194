"""Painter of haematoxylin-eosin stained tissue: fibres, gaps, and a crowd of nuclei."""

import numpy as np

from .brushes import Field, Size, bell, inside, noise, over, ramp
from .organs import Generator, Scene

REACH = 9  # half side, in pixels at a height of 192, of the square in which one nucleus is drawn


def nuclei(rng: Generator, size: Size, count: int, length: float, spread: float, keep: Field) -> Field:
    """Coverage (H, W) of about `count` nuclei of half length `length` pixels; `spread` in [0, 1] is their variety.

    A nucleus is drawn only where `keep` (H, W) exceeds a uniform number, so `keep` is a relative density in [0, 1].
    """
    height, width = size
    centre = rng.uniform((0, 0), (height, width), (count, 2))
    kept = keep[centre[:, 0].astype(int), centre[:, 1].astype(int)] > rng.random(count)
    centre = centre[kept]
    number = len(centre)
    reach = max(2, round(REACH * height / 192 * max(1.0, length / 4.5)))
    long = length * height / 192 * np.exp(spread * rng.normal(0, 0.45, number))
    short = long * rng.uniform(0.6 - 0.25 * spread, 1.0, number)
    angle = rng.uniform(0, np.pi, number)
    shade = rng.uniform(0.75, 1.0, number)
    offset = np.arange(-reach, reach + 1)
    corner = centre.astype(int)
    dy = (corner[:, 0, None] + offset - centre[:, 0, None])[:, :, None]
    dx = (corner[:, 1, None] + offset - centre[:, 1, None])[:, None, :]
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    distance = np.sqrt(((dy * c + dx * s) / long[:, None, None]) ** 2 + ((dx * c - dy * s) / short[:, None, None]) ** 2)
    stamp = inside(distance, 0.45) * shade[:, None, None]
    field = np.zeros((height + 2 * reach, width + 2 * reach))
    rows = corner[:, 0, None, None] + reach + offset[:, None]
    columns = corner[:, 1, None, None] + reach + offset[None, :]
    np.maximum.at(field, (np.broadcast_to(rows, stamp.shape), np.broadcast_to(columns, stamp.shape)), stamp)
    return field[reach:-reach, reach:-reach]


def stain(eosin: Field, haematoxylin: Field, tint: Field) -> Field:
    """Beer-Lambert mixture (H, W, 3) of two stains; `tint` (2, 3) is the absorbance of each per channel."""
    absorbed = eosin[..., None] * tint[0] + haematoxylin[..., None] * tint[1]
    transmitted: Field = np.exp(-absorbed)
    return transmitted


def his(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Lymph-node-like tissue; density, nuclear size and stain vary between patients, follicles within a slice."""
    tint = np.array([[0.08, 0.62, 0.3], [0.95, 1.25, 0.55]]) * np.exp(patient.normal(0, 0.13, (2, 3)))
    length, spread = patient.uniform(2.6, 3.8), patient.uniform(0.15, 0.5)
    crowd, fibre_strength, grain = patient.uniform(0.35, 0.95), patient.uniform(0.1, 0.35), patient.uniform(0.01, 0.03)
    fibres = noise(slice_, size, 20, 7) if slice_.random() < 0.5 else noise(slice_, size, 7, 20)
    eosin = patient.uniform(0.5, 0.85) * (1 + fibre_strength * fibres + 0.12 * noise(slice_, size, 5))
    eosin += 0.1 * noise(slice_, size, 45)
    gaps = ramp(noise(slice_, size, 6) + 0.3 * noise(slice_, size, 14), 1.35, 1.6) * (patient.random() < 0.7)
    density = np.clip(crowd + 0.45 * noise(slice_, size, 3), 0.05, 1.0) * (1 - gaps)
    cells = nuclei(slice_, size, 420, length, spread, density)
    chromatin = 0.8 + 0.18 * noise(slice_, size, 60)
    eosin = over(np.clip(eosin, 0.1, 2), 0.03, gaps)
    blue = 0.07 * density + patient.uniform(0.7, 1.05) * cells * chromatin
    border = bell(noise(slice_, size, 4), 0.05)
    image = stain(eosin * (1 - 0.4 * cells) + 0.15 * border * (1 - gaps), blue, tint)
    marks = {"eosin": eosin, "blue": blue, "cells": cells, "tint": tint, "length": np.asarray(length), "gaps": gaps}
    return Scene(image, gaps < 0.5, 0.6, grain, marks)
