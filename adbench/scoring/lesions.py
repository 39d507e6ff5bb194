"""What the maps of single test images show of their lesions: AUPIMO, lesions found, false positives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.metrics.detection import Lesions, false_positives, joined, lesions
from adbench.metrics.keys import upper_edges
from adbench.metrics.overlap import RATES, PerImageOverlap, too_few
from adbench.scoring.held_out import HeldOutOutcome
from adbench.statistics.patients import group
from adbench.statistics.thresholds import pixel_thresholds
from adbench.system.ranks import all_gather


@dataclass(frozen=True)
class LesionOutcome:
    """What the maps of all images show of their lesions.

    overlap: AUPIMO by column of `RATES`, (N,) each, all NaN where there are too few normal pixels for it.
    thresholds: of map scores, by the specificity that each was chosen for. false_positives: regions, (N, K).
    """

    overlap: dict[str, NDArray[np.float64]]
    lesions: Lesions
    thresholds: dict[float, float]
    false_positives: NDArray[np.int32]

    def counts(self) -> pd.DataFrame:
        """Return the false positives as a table: image, specificity, threshold, regions."""
        images, k = self.false_positives.shape
        return pd.DataFrame({
            "image": np.repeat(np.arange(images, dtype=np.int32), k),
            "specificity": np.tile(list(self.thresholds), images),
            "threshold": np.tile(list(self.thresholds.values()), images),
            "regions": self.false_positives.ravel(),
        })  # fmt: skip

    def head(self) -> dict[str, Any]:
        """Return what record.json says of the tables."""
        return {"number": len(self.lesions.image), "thresholds": len(self.thresholds)}

    @property
    def metrics(self) -> dict[str, float | None]:
        """The mean AUPIMO over abnormal images; None where there is none."""
        means = {name: float(np.nanmean(one)) if np.isfinite(one).any() else None for name, one in self.overlap.items()}
        return {f"pixel_{name}": mean for name, mean in means.items()}


def map_thresholds(held_out: HeldOutOutcome | None) -> dict[float, float]:
    """Return map thresholds by specificity, from held-out normal images; those alone that so few images can give."""
    if held_out is None or held_out.pixels is None or held_out.shift is None:
        return {}
    normal = held_out.table[held_out.table["label"] == 0]
    groups = group(normal["patient"])
    upper = upper_edges(held_out.pixels["bin"].to_numpy(), held_out.shift).astype(np.float64)
    counts = held_out.pixels["pixels"].to_numpy()
    return pixel_thresholds(upper, counts, groups)


class LesionEvaluator:
    """Collects it batch by batch; `outcome` joins the processes of a cell.

    normal: (N,), true for the normal ones of all images that are evaluated; size: side of a map in pixels.
    thresholds: of map scores, at which false positives are counted, by the specificity that each was chosen for.
    """

    def __init__(self, normal: NDArray[np.bool_], size: int, thresholds: Mapping[float, float] = {}) -> None:
        self.normal, self.size, self.thresholds = normal, size, dict(thresholds)
        self.overlap = self._empty()
        self.parts: dict[int, tuple[Lesions, NDArray[np.int32]]] = {}

    def _empty(self) -> PerImageOverlap:
        return PerImageOverlap(int(self.normal.sum()) * self.size**2)

    def update(self, first: int, maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> None:
        """Add images number `first`, `first` + 1, ...: maps and masks (B, S, S)."""
        self.overlap.update(first, maps, masks, self.normal[first : first + len(maps)])
        self.parts[first] = lesions(maps, masks, first), false_positives(maps, masks, [*self.thresholds.values()])

    def outcome(self) -> LesionOutcome:
        """Return what all processes have collected."""
        overlap, parts = self._empty(), dict[int, tuple[Lesions, NDArray[np.int32]]]()
        for other_overlap, other_parts in all_gather((self.overlap, self.parts)):
            overlap.merge(other_overlap)
            parts |= other_parts
        ordered = [parts[first] for first in sorted(parts)]
        normals = int(self.normal.sum())
        figures = {
            name: np.full(len(self.normal), np.nan)
            if too_few(normals, overlap.pixels, low)
            else overlap.values(low, high)
            for name, (low, high) in RATES.items()
        }
        counts = np.concatenate([own for _, own in ordered])
        return LesionOutcome(figures, joined([one for one, _ in ordered]), self.thresholds, counts)
