"""What reading many records does to the process that reads them."""

from __future__ import annotations

import gc

import pytest

from adbench.records.record import uncollected


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
