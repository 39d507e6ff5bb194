"""Output redirection: what a process and its libraries print goes to a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def redirected_output(file: Path, append: bool = False, python_only: bool = False) -> Iterator[None]:
    """Send standard output and error to a file within the block: what Python prints and what C libraries print.

    The file is emptied first unless `append`. With `python_only`, only `sys.stdout` is replaced: streams that somebody
    holds already, such as the console of a progress display, still reach the terminal, and so does standard error.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as after:
        target = after.enter_context(file.open("a" if append else "w", encoding="utf-8"))
        if python_only:
            after.enter_context(contextlib.redirect_stdout(target))
        else:
            if _descriptor(sys.stdout) != 1:
                after.enter_context(contextlib.redirect_stdout(target))
            if _descriptor(sys.stderr) != 2:
                after.enter_context(contextlib.redirect_stderr(target))
            _flush()
            for number in (1, 2):
                before = os.dup(number)
                after.callback(os.close, before)
                after.callback(os.dup2, before, number)
                os.dup2(target.fileno(), number)
            after.callback(_flush)
        yield


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):  # a stream in memory, or none
        return None
