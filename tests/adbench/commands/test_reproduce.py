"""The command `adbench reproduce`: the list, the plan, a certificate of a small cell, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import typer.main

from adbench.commands.cli import app
from adbench.commands.complete import candidates
from adbench.records.record import read_all


def test_the_list_has_a_line_for_each_figure(adbench, tmp_path: Path) -> None:
    answer = adbench("reproduce", "--list")
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 649
    assert "649 figures: 473 with a command (295 different ones), 176 with a reason" in answer.err
    table = adbench("reproduce", "mvfa", "table=2", "data_root=/data 1", "--list", "--csv", tmp_path / "list.csv")
    rows = list(csv.DictReader((tmp_path / "list.csv").open()))
    assert len(rows) == len(table.out.splitlines()) == 27
    assert all(line.rstrip().endswith("'data_root=/data 1'") for line in table.out.splitlines())
    assert "protocol=leave_one_out " in rows[-1]["clean_command"]
    assert "protocol=leave_one_out_published" in rows[-1]["command"]


def test_the_plan_runs_nothing(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ["table=1", "dataset=brainmri", "method=madclip", f"data_root={tiny}", "backbone=phantom-clip"]
    answer = adbench("reproduce", "madclip", *words, f"runs={tmp_path / 'runs'}", "seed=0,1", "draw=0", "--plan")
    assert "3 cells: 0 recorded already, 0 to run, 3 that can't run" in answer.out  # 6 images of a class, and 16 shots
    assert "it isn't there" in answer.out
    assert answer.code > 0, "no cell can run"
    assert not (tmp_path / "runs").exists()


def test_the_plan_has_no_rung_that_is_not_run(adbench, tmp_path: Path) -> None:
    words = ["table=1", "dataset=resc", "method=mvfa", "metric=image_auroc", "seed=0", "draw=0", f"runs={tmp_path}"]
    answer = adbench("reproduce", "mvfa", *words, "--why", "--plan")
    assert answer.code == 0, answer.err
    # As published, clean, and clean with their list; with their fusion too it is the published one's last epoch.
    assert "3 cells" in answer.out
    assert "2 cells" in adbench("reproduce", "mvfa", *words, "--plan").out


def test_a_certificate_of_a_method_without_chance(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ["method=clip", f"data_root={tiny}", "backbone=phantom-clip", "gallery=0", f"runs={tmp_path / 'runs'}"]
    partly = adbench("reproduce", "crossmodal", "dataset=brainmri,liverct", *words)
    assert partly.code == 1
    assert "4 figures: 4 cannot tell" in partly.out
    assert "1 of 2 cells have no record, the first of them clip liverct" in partly.err
    files = [f"--{name}={tmp_path / name}" for name in ("html", "latex", "csv")]
    answer = adbench("reproduce", "crossmodal", "dataset=brainmri", *words, *files)
    assert answer.code == 0, answer.err
    assert "to run" not in answer.out  # the record is reused
    (record,) = read_all(tmp_path / "runs")
    assert record.content["facts"]["params"]["templates"] == ["{}"]
    assert "57.54" in answer.out
    assert "2 figures: 2 cannot tell" in answer.out
    rows = list(csv.DictReader((tmp_path / "csv").open()))
    assert [row["metric"] for row in rows] == ["image_accuracy", "image_auroc"]
    auroc = 100 * (record.metrics["image_auroc"] or 0)
    assert float(rows[1]["ours"]) == pytest.approx(auroc, abs=1e-4)
    assert float(rows[1]["clean"]) == pytest.approx(auroc, abs=1e-4)
    assert "not the published set" in rows[1]["why"]
    assert "backbone=phantom-clip" in rows[1]["why"]
    page = (tmp_path / "html").read_text()
    assert "Certificate: Cross-modal prompts" in page
    assert "Run on phantoms" not in page
    assert r"\bottomrule" in (tmp_path / "latex").read_text()


def test_where_no_cell_can_run_its_error_is_the_answer(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ["table=1", "dataset=brainmri", "method=madclip", "metric=image_auroc", "seed=0", "draw=0"]
    words += ["backbone=phantom-clip", f"runs={tmp_path / 'runs'}"]
    answer = adbench("reproduce", "madclip", *words, f"data_root={tiny}")
    assert answer.code == 2
    assert "support=madclip, 16 shots of brainmri, names 00809_99.png, which is no normal image" in answer.err
    nowhere = adbench("reproduce", "madclip", *words, f"data_root={tmp_path / 'none'}")
    assert nowhere.code == 3
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "PAPER is missing: crossmodal, madclip, mediclip, mvfa, tgumiad"),
        (["table=1"], "PAPER is missing"),
        (["madclip", "method=cflow"], "none of the 9 figures can be repeated. Which implementation"),
        (["madclip", "--list", "--why"], "--list runs nothing: leave out --why"),
        (["madclip", "protocol=few_shot"], "protocol= is fixed by the paper's cell"),
    ],
)
def test_what_can_not_be_repeated_is_refused(adbench, words: list[str], message: str) -> None:
    answer = adbench("reproduce", *words)
    assert answer.code == 2
    assert message in answer.err


def test_papers_keys_and_lists_are_completed() -> None:
    root = typer.main.get_command(app)
    assert candidates(root, "adbench reproduce m") == ["madclip", "mediclip", "mvfa"]
    assert "table=" in candidates(root, "adbench reproduce mvfa ta")
    assert candidates(root, "adbench run support=m") == ["support=madclip", "support=mvfa"]
    assert candidates(root, "adbench run support=./m") == []


@pytest.mark.slow
def test_table_1_of_madclip_on_phantoms(adbench, tmp_path: Path) -> None:
    words = ["table=1", "dataset=oct17", "method=april_gan,madclip", "gallery=0", f"runs={tmp_path / 'runs'}"]
    answer = adbench(
        "reproduce", "madclip", *words, "--why", f"--html={tmp_path / 'a.html'}", f"--csv={tmp_path / 'a'}"
    )
    assert answer.code == 0, answer.err
    rows = list(csv.DictReader((tmp_path / "a").open()))
    assert len(rows) == 2
    assert {row["verdict"] for row in rows} == {"cannot tell"}
    assert all("phantoms" in row["why"] for row in rows)
    own = rows[1]
    assert own["method"] == "madclip"
    assert float(own["leak"]) >= 0  # of the only metric by which the epoch is chosen
    assert "support=madclip " in own["ladder"]
    assert "selection=oracle +" in own["ladder"]
    assert float(own["clean_low"]) < float(own["clean"]) < float(own["clean_high"])
    assert "Run on phantoms." in (tmp_path / "a.html").read_text()
