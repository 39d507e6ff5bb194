"""Intervals of a leaderboard: against the analysis of the same arrays, and why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adbench.board.intervals import bounds, judged, measure
from adbench.board.leaderboard import collect, table
from adbench.metrics import roc_auc
from adbench.records.files import IMAGE_HISTOGRAMS
from adbench.statistics import auroc_without_each, covariance, on_logit, single
from tests.adbench.board.conftest import EACH, PATIENTS


def board(runs: Path, metrics: tuple[str, ...] = ("image_auroc",)) -> pd.DataFrame:
    records = collect([runs]).records
    long = table(records)
    return judged(long, measure(records, long, metrics))


def line(whole: pd.DataFrame, **wanted: str) -> pd.Series[Any]:
    for name, value in ({"metric": "image_auroc"} | wanted).items():
        whole = whole[whole[name] == value]
    (found,) = (row for _, row in whole.iterrows())
    return found


def edit(folder: Path, change: dict[str, Any], keep: Any = None) -> None:
    """Change a record's content, and keep some rows of its predictions."""
    content = json.loads((folder / "record.json").read_text())
    for name, value in change.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    if keep is not None:
        predictions = pd.read_parquet(folder / "predictions.parquet")
        predictions = predictions[keep(predictions)]
        predictions.to_parquet(folder / "predictions.parquet", index=False)
        content["test_images"] = len(predictions)
        content["metrics"]["image_auroc"] = roc_auc(predictions["score"].to_numpy(), predictions["label"].to_numpy())
    (folder / "record.json").write_text(json.dumps(content))


def test_a_row_has_the_interval_of_the_analysis_of_its_scores(study, tmp_path: Path) -> None:
    drawn, labels, owner = study(tmp_path, "madclip")
    flat = [scores.astype(float) for scores in drawn.values()]
    figures = np.array([roc_auc(scores, labels) for scores in flat])
    one = single(figures, covariance(np.stack([auroc_without_each(scores, labels, owner) for scores in flat], axis=1)))
    found = line(board(tmp_path))
    assert (found["ci_low"] / 100, found["ci_high"] / 100) == pytest.approx(on_logit(one))
    assert (found["se"], found["df"]) == pytest.approx((100 * one.se, one.df))
    assert (found["patients"], found["images"], found["ci_note"]) == (PATIENTS, PATIENTS * EACH, "")


def test_one_draw_is_for_this_draw_alone_and_zero_shot_has_none(study, tmp_path: Path) -> None:
    drawn, labels, owner = study(tmp_path, "madclip", draws=(0,))
    study(tmp_path, "clip", draws=["none"], shots=0)
    whole = board(tmp_path)
    few, zero = line(whole, method="madclip"), line(whole, method="clip")
    over = covariance(auroc_without_each(drawn[0].astype(float), labels, owner)[:, None])
    assert few["se"] == pytest.approx(100 * over[0, 0] ** 0.5)
    assert np.isinf(few["df"])
    assert few["ci_note"] == "for new patients and this draw alone"
    assert zero["ci_note"] == ""


def test_means_over_datasets_add_variances_and_patients(study, tmp_path: Path) -> None:
    for dataset in ("brainmri", "liverct"):
        study(tmp_path, "madclip", dataset=dataset)
    study(tmp_path, "mvfa", dataset="brainmri")
    study(tmp_path, "mvfa", dataset="liverct", shift=50.0)  # exactly 100
    whole = board(tmp_path)
    first, second, mean = (line(whole, method="madclip", dataset=name) for name in ("brainmri", "liverct", "mean of 2"))
    assert mean["se"] == pytest.approx(np.hypot(first["se"], second["se"]) / 2)
    assert mean["patients"] == 2 * PATIENTS
    satterthwaite = (first["se"] ** 2 + second["se"] ** 2) ** 2 / (
        first["se"] ** 4 / first["df"] + second["se"] ** 4 / second["df"]
    )
    assert mean["df"] == pytest.approx(satterthwaite)
    without = line(whole, method="mvfa", dataset="mean of 2")
    assert np.isnan(without["ci_low"])
    assert without["ci_note"] == "no interval: there is none on liverct"


