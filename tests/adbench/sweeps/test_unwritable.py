"""A sweep into a folder that can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("words", [[], ["workers=2"]])
def test_a_sweep_says_at_once_that_nothing_can_be_written(adbench, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "logs").write_text("")
    for runs in ("file", "runs"):
        answer = adbench(
            "run", "method=patchcore", "shots=1", "draw=0,1", "gallery=0", f"runs={tmp_path / runs}", *words
        )
        assert answer.code == 2, answer.out
        assert "cannot write" in answer.err
        assert "Traceback" not in answer.err + answer.out
    assert (tmp_path / "file").read_text() == ""


def test_the_last_line_can_be_typed(adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "my runs"
    words = ["method=patchcore", "shots=1", "gallery=0", f"data_root={tiny}", f"runs={runs}"]
    for more in (["draw=0"], ["draw=0,1"]):
        answer = adbench("run", *words, *more)
        assert answer.code == 0, answer.err
        assert f"adbench leaderboard '{runs}' shows" in " ".join(answer.out.split())
