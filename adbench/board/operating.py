"""The operating point of a record: thresholds fixed on held-out images, and what they reach on the test split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.metrics import Estimate, Histogram
from adbench.metrics.at_threshold import pixels_at
from adbench.metrics.keys import to_keys
from adbench.metrics.per_image import Contributions
from adbench.records.held_out import HeldOutScores, held_out, probabilities, thresholds
from adbench.records.record import Record
from adbench.statistics.calibration import (
    Platt,
    ReliabilityBin,
    brier,
    calibration_in_the_large,
    calibration_slope,
    expected_calibration_error,
    reliability,
)
from adbench.statistics.figures import Figure, dice, pixel_share, predictive_values, share
from adbench.statistics.patients import Groups, group
from adbench.statistics.thresholds import Threshold, check_share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOutFacts:
    """Which images fixed the thresholds; fields as in `HeldOutScores`, and as in `held_out` of record.json."""

    source: str
    split: str
    images: int
    patients: int
    normal: int
    abnormal: int
    of: int
    in_test: int
    why: str


@dataclass(frozen=True)
class Confusion:
    """Numbers of test images; abnormal is what reaches the threshold."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int


@dataclass(frozen=True)
class ImagePoint:
    """The image threshold and what it reaches on the test images.

    specificity: over the patients with a normal image, sensitivity over those with an abnormal one. ppv, npv: at the
    stated prevalence. confusion: None without a threshold.
    """

    threshold: Threshold
    specificity: Figure
    sensitivity: Figure
    ppv: Figure
    npv: Figure
    confusion: Confusion | None


@dataclass(frozen=True)
class PixelPoint:
    """The pixel threshold and what it reaches on the test maps.

    specificity: over the pixels of normal images, sensitivity over abnormal pixels, dice over all pixels. `half_width`
    of each bounds what the histogram's bins leave open.
    """

    threshold: Threshold
    specificity: Figure
    sensitivity: Figure
    dice: Figure


@dataclass(frozen=True)
class Calibration:
    """Probabilities by Platt scaling on the held-out images, and how far they are right on the test images.

    platt: None, with a sentence in `why`, where there are none. brier: 0 is best. in_the_large: 0 is right. slope: 1 is
    right. expected_error: of the bins, without an interval.
    """

    platt: Platt | None
    brier: Figure
    in_the_large: Figure
    slope: Figure
    expected_error: Figure
    bins: tuple[ReliabilityBin, ...]
    why: str = ""


@dataclass(frozen=True)
class OperatingReport:
    """All that a record says about one operating point.

    specificity: the chosen one. prevalence: of abnormal images, for PPV and NPV; None: not stated. level: of the
    intervals. notes: what limits the figures, in sentences. oracle: whether the test split chose the epoch.
    """

    key: str
    specificity: float
    prevalence: float | None
    level: float
    held_out: HeldOutFacts
    image: ImagePoint
    pixel: PixelPoint
    calibration: Calibration
    notes: tuple[str, ...]
    oracle: bool


def operating_points(
    record: Record, specificity: float = 0.95, prevalence: float | None = None, level: float = 0.95
) -> OperatingReport:
    """Return a record's operating point at a specificity, with intervals over test patients.

    Thresholds and probabilities come from the record's held-out images alone. The intervals are for new patients with
    these thresholds as they are.
    Raises AdbenchError for a share that is not between 0 and 1, and RecordError for a damaged record.

    >>> from adbench import run
    >>> report = operating_points(run(method="clip", gallery=0))
    >>> report.held_out.source, report.image.threshold.reached >= 0.95
    ('valid', True)
    """
    check_share("level", level)
    if prevalence is not None:
        check_share("prevalence", prevalence)
    found = held_out(record)
    fixed = thresholds(found, specificity)
    table = record.predictions()
    labels = table["label"].to_numpy() == 1
    scores = table["score"].to_numpy(np.float64)
    groups = group(table["patient"])
    return OperatingReport(
        record.key, float(specificity), prevalence, level, _facts(found),
        _image_point(fixed.image, scores, labels, groups, prevalence, level),
        _pixel_point(record, fixed.pixel, labels, groups, level),
        _calibration(found, scores, labels, groups, level),
        _notes(record, found, int(table["patient"].isna().sum()), len(table)), _by_oracle(record),
    )  # fmt: skip


def image_point(
    record: Record, table: pd.DataFrame, specificity: float = 0.95, level: float = 0.95
) -> tuple[HeldOutFacts, ImagePoint, tuple[str, ...]]:
    """Return a record's held-out images, its image threshold with what that reaches, and notes: no maps are read.

    table: the record's predictions. Ranges, notes and errors: as of `operating_points`.
    """
    check_share("level", level)
    found = held_out(record, maps=False)
    fixed = thresholds(found, specificity)
    labels, scores = table["label"].to_numpy() == 1, table["score"].to_numpy(np.float64)
    point = _image_point(fixed.image, scores, labels, group(table["patient"]), None, level)
    return _facts(found), point, _notes(record, found, int(table["patient"].isna().sum()), len(table))


def _facts(found: HeldOutScores) -> HeldOutFacts:
    return HeldOutFacts(
        found.source, found.split, len(found.labels), found.patients, found.normal,
        len(found.labels) - found.normal, found.of, found.in_test, found.why,
    )  # fmt: skip


