"""What a record's held-out images fix before a test image is looked at: thresholds and probabilities.

Everything here comes from `held_out.parquet` and `held_out_pixels.parquet`; no test label and no test score is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.metrics.keys import upper_edges
from adbench.records.record import Record
from adbench.statistics.calibration import Platt, platt
from adbench.statistics.patients import Groups, group
from adbench.statistics.thresholds import Threshold, check_share, image_threshold, pixel_threshold

OLDER = "its record holds no held-out images, an older adbench wrote it; run its cell again with force=true"


@dataclass(frozen=True)
class HeldOutScores:
    """The held-out images of a record.

    source: "valid", "support_cv" or "none". split: where they are from, in words.
    of: how many images there were to choose from. in_test: how many more were left out because the test split has
        them, or their patients.
    scores: (N,) 32 bits; labels: (N,); groups: (N,), the patient of each; unknown: images whose patient is unknown.
    upper, pixels: (B,), upper edges of bins of map scores, and the pixels of normal images in each; None without maps.
    why: why there are none, or "".
    """

    source: str
    split: str
    of: int
    in_test: int
    scores: NDArray[np.float32]
    labels: NDArray[np.bool_]
    groups: Groups
    unknown: int
    upper: NDArray[np.float32] | None
    pixels: NDArray[np.int64] | None
    why: str = ""

    @property
    def normal(self) -> int:
        """The number of normal images."""
        return int((~self.labels).sum())

    @property
    def patients(self) -> int:
        """The number of patients; an image whose patient is unknown is a patient of its own."""
        return len(np.unique(self.groups))


@dataclass(frozen=True)
class Thresholds:
    """The two thresholds at a specificity: of the image score, and of the anomaly map."""

    image: Threshold
    pixel: Threshold


def held_out(record: Record, maps: bool = True) -> HeldOutScores:
    """Read the held-out images of a record, with `maps` also their pixels.

    Raises RecordError where their files are damaged.
    """
    head = record.content.get("held_out")
    if head is None:
        return _nothing("none", OLDER)
    table = record.held_out()
    if table is None:
        return _nothing(head["source"], head["why"] or "")
    found = record.held_out_pixels() if maps else None
    upper = pixels = None
    if found is not None:
        upper, pixels = upper_edges(found["bin"], head["shift"]), found["pixels"]
    return HeldOutScores(
        head["source"], head["split"] or "", head["of"], head["in_test"], table["score"].to_numpy(np.float32),
        table["label"].to_numpy() == 1, group(table["patient"]), int(table["patient"].isna().sum()), upper, pixels,
    )  # fmt: skip


def _nothing(source: str, why: str) -> HeldOutScores:
    none = np.empty(0, np.float32)
    return HeldOutScores(source, "", 0, 0, none, np.empty(0, bool), np.empty(0, np.intp), 0, None, None, why)


def thresholds(found: HeldOutScores, specificity: float = 0.95) -> Thresholds:
    """Return image and pixel threshold at a specificity, each with a sentence where there is none."""
    check_share("specificity", specificity)
    if found.why:
        missing = Threshold(None, None, 0, 0, found.why)
        return Thresholds(missing, missing)
    normal = ~found.labels
    groups = found.groups[normal]
    image = image_threshold(found.scores[normal], groups, specificity)
    if not image.images:
        pixel = image  # there are no pixels of normal images either
    elif found.upper is None or found.pixels is None:
        pixel = Threshold(None, None, image.images, image.patients, "the method draws no maps")
    else:
        pixel = pixel_threshold(found.upper, found.pixels, groups, specificity)
    return Thresholds(image, pixel)


def probabilities(found: HeldOutScores) -> Platt:
    """Return the map from scores to probabilities; raises AdbenchError, in one sentence, where there is none."""
    if found.why:
        raise AdbenchError(found.why)
    return platt(found.scores, found.labels, found.groups)
