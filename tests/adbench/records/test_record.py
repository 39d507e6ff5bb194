"""What an error says of many records."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.errors import RecordError
from adbench.records.record import incomplete, read


def test_an_error_names_some_records_and_counts_the_others() -> None:
    error = str(incomplete("of the leaderboard", [f"runs/{i} is damaged." for i in range(10_000)]))
    assert error.startswith("left out of the leaderboard: runs/0 is damaged. runs/1 is damaged.")
    assert error.endswith("runs/49 is damaged. And 9950 more: `adbench verify RUNS` has a line for each record.")


def test_a_folder_of_records_is_no_record_and_says_how_many_it_has(tmp_path: Path) -> None:
    for key in ("a", "b"):
        (tmp_path / "runs" / key).mkdir(parents=True)
        (tmp_path / "runs" / key / "record.json").write_text("{}")
    with pytest.raises(RecordError) as caught:
        read(tmp_path / "runs")
    runs = tmp_path / "runs"
    says = f"{runs} is a folder of 2 records. Name one, such as {runs / 'a'}; adbench leaderboard {runs} shows all."
    assert str(caught.value) == says
