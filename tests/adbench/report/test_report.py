"""The report: what its page says of a record, what it says of older ones, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adbench.board.operating import operating_points
from adbench.errors import AdbenchError
from adbench.metrics import roc_auc
from adbench.records.record import read_all
from adbench.report.build import write
from adbench.report.checklists import CLAIM, TRIPOD
from adbench.report.page import SECTIONS, Options

HOSTILE = "<script>window.hit=1</script>"


@pytest.fixture(scope="session")
def one(drawn: Path, tmp_path_factory: pytest.TempPathFactory, page_of):
    """The page of one record, the record, and its operating point."""
    record = read_all(drawn)[0]
    page = page_of(write([record], tmp_path_factory.mktemp("report") / "one", Options(prevalence=0.1)))
    return page, record, operating_points(record, prevalence=0.1)


def test_the_page_needs_no_other_file_and_links_lead_to_its_sections(one) -> None:
    page, *_ = one
    outside = [source for source in page.sources if not source.startswith(("data:", "#"))]
    assert outside == []
    assert {source[1:] for source in page.sources if source.startswith("#")} <= set(page.ids)
    assert set(SECTIONS) <= set(page.ids)
    assert page.text.count("For research. Not a medical device.") == 2, "at its head and its foot"
    assert sum(source.startswith("data:image/png") for source in page.sources) == 4


def test_figures_are_the_records_and_have_intervals(one) -> None:
    page, record, point = one
    table, patients = record.predictions(), record.patients()
    figures = page.parts["figures"]
    assert f"image AUROC {100 * roc_auc(table['score'], table['label']):.1f} %" in figures
    assert f"patient AUROC {100 * roc_auc(patients['score'], patients['label']):.1f} %" in figures
    assert f"AUPIMO, false positive rates 0.0001 to 0.01 {100 * record.metrics['pixel_aupimo_loose']:.1f} %" in figures
    sensitivity = point.image.sensitivity
    shown = (
        f"{100 * sensitivity.value:.1f} % {100 * sensitivity.low:.1f} to {100 * sensitivity.high:.1f} (95 % interval"
    )
    assert shown in page.parts[""], "among the first figures of the page"


def test_confusion_matrices_of_images_and_patients_are_counted_at_one_threshold(one) -> None:
    page, record, point = one
    threshold, counts = point.image.threshold.value, point.image.confusion
    operating = page.parts["operating"]
    assert f"called abnormal if its score is at least {threshold:.6g}." in operating
    assert f"abnormal {counts.true_positive} {counts.false_negative} normal {counts.false_positive}" in operating
    patients = record.patients()
    called, ill = patients["score"] >= threshold, patients["label"] == 1
    matrix = [int((a & b).sum()) for a, b in ((called, ill), (~called, ill), (called, ~ill), (~called, ~ill))]
    assert "abnormal {} {} normal {} {}".format(*matrix) in operating
    assert "PPV at a prevalence of 10 %" in operating
    assert "lower" in operating, "the specificity of patients"


def test_lesions_found_and_false_positives_are_those_of_the_record(one) -> None:
    page, record, _ = one
    lesions, counts = record.lesions(), record.false_positives()
    text = page.parts["lesions"]
    assert f"{len(lesions)} lesions" in text
    some = counts[counts["specificity"] == 0.95]
    found = (lesions["score"] >= some["threshold"].iloc[0]).mean()
    assert f"95 % {some['threshold'].iloc[0]:.4g} {100 * found:.1f} %" in text
    assert f"{some['regions'].mean():.2f}" in text
    assert "smallest third" in page.text
    assert "Spearman" in page.text


def test_a_normal_image_is_compared_with_the_others(one) -> None:
    page, *_ = one
    assert page.text.count("above 100 % of the other normal images") == 1, "the highest of the normal images"
    assert page.text.count("% of the other normal images") == page.text.count("% of the normal images") == 2


def test_every_item_of_both_checklists_is_there_and_answered_or_left_to_the_authors(one) -> None:
    page, *_ = one
    text = page.parts["checklists"]
    assert text.count("for the authors") >= 10
    for item in (*TRIPOD, *CLAIM):
        assert item.section in {"", *SECTIONS}
        assert item.asks in text
    numbers = [part for item in CLAIM for part in item.number.split("-")]
    assert numbers[0] == "1"
    assert numbers[-1] == "42"
    assert "fairness no not in this record" in text, "phantoms name no subgroup"


def test_several_draws_have_a_summary_with_new_draws_in_its_interval(drawn: Path, tmp_path: Path, page_of) -> None:
    index = write(read_all(drawn), tmp_path / "all")
    summary = page_of(index)
    aurocs = [record.metrics["image_auroc"] for record in read_all(drawn)]
    assert f"image AUROC {100 * np.mean(aurocs):.1f} %" in summary.text
    assert "new patients and new draws" in summary.text
    pages = sorted(path.name for path in index.parent.glob("*.html"))
    assert sorted(set(summary.sources) & set(pages)) == sorted(set(pages) - {"index.html"})
    assert len(pages) == 3


def test_the_same_records_give_the_same_bytes_and_only_a_report_is_replaced(record, tmp_path: Path) -> None:
    records = [record()]
    folder = tmp_path / "report"
    first = write(records, folder).read_bytes()
    assert write(records, folder).read_bytes() == first
    (folder / "mine.txt").write_text("x")
    with pytest.raises(AdbenchError, match="mine.txt, which is not part"):
        write(records, folder)
    site = tmp_path / "site"
    site.mkdir()
    (site / "adbench-site.txt").write_text("`adbench leaderboard --html` wrote this folder.\n")
    with pytest.raises(AdbenchError, match="written by another command"):
        write(records, site)


def test_an_older_record_says_why_and_what_to_run(record, tmp_path: Path, page_of) -> None:
    old = record(
        {"held_out": None, "lesions": None, "image_histograms": None},
        lambda table: table.drop(columns=["lesion_area", "aupimo", "aupimo_loose"]),
    )
    page = page_of(write([old], tmp_path / "report"))
    assert "No image threshold" in page.text
    assert "operating=valid" in page.text
    assert "counted no lesions. Run its cell again with force=true." in page.text
    assert "No thirds of lesion size" in page.text
    assert "holds no histograms of single images" in page.text, "so pixel metrics have no interval"


def test_subgroups_of_few_patients_are_marked_and_unknown_patients_are_said(record, tmp_path: Path, page_of) -> None:
    def named(table: pd.DataFrame) -> pd.DataFrame:
        few = (table["label"] == 1) & (table.groupby("label").cumcount() < 3)
        return table.assign(patient=None, subgroup=np.where(few, "meningioma", "other"))

    page = page_of(write([record(predictions=named)], tmp_path / "report"))
    groups = page.parts["groups"]
    assert "meningioma ⚠ under 10 patients 3 0 3" in groups
    assert "Groups of under 10 patients say nothing of other patients" in groups
    assert "other ⚠" not in groups
    assert "Patients are unknown" in page.text
    assert "No figures by patient" in page.text


def test_images_of_no_subgroup_are_in_none(record, tmp_path: Path, page_of) -> None:
    """As in a table of one's own images that names the diagnosis of abnormal ones alone."""

    def named(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(subgroup=pd.array(np.where(table["label"] == 1, "cyst", None), dtype="string"))

    made = record(predictions=named)
    ill = int((made.predictions()["label"] == 1).sum())
    groups = page_of(write([made], tmp_path / "report")).parts["groups"]
    assert f"cyst {ill} " in groups


def test_names_of_strangers_are_shown_and_not_run(record, tmp_path: Path, page_of) -> None:
    odd = record({"notes": [HOSTILE]}, lambda table: table.assign(image=table["image"] + HOSTILE))
    index = write([odd], tmp_path / "report")
    assert HOSTILE in page_of(index).text
    assert HOSTILE not in index.read_text(encoding="utf-8")


def test_the_command_refuses_records_that_do_not_belong_together(adbench, drawn: Path, record, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert adbench("report", drawn, "--html", out, "--method", "patchcore").code == 0
    assert adbench("report", drawn, "--html", out, "--method", "patchcore", "--shots", "1").code == 0
    leaky = record({"overlap": 3}, seed=7)
    answer = adbench("report", drawn, leaky.path, "--html", out)
    assert answer.code == 2
    assert "one method on one dataset; these records cover 2 (patchcore" in answer.err
    for words, said in (
        (["--specificity", "2"], "specificity"), (["--prevalence", "0"], "prevalence"), (["--level", "1"], "level"),
        (["--method", "nothing"], "matches no record"), (["--shots", "3"], "--shots 3 matches no record; there are 1"),
    ):  # fmt: skip
        answer = adbench("report", drawn, "--html", out, *words)
        assert answer.code == 2
        assert said in answer.err
    answer = adbench("report", tmp_path / "nowhere", "--html", out)
    assert answer.code == 4
    assert "nowhere does not exist. Name a folder of records" in answer.err


def test_folds_test_other_images_and_have_a_report_each(adbench, drawn: Path, record, tmp_path: Path) -> None:
    about = json.loads((next(drawn.iterdir()) / "record.json").read_text())["dataset"]
    splits = [
        about | {"split": {"images": "0123abc", "shares": [0.5], "seed": 0, "folds": 2, "fold": fold}}
        for fold in (0, 1)
    ]
    marks = [{"fingerprint": f"{fold:064}"} for fold in (0, 1)]
    folds = [
        record({"dataset": split | mark}, data=mark["fingerprint"]) for split, mark in zip(splits, marks, strict=True)
    ]
    answer = adbench("report", *(one.path for one in folds), "--html", tmp_path / "report")
    assert answer.code == 2
    assert "of the folds 0, 1, which test other images each. Name the records of one fold" in answer.err
