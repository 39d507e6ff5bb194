"""Score maps, computed once more, against what a record keeps of its own: histograms, lesions, AUPIMO, figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.metrics.histogram import Histogram
from adbench.metrics.keys import to_floats
from adbench.metrics.moved import moved, tied_pairs
from adbench.metrics.overlap import RATES
from adbench.metrics.per_image import Contributions, ImageHistograms, coarsened
from adbench.metrics.pixel import pixel_metrics
from adbench.records.files import HISTOGRAM
from adbench.running.recheck import Reopened
from adbench.scoring.lesions import LesionEvaluator, LesionOutcome
from adbench.system.text import printable

# By how much pixel figures and AUPIMO may differ on another kind of machine, as fractions of 1.
FIGURES = {"32-true": 0.005, "bf16-mixed": 0.03, "16-mixed": 0.03}
# Which share of the pixels of a class may move by more than the tolerance, as where the nearest patch is another one.
STRAYS = {"32-true": 1e-3, "bf16-mixed": 0.02, "16-mixed": 0.02}
TIES = 0.05  # of the pairs of pixels: where more have one score up to rounding, that decides the figures
ROUNDING = 1e-3  # of the tolerance: what 32 bits, or 16, round
CLOSE = 1e-9  # sums of 64-bit numbers may be added up in another order


class MapsAgain:
    """Compares maps with a record, batch by batch.

    slack: by which scores may differ, as a share of the range of all maps; 0: not at all, nor may a figure.
    whole: whether all test images will be added; AUPIMO, pixel figures and lesions are compared then.
    figure_slack: by which pixel figures and AUPIMO may differ, as a fraction of 1.
    recorded: the histograms of single images in the record; None without them. differing: why a map differs from its
    histogram, by the number of its image.
    """

    def __init__(self, again: Reopened, slack: float, precision: str, whole: bool) -> None:
        self.again, self.record, self.slack, self.whole = again, again.record, slack, whole
        self.strays = STRAYS[precision]
        self.figure_slack = FIGURES[precision] if slack else CLOSE
        has_any = self.record.content["histogram"] is not None and again.test.masks is not None
        self.recorded = self.record.contributions() if has_any and self.record.content.get("image_histograms") else None
        self.first_rows = _first_rows(self.recorded, len(again.predictions))
        self.tolerance = slack * _range(self.recorded)
        self.differing: dict[int, str] = {}
        self.images = 0
        self.pixels = Histogram()
        self.false_positives = self.record.false_positives()
        self.evaluator = LesionEvaluator(
            again.test.labels == 0, again.cell.eval_size, _thresholds(self.false_positives)
        )

    def update(self, first: int, maps: NDArray[np.float32]) -> None:
        """Add the maps (B, S, S) of the test images number `first`, `first` + 1, ..."""
        if self.again.test.masks is None or self.record.content["histogram"] is None:
            return
        masks = self.again.test.masks[first : first + len(maps)].astype(bool)
        self.images += len(maps)
        if self.recorded is not None:
            for number, (own, mask) in enumerate(zip(maps, masks, strict=True), first):
                kept = _rows(self.recorded, slice(*self.first_rows[number : number + 2]))
                if why := self._differs(kept, own, mask):
                    self.differing[number] = why
        if self.whole:
            self.pixels.update(maps, masks)
            self.evaluator.update(first, maps, masks)

    def _differs(self, kept: Contributions, scores: NDArray[np.float32], mask: NDArray[np.bool_]) -> str:
        if not kept.bin.size:
            return "it has none"
        if self.slack:
            return str(moved(kept, scores, mask, self.tolerance, self.strays) or "")
        counted = ImageHistograms()
        counted.update(0, scores[None], mask[None])
        part = counted.parts[0]
        if part.shift > kept.shift:
            return "its bins are finer than those of its map"
        here = coarsened(part, kept.shift)
        for name in ("bin", "positive", "negative"):
            if not np.array_equal(getattr(here, name), getattr(kept, name)):
                return f"{name} is another than its map gives"
        same = np.allclose(here.region_weight, kept.region_weight, rtol=CLOSE, atol=CLOSE)
        return "" if same else "region_weight is another than its map gives"

    def sentences(self) -> Iterator[str]:
        """Yield what differs, once all maps were added."""
        for number, why in list(self.differing.items())[:1]:
            name = printable(str(self.again.predictions["image"].iloc[number]))
            yield (
                f"image_histograms.parquet has another histogram of {name}: {why} "
                f"({len(self.differing)} of {self.images} images differ)"
            )
        if not self.whole or not self.images:
            return
        outcome = self.evaluator.outcome()
        yield from self._overlap_differs(outcome)
        yield from self._lesions_differ(outcome)
        if not self.slack:
            yield from self._histogram_differs()
        if not self.by_rounding:
            yield from self._figures_differ()

    @cached_property
    def ties(self) -> float:
        """The share of the pairs of pixels with one score up to rounding, of all maps; 0 for the same bits."""
        return tied_pairs(self.pixels.table(), ROUNDING * self.slack) if self.slack else 0.0

    @property
    def by_rounding(self) -> bool:
        """Whether so many pixels have one score that another machine may give other figures."""
        return self.ties > TIES

    def unchecked(self) -> Iterator[str]:
        """Say what was not compared, though all images were scored."""
        if self.whole and self.images and self.by_rounding:
            yield (
                f"the pixel figures on this machine: {100 * self.ties:.1f} % of the pairs of an abnormal and a normal "
                "pixel have one score up to rounding"
            )

    def compared(self) -> list[str]:
        """Name what was compared."""
        return [*self._compared()] if self.images else []

    def _compared(self) -> Iterator[str]:
        moving = f", if scores move by up to {self.slack:g} of the range of all maps" if self.slack else ""
        within = f" within {100 * self.figure_slack:g} points" if self.slack else ""
        if self.recorded is not None:
            yield f"the histogram of each map, with the weights of its regions{moving}"
        if self.whole:
            if not self.slack:
                yield HISTOGRAM
            if not self.by_rounding:
                yield f"the pixel figures{within}"
            if {*RATES} <= {*self.again.predictions}:
                yield f"AUPIMO{' on average' + within if self.slack else ' of each image'}"
            if self.record.content.get("lesions"):
                yield "the lesions" + ("" if self.slack or self.false_positives is None else " and false positives")

    def _overlap_differs(self, outcome: LesionOutcome) -> Iterator[str]:
        table = self.again.predictions
        for name in (name for name in RATES if name in table):
            mine, here = table[name].to_numpy(np.float64), outcome.overlap[name]
            odd = np.flatnonzero(np.isnan(mine) != np.isnan(here))
            both = np.nan_to_num(np.abs(mine - here))
            if not odd.size and (both.sum() / max(1, np.isfinite(here).sum()) > self.figure_slack):
                odd = np.argsort(-both, kind="stable")[: np.count_nonzero(both > self.figure_slack)]
            if odd.size:
                row = int(odd[0])
                yield (
                    f"{name} of {printable(str(table['image'].iloc[row]))} is {mine[row]:.6g}, and the saved "
                    f"parameters give {here[row]:.6g} ({odd.size} of {len(table)} images differ)"
                )

    def _lesions_differ(self, outcome: LesionOutcome) -> Iterator[str]:
        kept, found = self.record.lesions(), outcome.lesions
        if kept is None:
            return
        names = ("image", "area")
        if len(kept) != len(found.area) or any((kept[name].to_numpy() != getattr(found, name)).any() for name in names):
            yield "lesions.parquet has other lesions than the masks"
            return
        odd = np.abs(kept["score"].to_numpy(np.float64) - found.score) > self.tolerance
        if np.count_nonzero(odd) > (self.strays * len(odd) if self.slack else 0):
            row = int(np.flatnonzero(odd)[0])
            yield (
                f"lesions.parquet says that lesion {row + 1} scores {kept['score'].iloc[row]:.9g}, and its map says "
                f"{found.score[row]:.9g} ({np.count_nonzero(odd)} of {len(odd)} lesions differ)"
            )
        if not self.slack and self.false_positives is not None:
            wrong = np.flatnonzero(self.false_positives["regions"].to_numpy() != outcome.false_positives.ravel())
            if wrong.size:
                yield f"false_positives.parquet has {wrong.size} counts that maps don't give at its thresholds"

    def _histogram_differs(self) -> Iterator[str]:
        mine, here = self.record.histogram() or {}, self.pixels.to_arrays()
        for name, column in here.items():
            own, close = np.asarray(mine[name]), CLOSE if name == "region_weight" else 0
            if own.shape != column.shape or not np.allclose(own.astype(np.float64), column, rtol=close, atol=close):
                yield f"histogram.parquet has another {name} than the maps give"
                return

    def _figures_differ(self) -> Iterator[str]:
        stated = self.record.metrics
        for name, found in pixel_metrics(self.pixels).items():
            mine = stated.get(name)
            if mine is not None and abs(mine - found.value) > self.figure_slack:
                yield f"metrics.{name} is {mine:.6g}, and the maps of the saved parameters give {found.value:.6g}"


def _thresholds(counts: pd.DataFrame | None) -> dict[float, float]:
    """Return the map thresholds of a record by specificity."""
    if counts is None:
        return {}
    first = counts[counts["image"] == counts["image"].iloc[0]]
    return dict(zip(first["specificity"].tolist(), first["threshold"].tolist(), strict=True))


def _first_rows(kept: Contributions | None, images: int) -> list[int]:
    """Return where the rows of each image begin, and where the last ones end."""
    return [] if kept is None else np.searchsorted(kept.image, np.arange(images + 1)).tolist()


def _range(kept: Contributions | None) -> float:
    """Return from the lowest to the highest score of all maps."""
    if kept is None or not kept.bin.size:
        return 0.0
    low, high = to_floats(np.array([int(kept.bin.min()), int(kept.bin.max()) + 1]) << kept.shift).astype(np.float64)
    return float(high - low)


def _rows(kept: Contributions, rows: slice) -> Contributions:
    """Return the histogram of one image."""
    names = ("image", "bin", "positive", "negative", "region_weight")
    return replace(kept, **{name: getattr(kept, name)[rows] for name in names})
