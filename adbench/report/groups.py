"""How a record's result differs between kinds of images: subgroups of the dataset, and thirds of lesion size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.samples import ScoredImages
from adbench.statistics import breakdown
from adbench.statistics.figures import LEAST_PATIENTS, Figure, share

Bools = NDArray[np.bool_]


class Part(NamedTuple):
    """Some of the test images.

    abnormal, normal: how many there are. auroc: its abnormal images against all normal ones. sensitivity, specificity:
    of its own images at the image threshold; None without a threshold.
    """

    name: str
    abnormal: int
    normal: int
    patients: int
    auroc: Figure
    sensitivity: Figure | None
    specificity: Figure | None

    @property
    def small(self) -> bool:
        """Whether so few patients are in it that it says nothing of others."""
        return self.patients < LEAST_PATIENTS


def subgroups(test: ScoredImages, threshold: float | None, level: float) -> list[Part]:
    """Return the subgroups that the dataset names, in alphabetical order; empty where it names none."""
    names = test.table["subgroup"]
    return [
        _part(test, str(one), (names == one).to_numpy(np.bool_, na_value=False), threshold, level)
        for one in sorted(names.dropna().unique())
    ]


def thirds(test: ScoredImages, size: int, threshold: float | None, level: float) -> list[Part]:
    """Return the abnormal images in thirds of lesion area; empty where areas are unknown or too few differ.

    size: side of a mask in pixels, for the share of the image that a lesion covers.
    """
    if "lesion_area" not in test.table:
        return []
    area = test.table["lesion_area"].astype(float).to_numpy()
    ill = (test.table["label"].to_numpy() == 1) & (area > 0)
    if len(np.unique(area[ill])) < 3:
        return []
    edges = np.quantile(area[ill], [1 / 3, 2 / 3])
    which = np.digitize(area, edges, right=True)
    parts = []
    for number, word in enumerate(("smallest", "middle", "largest")):
        some = ill & (which == number)
        if some.any():
            low, high = (100 * bound / size**2 for bound in (area[some].min(), area[some].max()))
            name = f"{word} third: {low:.2g} to {high:.2g} % of the image"
            parts.append(_part(test, name, some, threshold, level))
    return parts


def _part(test: ScoredImages, name: str, some: Bools, threshold: float | None, level: float) -> Part:
    labels, scores = test.table["label"].to_numpy() == 1, test.table["score"].to_numpy(np.float64)
    kept = (some & labels) | ~labels
    ill, well = some & labels, some & ~labels
    auroc = Figure(None, why="it has no abnormal image")
    if ill.any():
        auroc = breakdown.auroc(scores[kept], labels[kept], test.groups[kept], level)
    called = None if threshold is None else scores >= threshold
    return Part(
        name, int(ill.sum()), int(well.sum()), len(np.unique(test.groups[some])), auroc,
        None if called is None or not ill.any() else share(called[ill], test.groups[ill], level),
        None if called is None or not well.any() else share(~called[well], test.groups[well], level),
    )  # fmt: skip


def size_correlation(table: pd.DataFrame, groups: NDArray[np.intp], level: float) -> Figure | None:
    """Return Spearman's correlation of score and lesion area over abnormal images; None where areas are unknown."""
    if "lesion_area" not in table:
        return None
    area = table["lesion_area"].astype(float).to_numpy()
    ill = (table["label"].to_numpy() == 1) & (area > 0)
    return breakdown.spearman(table["score"].to_numpy(np.float64)[ill], area[ill], groups[ill], level)


class Detection(NamedTuple):
    """Lesions at one map threshold: the share that is found, and false positive regions per image.

    specificity: of held-out normal pixels, which the threshold was chosen for.
    """

    specificity: float
    threshold: float
    found: Figure
    per_image: Figure
    per_normal: Figure


def detections(
    lesions: pd.DataFrame, counts: pd.DataFrame, table: pd.DataFrame, groups: NDArray[np.intp], level: float
) -> Iterator[Detection]:
    """Yield lesions found and false positives at each threshold of a record.

    lesions, counts: `Record.lesions` and `Record.false_positives`. table, groups: predictions in the file's order, and
    the patient of each image.
    """
    normal = table["label"].to_numpy() == 0
    owner = groups[lesions["image"].to_numpy()]
    for specificity in sorted(counts["specificity"].unique()):
        some = counts[counts["specificity"] == specificity].sort_values("image")
        threshold, regions = float(some["threshold"].iloc[0]), some["regions"].to_numpy()
        yield Detection(
            float(specificity),
            threshold,
            share(lesions["score"].to_numpy() >= np.float32(threshold), owner, level),
            breakdown.per_image(regions, groups, level),
            breakdown.per_image(regions[normal], groups[normal], level),
        )
