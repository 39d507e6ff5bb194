"""Lightning, imported without what torchmetrics takes along, which costs seconds."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from adbench.system.absent import lean_torchmetrics

with lean_torchmetrics():
    import pytorch_lightning as pl

__all__ = ["interrupts", "pl"]


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Let Ctrl-C out of a fit of Lightning's as a KeyboardInterrupt: it makes an exit of it, and ignores the signal."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
        raise stop.__context__ from None
