"""Several datasets: a row has one name on all, and what a comparison lacks there is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.board.leaderboard import collect
from adbench.board.samples import Row, Samples, rows_of
from adbench.records.record import read_all
from tests.adbench.board.conftest import compare


def rows(runs: Path) -> list[Row]:
    return rows_of(collect([runs]).records)


@pytest.fixture
def half_finished(study, tmp_path: Path) -> Path:
    """Records of two methods with 4 shots on two datasets, and with 2 shots on one of them alone."""
    for dataset in ("brainmri", "liverct"):
        for shots in (4, 2) if dataset == "brainmri" else (4,):
            for method, shift in (("madclip", 2.0), ("mvfa", 1.0)):
                study(tmp_path / str(shots), method, dataset=dataset, shots=shots, shift=shift)
    for folder in (tmp_path / "2").iterdir():
        file = folder / "record.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"key": f"{folder.name}-2"}))
    return tmp_path


def test_a_row_has_one_name_on_all_datasets(half_finished: Path, adbench) -> None:
    found = rows_of(collect([half_finished / "2", half_finished / "4"]).records)
    four = {(row.dataset, row.name) for row in found if row.head["shots"] == "4"}
    assert four == {(data, f"{name} shots=4") for data in ("brainmri", "liverct") for name in ("madclip", "mvfa")}
    folders = [str(half_finished / shots) for shots in ("2", "4")]
    for words in ((), ("--against", "madclip shots=4")):
        answer = adbench("compare", *folders, "--shots", "4", "--json", half_finished / "c.json", *words)
        assert answer.code == 0, answer.err
        lines = json.loads((half_finished / "c.json").read_text())
        assert [line["dataset"] for line in lines] == ["brainmri", "liverct", "mean of all 2"]
        assert "no record" not in answer.out


def test_rows_without_a_record_on_a_dataset_are_named(half_finished: Path, study, adbench) -> None:
    folders = [str(half_finished / shots) for shots in ("2", "4")]
    study(half_finished / "2", "clip", draws=["none"], shots=0)
    study(half_finished / "2", "clip", draws=["none"], shots=0, dataset="liverct")
    out = " ".join(adbench("compare", *folders, "--markdown").out.split())
    assert "Note: madclip shots=2; mvfa shots=2 have no record on liverct." in out
    study(half_finished / "4", "winclip", draws=["none"], shots=0)
    out = " ".join(adbench("compare", folders[1], "--against", "winclip").out.split())
    assert "note: winclip has no record on liverct." in out
    assert "mean of all" not in out


def test_what_a_method_trains_on_follows_from_the_dataset_where_that_alone_is_left_out(study, tmp_path: Path) -> None:
    for dataset, other in (("brainmri", "liverct"), ("liverct", "brainmri")):
        for method in ("madclip", "mvfa"):
            study(tmp_path / "one", method, dataset=dataset, protocol="leave_one_out", train_on=other)
    assert {row.name for row in rows(tmp_path / "one")} == {"madclip", "mvfa"}
    assert compare(rows(tmp_path / "one"), "image_auroc", Samples())[-1].dataset == "mean of all 2"
    study(tmp_path / "two", "madclip", protocol="leave_one_out", train_on="resc")
    found = rows_of(collect([tmp_path / "one"]).records + read_all(tmp_path / "two"))
    assert {row.name for row in found if row.head["method"] == "madclip"} == {
        "madclip train_on=brainmri", "madclip train_on=liverct", "madclip train_on=resc"
    }  # fmt: skip


def test_other_settings_on_another_dataset_are_another_row(study, tmp_path: Path) -> None:
    for dataset, shots in (("brainmri", 4), ("liverct", 2)):
        study(tmp_path, "madclip", dataset=dataset, shots=shots)
    assert [row.name for row in rows(tmp_path)] == ["madclip shots=4", "madclip shots=2"]


def test_a_mean_that_an_interval_lacks_for_is_named(study, adbench, tmp_path: Path) -> None:
    for method in ("madclip", "mvfa", "clip_finetune"):
        study(tmp_path, method)
        study(tmp_path, method, dataset="liverct", draws=(3, 4) if method == "mvfa" else (0, 1, 2))
        study(tmp_path, method, dataset="resc")
    out = " ".join(adbench("compare", str(tmp_path), "--markdown").out.split())
    assert out.count("| mean of all 3 |") == 1
    assert (
        "Note: clip_finetune and mvfa; madclip and mvfa: no mean of all 3 by image_auroc, as there is no interval on "
        "liverct." in out
    )
