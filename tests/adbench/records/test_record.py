"""What an error says of many records."""

from __future__ import annotations

from adbench.records.record import incomplete


def test_an_error_names_some_records_and_counts_the_others() -> None:
    error = str(incomplete("of the leaderboard", [f"runs/{i} is damaged." for i in range(10_000)]))
    assert error.startswith("left out of the leaderboard: runs/0 is damaged. runs/1 is damaged.")
    assert error.endswith("runs/49 is damaged. And 9950 more: `adbench verify RUNS` has a line for each record.")
