"""Errors of somebody else's code: whatever a plug-in raises becomes one sentence that names it and its function."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from adbench.errors import AdbenchError, PluginError
from adbench.system.text import printable, said

LIBRARIES = {"torch", "pytorch_lightning", "lightning_fabric", "lightning_utilities", "omegaconf", "numpy"}
OURS = ("adbench.methods", "adbench.datasets")  # what a plug-in could be as well

Finder = Callable[[BaseException], str | None]


@contextlib.contextmanager
def blaming(
    what: str, function: str | None, kind: type[PluginError] = PluginError, find: Finder | None = None
) -> Iterator[None]:
    """Turn what a plug-in raises in the block, `sys.exit` included, into one sentence with its name and function.

    what: the plug-in, as in "the method nearest". function: what the block calls. `find` looks for a more precise
    function, and where `function` is None, for any: an error that has none is the harness's own, and passes. So do
    AdbenchErrors, which are sentences already, and Ctrl-C.
    """
    with _noticing() as real:
        try:
            yield
        except AdbenchError:
            raise
        except BaseException as error:
            found = find(error) if find else None
            # An OSError through no function of the plug-in is a file of the harness that can't be written.
            name = found or (None if find and isinstance(error, OSError) else function)
            if name is None or isinstance(error, GeneratorExit) or (isinstance(error, KeyboardInterrupt) and real()):
                raise
            own = " Its own code reads or writes that file." if isinstance(error, OSError) else ""
            called = name if " " in name else f"{name}()"
            raise kind(f"{what} failed in {called}: {said(error).rstrip('.')}{_place(error)}.{own}") from error


class _Noticed:
    """A handler of SIGINT that raises KeyboardInterrupt, as Python's own does, and knows that it has."""

    pressed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def _noticing() -> Iterator[Callable[[], bool]]:
    """Yield whether a KeyboardInterrupt that is raised in the block is Ctrl-C, and no `raise` of a plug-in."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, _Noticed):
        yield lambda: before.pressed
    elif before is not signal.default_int_handler:
        yield lambda: before is not signal.SIG_IGN
    else:
        handler = _Noticed()
        signal.signal(signal.SIGINT, handler)
        try:
            yield lambda: handler.pressed
        finally:
            signal.signal(signal.SIGINT, before)


def _place(error: BaseException) -> str:
    """Return " (file.py:12)", the deepest line of code that neither a library nor the harness brings."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top in LIBRARIES or top in sys.stdlib_module_names or (top == "adbench" and not module.startswith(OURS)):
            continue
        place = f" ({printable(Path(frame.f_code.co_filename).name)}:{line})"
    return place