def test_why_a_row_has_no_interval(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", patients=9, dataset="brainmri")
    study(tmp_path, "madclip", shift=50.0, dataset="liverct")
    study(tmp_path, "madclip", dataset="resc")
    for folder in tmp_path.glob("*-resc"):
        predictions = pd.read_parquet(folder / "predictions.parquet").assign(score=np.float32(1))
        predictions.to_parquet(folder / "predictions.parquet", index=False)
        edit(folder, {}, lambda rows: rows["score"] > 0)
    whole = board(tmp_path)
    assert whole["ci_low"].isna().all()
    assert whole["best"].sum() == 0
    notes = {name: line(whole, dataset=name)["ci_note"] for name in ("brainmri", "liverct", "resc")}
    assert notes == {
        "brainmri": "no interval: 6 patients have an abnormal image and 9 a normal one; 10 of each are needed.",
        "liverct": "no interval: a figure of exactly 100 has none, as no patient contradicts it.",
        "resc": "no interval: leaving out patients does not change the figure.",
    }


def test_records_that_cannot_be_combined_have_no_interval(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", draws=(0, 1))
    file = tmp_path / "madclip-1-brainmri" / "predictions.parquet"
    predictions = pd.read_parquet(file)
    predictions.loc[4, "image"] = "test/another"
    predictions.to_parquet(file, index=False)
    assert "are not scored on the same test images" in line(board(tmp_path))["ci_note"]


def test_draws_that_test_other_numbers_of_images_are_not_averaged(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", draws=(0, 1))
    edit(tmp_path / "madclip-1-brainmri", {}, lambda rows: rows["patient"] != "p3")
    whole = board(tmp_path)
    rows = whole[(whole["metric"] == "image_auroc") & whole["mean"].notna()]
    assert sorted(rows["n"]) == [1, 1]
    assert all(name.startswith("brainmri@") for name in rows["dataset"])


def test_unknown_patients_are_told(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", draws=(0,))
    file = tmp_path / "madclip-0-brainmri" / "predictions.parquet"
    predictions = pd.read_parquet(file)
    predictions.loc[:4, "patient"] = None
    predictions.to_parquet(file, index=False)
    assert (
        "5 of 90 images have no known patient; each counts as a patient of its own" in line(board(tmp_path))["ci_note"]
    )


def folds(study, runs: Path, method: str, count: int = 2) -> list[Path]:
    """Records of a cross-validation: fold i tests the patients whose number leaves i."""
    study(runs, method, draws=tuple(range(count)))
    found = sorted(runs.glob(f"{method}-*"))
    for fold, folder in enumerate(found):
        split = {"seed": 0, "fold": fold, "folds": count, "shares": None, "images": "i"}
        edit(folder, {"dataset": {"split": split}, "support": {"source": "draw:0"}},
             lambda rows, fold=fold: rows["patient"].str[1:].astype(int) % count == fold)  # fmt: skip
    return found


def test_folds_are_independent_and_their_mean_is_the_figure(study, tmp_path: Path) -> None:
    from adbench.board.samples import Samples, rows_of
    from tests.adbench.board.conftest import compare

    paths = [*folds(study, tmp_path, "madclip"), *folds(study, tmp_path, "mvfa")]
    variances = []
    for folder in paths[:2]:
        rows = pd.read_parquet(folder / "predictions.parquet")
        scores, labels = rows["score"].to_numpy(np.float64), rows["label"].to_numpy() == 1
        without = auroc_without_each(scores, labels, pd.factorize(rows["patient"])[0])
        variances.append(1e4 * covariance(without[:, None])[0, 0])
    found = line(board(tmp_path), method="madclip")
    assert found["se"] == pytest.approx(sum(variances) ** 0.5 / 2)
    assert (found["patients"], found["images"]) == (PATIENTS, PATIENTS * EACH)
    assert "the models of these 2 folds" in found["ci_note"]
    (one,) = compare(rows_of(collect([tmp_path]).records), "image_auroc", Samples())
    means = [line(board(tmp_path), method=name)["mean"] for name in ("madclip", "mvfa")]
    assert one.difference.estimate == pytest.approx(means[0] - means[1])
    predictions = pd.read_parquet(paths[0] / "predictions.parquet")
    predictions["patient"] = predictions["patient"].replace("p0", "p1")
    predictions.to_parquet(paths[0] / "predictions.parquet", index=False)
    assert "patients are in several folds" in line(board(tmp_path), method="madclip")["ci_note"]


def test_an_old_record_has_no_interval_of_its_pixels_and_a_damaged_one_is_a_problem(study, tmp_path: Path) -> None:
    study(tmp_path, "madclip", pixel=0.9)
    for folder in tmp_path.iterdir():
        content = json.loads((folder / "record.json").read_text())
        content["histogram"] = {"shift": 0, "n_regions": 40}
        (folder / "record.json").write_text(json.dumps(content))
        (folder / "histogram.parquet").touch()
        assert not (folder / IMAGE_HISTOGRAMS).exists()
    records = collect([tmp_path]).records
    measured = measure(records, table(records), ("image_auroc", "pixel_auroc"))
    assert measured.problems == ()
    notes = measured.rows.set_index("metric")["ci_note"]
    assert notes["image_auroc"] == ""
    assert "holds no histograms of single images" in notes["pixel_auroc"]
    (tmp_path / "madclip-0-brainmri" / "predictions.parquet").write_bytes(b"")
    damaged = measure(records, table(records), ("image_auroc",))
    assert len(damaged.problems) == 1
    assert "predictions.parquet can't be read" in damaged.problems[0]
    assert damaged.rows["se"].isna().all()


def test_bounds_stay_within_0_and_100() -> None:
    low, high = bounds(99.9, 0.5, 3.0)
    assert 0 < low < 99.9 < high < 100
    assert np.isnan(bounds(100.0, 0.0, 3.0)).all()
    assert np.isnan(bounds(50.0, float("nan"), float("nan"))).all()


def test_the_command_chooses_metrics_and_says_what_it_leaves_out(study, adbench, tmp_path: Path) -> None:
    runs, csv = tmp_path / "runs", tmp_path / "b.csv"
    study(runs, "madclip", shift=3.0)
    study(runs, "mvfa", shift=0.2)
    answer = adbench("leaderboard", runs, "--metric", "image_auroc", "--csv", csv, "--markdown")
    assert answer.code == 0, answer.err
    assert "| madclip | 1 (1-1) | **" in answer.out
    assert "95 % interval for new patients and new draws" in answer.out
    rows = pd.read_csv(csv)
    assert set(rows["metric"]) == {"image_auroc"}
    assert (rows["ci_low"] < rows["mean"]).all()
    assert (rows["mean"] < rows["ci_high"]).all()
    assert rows["patients"].tolist() == [PATIENTS] * 2
    assert rows["best"].tolist() == [True, False]
    plain = adbench("leaderboard", runs, "--no-intervals", "--markdown")
    assert "rank" not in plain.out
    assert "**" not in plain.out
    for words, sentence in (
        ("image_auroq", "--metric image_auroq is unknown: did you mean 'image_auroc'"),
        ("peak_gb", "--metric peak_gb is a cost: --costs adds all of them."),
        ("image_accuracy", "--metric image_accuracy: no record has it; there are image_auroc."),
    ):
        refused = adbench("leaderboard", runs, "--metric", words)
        assert refused.code == 2
        assert sentence in refused.err
    (runs / "mvfa-0-brainmri" / "predictions.parquet").write_bytes(b"x")
    told = adbench("leaderboard", runs)
    assert told.code == 0
    assert "note: no interval: " in told.err
    asked = adbench("leaderboard", runs, "--intervals")
    assert asked.code == 4
    assert "mvfa-0-brainmri" in asked.err
