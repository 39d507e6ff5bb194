"""Memory that is not needed any more, and Python's collector of cycles, which is kept from scanning what stays."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the collector: in vain it would scan again and again what a block imports, or reads by the thousand."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def settle() -> None:
    """Leave what a command has imported, half a million objects with torch, out of all later collections.

    Once in a process, as what is made later may become garbage.
    """
    if not gc.get_freeze_count():
        gc.freeze()


def give_back() -> None:
    """Give freed memory back to the system: glibc keeps what lies below something that is still used."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
