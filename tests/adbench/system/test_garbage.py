"""The collector of cycles, and memory that was freed."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from adbench.system.garbage import uncollected


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


def test_what_stays_is_left_out_of_collections() -> None:
    code = (
        "import gc; from adbench.system.garbage import settle; settle(); print(gc.get_freeze_count(), gc.isenabled())"
    )
    count, enabled = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert int(count) > 1000
    assert enabled == "True"


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library keeps no freed memory")
def test_freed_memory_below_something_that_is_used_is_given_back() -> None:
    code = """
import resource
from pathlib import Path
from adbench.system.garbage import give_back
def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
blocks = [b"x" * 100_000 for _ in range(2000)]
last = blocks.pop()
del blocks
before = megabytes()
give_back()
print(before - megabytes())
"""
    assert float(subprocess.check_output([sys.executable, "-c", code], text=True)) > 100
