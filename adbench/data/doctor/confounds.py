"""Shortcuts: how well image size, colour, brightness or slice position alone separate normal from abnormal images."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.data.doctor.measure import ImageStats
from adbench.data.frames import ImagePath, stem
from adbench.data.items import SPLITS, Item
from adbench.metrics.image import roc_auc

Values = NDArray[np.float64]
Measure = Callable[[Sequence[Item]], Values | None]

MIN_IMAGES = 10  # of each class; with fewer, nothing is reported
LIMIT = 0.9  # AUROC of what every method sees: size, colour, brightness
POSITION_LIMIT = 0.7  # AUROC of the slice position, which a method sees only through the anatomy
CHANCE = 3.0  # an AUROC must also exceed 0.5 by this many standard deviations of a random score's AUROC


@dataclass(frozen=True)
class Confound:
    """One shortcut.

    figures: the AUROC that it reaches alone, a text for each split.
    strong: whether one of them exceeds the limit, and chance.
    """

    check: str
    name: str
    figures: tuple[str, ...]
    strong: bool
    why: str


def confounds(items: Sequence[Item], images: Mapping[ImagePath, ImageStats]) -> list[Confound]:
    """Return every shortcut that can be measured, over all splits that have both classes."""
    good = [item for item in items if not images[item.image].error]

    def of(name: str) -> Measure:
        return lambda some: np.array([float(getattr(images[item.image], name)) for item in some])

    def area(some: Sequence[Item]) -> Values:
        return np.array([float(images[item.image].width * images[item.image].height) for item in some])

    def shape(some: Sequence[Item]) -> Values:
        return np.array([images[item.image].width / images[item.image].height for item in some])

    def kind(some: Sequence[Item]) -> Values:
        return by_kind(
            [f"{images[i.image].mode} {'colour' if images[i.image].colour else 'grey'}" for i in some],
            [i.label for i in some],
        )

    visible = "A method can use it instead of the lesion, and then scores well on this dataset alone."
    anatomy = (
        "The slice number predicts the label: a method can learn the anatomy of a slice instead of the lesion. "
        "Compare with a dataset whose normal and abnormal slices come from the same positions."
    )
    shortcuts = [
        _confound("slice-position", "slice position", positions(good), good, POSITION_LIMIT, anatomy),
        _confound("image-size", "image size", {"pixels": area, "width / height": shape}, good, LIMIT, visible),
        _confound("colour-mode", "colour mode", {"mode": kind}, good, LIMIT, visible),
        _confound("brightness", "brightness", {"mean": of("mean"), "spread": of("spread")}, good, LIMIT, visible),
    ]
    return [shortcut for shortcut in shortcuts if shortcut is not None]


def folded_auc(values: Values, labels: NDArray[np.bool_]) -> float:
    """Return the AUROC in the better direction, 0.5 to 1.

    >>> folded_auc(np.array([3.0, 2.0, 1.0]), np.array([False, False, True]))
    1.0
    """
    auc = roc_auc(values, labels)
    return max(auc, 1 - auc)


def chance(normal: int, abnormal: int) -> float:
    """Return the standard deviation of the AUROC of a random score (Mann-Whitney statistic without ties)."""
    return float(np.sqrt((normal + abnormal + 1) / (12 * normal * abnormal)))


def slice_number(item: Item) -> int | None:
    """Return the place of a slice in its volume or series, else the last number after the patient in its file's name.

    None where neither is known.

    >>> from pathlib import Path
    >>> slice_number(Item("x", "test", 0, Path("TCGA_DU_5851_12.png"), patient="TCGA_DU_5851"))
    12
    """
    if item.position is not None:
        return item.position
    name = stem(item.path)
    if not item.patient or item.patient not in name:
        return None
    numbers = re.findall(r"\d+", name.partition(item.patient)[2])
    return int(numbers[-1]) if numbers else None


def positions(items: Sequence[Item]) -> dict[str, Measure]:
    """Return the measures of slice position; empty where file names don't contain slice numbers.

    Lesions can be in slices at one end, so the number itself is a measure; or in the middle, so its distance from the
    middle is one too: the middle of the split, and that of the patient's slices.
    """
    known = ((item.id, slice_number(item)) for item in items)
    numbers = {name: value for name, value in known if value is not None}
    if len(numbers) < 0.9 * len(items) or max(Counter(i.patient for i in items).values(), default=0) < 2:
        return {}
    ranges: dict[str | None, list[int]] = defaultdict(list)
    for item in items:
        if item.id in numbers:
            ranges[item.patient].append(numbers[item.id])

    def number(some: Sequence[Item]) -> Values:
        return np.array([float(numbers.get(item.id, np.nan)) for item in some])

    def from_middle(some: Sequence[Item]) -> Values:
        return np.abs(number(some) - np.nanmedian(number(some)))

    def from_patient_middle(some: Sequence[Item]) -> Values:
        ends = [(min(ranges[item.patient]), max(ranges[item.patient])) for item in some if ranges[item.patient]]
        if len(ends) < len(some):
            return np.full(len(some), np.nan)
        low, high = np.array(ends, dtype=float).T
        return np.abs(number(some) - (low + high) / 2) / np.maximum(high - low, 1)

    return {
        "number": number,
        "distance from the middle": from_middle,
        "distance from the patient's middle": from_patient_middle,
    }


def by_kind(kinds: Sequence[str], labels: Sequence[int]) -> Values:
    """Replace each category by the share of abnormal images in it.

    >>> by_kind(["L", "L", "RGB"], [0, 1, 1]).tolist()
    [0.5, 0.5, 1.0]
    """
    total, abnormal = Counter(kinds), Counter(kind for kind, label in zip(kinds, labels, strict=True) if label)
    return np.array([abnormal[kind] / total[kind] for kind in kinds])


def _confound(
    check: str, name: str, measures: Mapping[str, Measure], items: Sequence[Item], limit: float, why: str
) -> Confound | None:
    """Take the best measure in each split; it is strong where it exceeds `limit`, and chance."""
    figures, strong = [], False
    for split in SPLITS if measures else ():
        some = [item for item in items if item.split == split]
        labels = np.array([item.label == 1 for item in some], dtype=bool)
        normal, abnormal = int((~labels).sum()), int(labels.sum())
        if min(normal, abnormal) < MIN_IMAGES:
            continue
        aucs: dict[str, float] = {}
        for title, measure in measures.items():
            values = measure(some)
            if values is not None and not np.isnan(values).all():
                known = ~np.isnan(values)
                if 0 < labels[known].sum() < known.sum():
                    aucs[title] = folded_auc(values[known], labels[known])
        if aucs:
            best = max(aucs, key=lambda title: aucs[title])
            figures.append(f"{split} AUROC {aucs[best]:.2f} ({best})")
            strong |= aucs[best] > limit and aucs[best] - 0.5 > CHANCE * chance(normal, abnormal)
    return Confound(check, name, tuple(figures), strong, why) if figures else None
