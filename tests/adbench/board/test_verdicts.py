"""What `adbench compare` prints of comparisons: the table, and what would decide an undecided pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adbench.board import compare as board
from adbench.board import verdicts
from adbench.board.compare import Comparison, advice
from adbench.board.leaderboard import collect
from adbench.board.samples import Samples, rows_of
from adbench.statistics import compare_pair, design
from tests.adbench.board.conftest import PATIENTS, compare


def rows(runs: Path):
    return rows_of(collect([runs]).records)


def test_the_table_fits_a_terminal_of_80_columns_and_what_decides_is_under_it(study, adbench, tmp_path: Path) -> None:
    study(tmp_path, "madclip", shift=1.2)
    study(tmp_path, "mvfa", shift=1.1)
    (one,) = compare(rows(tmp_path), "image_auroc", Samples())
    assert one.verdict == "undecided"
    title, *table, counts, _ = adbench("compare", str(tmp_path)).out.splitlines()
    assert title == f"brainmri, image_auroc, {rows(tmp_path)[0].head['protocol']}, shots=16"
    assert [name.strip() for name in table[1].split("┃")[1:-1]] == list(verdicts.HEADER[2:]), "the others are the title"
    assert max(map(len, table)) <= 80
    assert counts.startswith(f"madclip – mvfa ({PATIENTS} patients, {one.draws} draws): detects {one.detectable:.1f} p")
    assert advice(one, margin=1.0) in counts


def test_what_several_datasets_and_metrics_share_is_no_column(study, adbench, tmp_path: Path) -> None:
    for dataset in ("brainmri", "his"):
        study(tmp_path / dataset, "madclip", dataset=dataset, shift=1.2)
        study(tmp_path / dataset, "mvfa", dataset=dataset, shift=1.1)
    title, _, header, *_ = adbench("compare", str(tmp_path / "brainmri"), str(tmp_path / "his")).out.splitlines()
    assert title.startswith("image_auroc, ")
    assert header.split()[1] == "dataset"


@pytest.mark.parametrize(
    ("patients", "draws", "says"),
    [
        (272, None, "172 more patients would show 11.2 points, no number of draws would"),
        (110, 9, "10 more patients or 4 more draws would show 11.2 points"),
        (None, None, "no number of patients or draws would show 11.2 points"),
        (90, 5, "as many draws and patients show 11.2 points in 80 of 100 cases"),
    ],
)
def test_what_would_show_a_difference(monkeypatch: pytest.MonkeyPatch, patients, draws, says: str) -> None:
    monkeypatch.setattr(board, "patients_needed", lambda *_, **__: patients)
    monkeypatch.setattr(board, "draws_needed", lambda *_, **__: draws)
    figures = np.array([[50.0, 53, 51, 40, 60], [61.2, 64, 62, 52, 71]])
    difference = replace(compare_pair(figures, np.eye(10)), estimate=-11.2, p=0.5)
    plan = design(figures, np.eye(10), 100)
    one = Comparison("d", "m", "a", "b", difference, verdict="undecided", patients=100, draws=5, plan=plan)
    assert advice(one, margin=1.0) == says
