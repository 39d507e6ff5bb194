"""What reading many records does to the process that reads them, and what an error says of many."""

from __future__ import annotations

import gc

import pytest

from adbench.records.record import incomplete, uncollected


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_of_cycles_waits_and_is_left_as_it_was(before: bool) -> None:
    found = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with pytest.raises(KeyError), uncollected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is before
    finally:
        (gc.enable if found else gc.disable)()


def test_an_error_names_some_records_and_counts_the_others() -> None:
    error = str(incomplete("of the leaderboard", [f"runs/{i} is damaged." for i in range(10_000)]))
    assert error.startswith("left out of the leaderboard: runs/0 is damaged. runs/1 is damaged.")
    assert error.endswith("runs/49 is damaged. And 9950 more: `adbench verify RUNS` has a line for each record.")