def _image_point(
    threshold: Threshold, scores: Floats, labels: Bools, groups: Groups, prevalence: float | None, level: float
) -> ImagePoint:
    if threshold.value is None:
        missing = Figure(None, why="there is no threshold")
        return ImagePoint(threshold, missing, missing, missing, missing, None)
    called = scores >= threshold.value
    confusion = Confusion(
        int((called & labels).sum()), int((~called & labels).sum()),
        int((called & ~labels).sum()), int((~called & ~labels).sum()),
    )  # fmt: skip
    ppv = npv = Figure(None, why="no prevalence is stated")
    if prevalence is not None:
        ppv, npv = predictive_values(called, labels, groups, prevalence, level)
    return ImagePoint(
        threshold, share(~called[~labels], groups[~labels], level), share(called[labels], groups[labels], level),
        ppv, npv, confusion,
    )  # fmt: skip


def _pixel_point(record: Record, threshold: Threshold, labels: Bools, groups: Groups, level: float) -> PixelPoint:
    missing = Figure(None, why="there is no threshold")
    if threshold.value is None:
        return PixelPoint(threshold, missing, missing, missing)
    arrays, images = record.histogram(), None
    if arrays is not None:
        try:
            images = record.contributions()
        except AdbenchError as error:
            missing = Figure(None, why=str(error))
    if arrays is None or images is None:
        if arrays is None:
            missing = Figure(None, why="the dataset has no masks")
        return PixelPoint(threshold, missing, missing, missing)
    key = int(to_keys(np.array([threshold.value], np.float32))[0])
    tp, fp, positive = _by_patient(images, key, groups)
    whole = pixels_at(Histogram.from_arrays(arrays), threshold.value)
    return PixelPoint(
        threshold, _pixel_specificity(images, key, labels, groups, level),
        pixel_share(tp, positive, whole.sensitivity, level),
        dice(tp, fp, positive, whole.dice, level),
    )  # fmt: skip


def _by_patient(images: Contributions, key: int, groups: Groups) -> tuple[Floats, Floats, Floats]:
    """Return abnormal pixels above a threshold, normal ones, and all abnormal ones, (I,) each.

    A bin counts as above where its lower edge reaches the threshold.
    """
    above = images.bin.astype(np.int64) << images.shift >= key
    owner, count = groups[images.image], int(groups.max()) + 1
    columns = images.positive * above, images.negative * above, images.positive
    tp, fp, positive = (np.bincount(owner, column, count).astype(np.float64) for column in columns)
    return tp, fp, positive


def _pixel_specificity(images: Contributions, key: int, labels: Bools, groups: Groups, level: float) -> Figure:
    """Return the share of the pixels of normal images below a threshold, with what its bin leaves open."""
    normal = ~labels[images.image]
    edge, pixels = images.bin[normal].astype(np.int64) << images.shift, images.negative[normal]
    owner, count = groups[images.image[normal]], int(groups.max()) + 1
    below = (edge < key) * pixels
    opened = (edge < key) & (edge + (1 << images.shift) > key) & (images.shift > 0)
    total, most = float(pixels.sum()), float(below.sum())
    least = most - float((opened * pixels).sum())
    return pixel_share(
        np.bincount(owner, below, count).astype(np.float64), np.bincount(owner, pixels, count).astype(np.float64),
        Estimate((least + most) / (2 * total), (most - least) / (2 * total)), level,
    )  # fmt: skip


def _calibration(found: HeldOutScores, scores: Floats, labels: Bools, groups: Groups, level: float) -> Calibration:
    try:
        fitted = probabilities(found)
    except AdbenchError as error:
        missing = Figure(None, why="there are no probabilities")
        return Calibration(None, missing, missing, missing, missing, (), str(error))
    logits, shown = fitted.logits(scores), fitted.probabilities(scores)
    bins = reliability(shown, labels)
    jumps = "no interval: an image that changes its bin makes it jump"
    return Calibration(
        fitted, brier(shown, labels, groups, level), calibration_in_the_large(logits, labels, groups, level),
        calibration_slope(logits, labels, groups, level),
        Figure(expected_calibration_error(bins), why=jumps, patients=len(np.unique(groups))), bins,
    )  # fmt: skip


def _by_oracle(record: Record) -> bool:
    return bool(record.content["selection"]["rule"] == "oracle")


def _notes(record: Record, found: HeldOutScores, unknown: int, images: int) -> tuple[str, ...]:
    notes = []
    rule = record.content["selection"]["rule"]
    if _by_oracle(record):
        notes.append("the epoch was chosen on the test split: the thresholds are not independent of it")
    elif rule == found.source != "none":
        notes.append(f"selection={rule}: the held-out images chose the epoch too, so the thresholds may be too low")
    if found.unknown:
        notes.append(
            f"the patient of {found.unknown} of {len(found.labels)} held-out images is unknown: each counts as a "
            "patient of its own"
        )
    if unknown:
        notes.append(
            f"the patient of {unknown} of {images} test images is unknown: each counts as a patient of its own, and "
            "the intervals may be too narrow"
        )
    return tuple(notes)
