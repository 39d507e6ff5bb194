"""Operating points of records: fixed by held-out images alone, right by counting, or a sentence why there is none."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from adbench.board.operating import OperatingReport, image_point, operating_points
from adbench.commands.record import operating_lines, percent
from adbench.errors import AdbenchError, RecordError
from adbench.metrics import Histogram
from adbench.metrics.per_image import ImageHistograms, to_columns
from adbench.records.files import HELD_OUT, HELD_OUT_PIXELS, IMAGE_HISTOGRAMS
from adbench.records.held_out import held_out, thresholds
from adbench.records.record import Record, read
from adbench.statistics.figures import Figure

IMAGES, SIDE = 60, 8
OWNER = np.arange(IMAGES) // 2
LABELS = OWNER % 2 == 1
RNG = np.random.default_rng(0)
SCORES = (RNG.normal(size=IMAGES) + LABELS).astype(np.float32)
MASKS = np.zeros((IMAGES, SIDE, SIDE), bool)
MASKS[LABELS, 2:5, 2:5] = True
MAPS = (RNG.normal(size=MASKS.shape) + 2 * MASKS).astype(np.float32)


def _table(labels: np.ndarray, scores: np.ndarray, patients: list[str | None], place: str) -> pd.DataFrame:
    return pd.DataFrame({
        "image": [f"{place}/{i:03d}" for i in range(len(labels))], "label": labels.astype(np.int8), "score": scores,
        "map_max": scores, "patient": pd.array(patients, dtype="string"),
    })  # fmt: skip


@pytest.fixture
def write(write_record, tmp_path: Path) -> Callable[..., Record]:
    """Write a record with 60 test images of 30 patients, and with held-out images.

    normal, abnormal: how many are held out, each of a patient of its own. test: rows of the test images, as they are
    to be relabelled. maps: whether the method draws maps. changes: of `held_out` in record.json.
    """
    count = iter(range(1000))

    def make(
        normal: int = 40, abnormal: int = 20, test: np.ndarray | None = None, scores: np.ndarray = SCORES,
        patients: bool = True, maps: bool = True, held: np.ndarray | None = None, rule: str = "last",
        changes: dict[str, object] | None = None,
    ) -> Record:  # fmt: skip
        key = f"record-{next(count)}"
        rng = np.random.default_rng(7)
        labels = np.arange(normal + abnormal) >= normal
        own = (rng.normal(size=len(labels)) + labels).astype(np.float32) if held is None else held
        pixels = rng.normal(size=(normal, SIDE, SIDE)).astype(np.float32)
        head = {
            "source": "valid", "split": "the valid split of brainmri", "images": len(labels), "patients": len(labels),
            "normal": normal, "abnormal": abnormal, "of": 90, "in_test": 1, "shift": None, "why": None,
        }  # fmt: skip
        by_image, whole = ImageHistograms(), ImageHistograms()
        hist = Histogram()
        if maps:
            whole.update(0, pixels, np.zeros_like(pixels, bool))
            hist.update(MAPS, MASKS)
            by_image.update(0, MAPS, MASKS)
            head["shift"] = whole.total().shift
        more = {"histogram": {name: int(hist.to_arrays()[name]) for name in ("shift", "n_regions")}} if maps else {}
        more |= {"image_histograms": {"shift": by_image.total().shift}} if maps else {}
        write_record(tmp_path, key, 0.5, test_images=IMAGES, held_out=head | (changes or {}), selection=rule, **more)
        truth = LABELS if test is None else LABELS[test]
        table = _table(truth, scores, [f"p{p}" if patients else None for p in OWNER], "test")
        table.assign(map_mean=0.0, subgroup=pd.array([None] * IMAGES, dtype="string")).to_parquet(
            tmp_path / key / "predictions.parquet", index=False
        )
        _table(labels, own, [f"h{i}" for i in range(len(labels))], "valid").to_parquet(tmp_path / key / HELD_OUT)
        if maps:
            arrays = {name: column for name, column in hist.to_arrays().items() if column.ndim == 1}
            pd.DataFrame(arrays).to_parquet(tmp_path / key / "histogram.parquet")
            pd.DataFrame(to_columns(by_image.total())).to_parquet(tmp_path / key / IMAGE_HISTOGRAMS)
            total = whole.total()
            bins, at = np.unique(total.bin, return_inverse=True)
            pd.DataFrame({"bin": bins, "pixels": np.bincount(at, total.negative).astype(np.int64)}).to_parquet(
                tmp_path / key / HELD_OUT_PIXELS
            )
        return read(tmp_path / key)

    return make


def test_what_it_reaches_is_what_counting_says(write) -> None:
    report = operating_points(write(), specificity=0.9, prevalence=0.2)
    image, called = report.image, report.image.threshold.value <= SCORES
    assert image.threshold.reached >= 0.9
    assert image.specificity.value == pytest.approx(1 - called[~LABELS].mean(), abs=1e-15)
    assert image.sensitivity.value == pytest.approx(called[LABELS].mean(), abs=1e-15)
    assert (image.specificity.patients, image.sensitivity.patients) == (15, 15), "abnormal patients alone"
    assert dataclasses.astuple(image.confusion) == (
        (called & LABELS).sum(), (~called & LABELS).sum(), (called & ~LABELS).sum(), (~called & ~LABELS).sum(),
    )  # fmt: skip
    above = report.pixel.threshold.value <= MAPS
    dice = 2 * (above & MASKS).sum() / (above.sum() + MASKS.sum())
    assert report.pixel.dice.value == pytest.approx(dice, abs=1e-12)
    assert report.pixel.sensitivity.value == pytest.approx(above[MASKS].mean(), abs=1e-12)
    one = report.pixel.specificity
    assert abs(one.value - (1 - above[~LABELS].mean())) <= one.half_width + 1e-12
    assert one.half_width < 0.01
    for found in (image.specificity, image.ppv, image.npv, report.pixel.dice, one, report.pixel.sensitivity):
        assert found.low < found.value < found.high


def test_the_calibration_is_that_of_the_probabilities_that_score_writes(write) -> None:
    record = write(normal=60, abnormal=30)
    fitted = operating_points(record).calibration
    p = expit(fitted.platt.slope * SCORES.astype(float) + fitted.platt.intercept)
    assert fitted.brier.value == pytest.approx(brier_score_loss(LABELS, p), abs=1e-12)
    assert sum(one.images for one in fitted.bins) == IMAGES
    assert fitted.in_the_large.low < fitted.in_the_large.value < fitted.in_the_large.high
    assert (fitted.expected_error.low, fitted.expected_error.high) == (None, None)
    assert "jump" in fitted.expected_error.why


def _fixed(report: OperatingReport) -> tuple[object, ...]:
    return report.image.threshold, report.pixel.threshold, report.calibration.platt, report.held_out


@pytest.mark.parametrize("seed", range(2))
def test_no_threshold_moves_when_test_labels_or_test_scores_change(write, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = operating_points(write())
    other = operating_points(write(test=rng.permutation(IMAGES)))
    scores = operating_points(write(scores=rng.normal(5, 3, IMAGES).astype(np.float32)))
    assert _fixed(first) == _fixed(other) == _fixed(scores), "the same bits"
    assert first.image.sensitivity != other.image.sensitivity != scores.image.sensitivity


def test_the_thresholds_are_there_without_any_test_score(write) -> None:
    record = write()
    before = thresholds(held_out(record), 0.9)
    for name in ("predictions.parquet", "histogram.parquet", IMAGE_HISTOGRAMS):
        (record.path / name).write_bytes(b"")
    assert thresholds(held_out(record), 0.9) == before


def test_too_few_normals_are_a_sentence_and_no_number(write) -> None:
    report = operating_points(write(normal=15), specificity=0.95, prevalence=0.1)
    assert report.image.threshold.why == "specificity 0.95 needs at least 20 held-out normal images; there are 15"
    assert report.image.confusion is None
    for found in (report.image.sensitivity, report.image.ppv, report.pixel.dice, report.pixel.specificity):
        assert (found.value, found.why) == (None, "there is no threshold")
    assert operating_points(write(normal=15), specificity=0.9).image.threshold.value is not None


def test_one_class_held_out_gives_thresholds_and_no_probabilities(write) -> None:
    report = operating_points(write(abnormal=0))
    assert report.image.threshold.value is not None
    assert report.calibration.platt is None
    assert "abnormal images of at least 10 patients; there are 0" in report.calibration.why
    assert report.calibration.brier.why == "there are no probabilities"


def test_equal_scores_are_classified_alike(write) -> None:
    record = write(held=np.full(60, 0.5, np.float32), scores=np.full(IMAGES, 0.5, np.float32))
    report = operating_points(record)
    assert report.image.specificity.value == 1
    assert report.image.sensitivity.value == 0
    assert "no patient contradicts" in report.image.sensitivity.why
    assert "all are equal" in report.calibration.why


def test_without_maps_there_is_an_image_threshold_alone(write) -> None:
    report = operating_points(write(maps=False))
    assert report.image.threshold.value is not None
    assert report.pixel.threshold.why == "the method draws no maps"


def test_a_record_of_an_older_adbench_says_how_to_get_one(write) -> None:
    record = write()
    content = json.loads((record.path / "record.json").read_text())
    del content["held_out"]
    (record.path / "record.json").write_text(json.dumps(content))
    report = operating_points(read(record.path))
    assert "run its cell again with force=true" in report.image.threshold.why
    assert "force=true" in report.calibration.why
    assert report.held_out.source == "none"


def test_what_limits_it_is_said(write) -> None:
    notes = operating_points(write(patients=False, rule="valid")).notes
    assert "selection=valid: the held-out images chose the epoch too" in notes[0]
    assert "the patient of 60 of 60 test images is unknown" in notes[1]
    assert "chosen on the test split" in operating_points(write(rule="oracle")).notes[0]


@pytest.mark.parametrize("changes", [{"specificity": 1.0}, {"prevalence": 0}, {"level": 95}])
def test_a_share_is_between_0_and_1(write, changes: dict[str, float]) -> None:
    (name,) = changes
    with pytest.raises(AdbenchError, match=f"{name}=.* is not possible"):
        operating_points(write(), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "test"}, {"images": 61}, {"patients": 70}, {"of": 3}, {"in_test": -1}, {"shift": 40}, {"why": 3},
        {"normal": 39, "abnormal": 20}, {"split": ["valid"]}, {"of": 1.5},
    ],
)  # fmt: skip
def test_a_record_json_that_adbench_did_not_write_is_refused(write, changes: dict[str, object]) -> None:
    with pytest.raises(RecordError, match="held_out is"):
        write(changes=changes)


def test_damaged_files_of_held_out_images_are_refused(write) -> None:
    record = write()
    table = pd.read_parquet(record.path / HELD_OUT_PIXELS)
    for odd in (table[::-1], table.assign(pixels=-1), table.assign(bin=np.arange(len(table)) + 2**40)):
        odd.to_parquet(record.path / HELD_OUT_PIXELS)
        with pytest.raises(RecordError, match=r"held_out_pixels\.parquet can't be read"):
            operating_points(record)
    pd.read_parquet(record.path / HELD_OUT)[:7].to_parquet(record.path / HELD_OUT)
    with pytest.raises(RecordError, match=r"held_out\.parquet can't be read \(it has 7 rows, not 60\)"):
        operating_points(record)
    (record.path / HELD_OUT).unlink()
    with pytest.raises(RecordError, match=r"incomplete \(held_out\.parquet\)"):
        read(record.path)


def test_the_lines_name_where_the_thresholds_are_from(write) -> None:
    lines = "\n".join(operating_lines(operating_points(write(), prevalence=0.1)))
    assert "60 of 90 images (40 normal, 20 abnormal) of 60 patients, from the valid split of brainmri" in lines
    assert "; 1 more are in the test split" in lines
    assert "PPV at 0.1" in lines
    assert "operating point at specificity 0.95, fixed without the test split" in lines
    oracle = "\n".join(operating_lines(operating_points(write(rule="oracle"))))
    assert "operating point at specificity 0.95, at an epoch that the test split chose" in oracle
    none = "\n".join(operating_lines(operating_points(write(normal=0, maps=False))))
    assert none.count("needs at least 20 held-out normal images; there are 0") == 2
    few = "\n".join(operating_lines(operating_points(write(normal=5, abnormal=0))))
    assert "image threshold           none: specificity 0.95 needs at least 20" in few
    assert "sensitivity" not in few


def test_the_image_point_alone_is_that_of_the_whole_report(write: Callable[..., Record]) -> None:
    record = write(rule="oracle")
    report = operating_points(record)
    held, point, notes = image_point(record, record.predictions())
    assert (held, point, notes) == (report.held_out, report.image, report.notes)
    assert "the epoch was chosen on the test split" in notes[0]


def test_a_computation_error_is_named_where_two_decimals_show_it() -> None:
    exact, coarse = Figure(0.8, 0.7, 0.9, "", 12), Figure(0.8, 0.7, 0.9, "", 12, 0.0074201)
    assert percent(exact) == "80.00 % (70.0 to 90.0, 12 patients)"
    assert percent(coarse) == "80.00 % (70.0 to 90.0, 12 patients; computation error at most 0.75)", (
        "a bound: rounded up"
    )
    assert percent(dataclasses.replace(coarse, half_width=4e-5)) == percent(exact)
