"""Progress bars for what takes longer than two seconds: on a terminal; silent when piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
DELAY = 2.0


def bars() -> Progress:
    """Return adbench's progress display: bar, count, rate and remaining time, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def track(work: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield from `work`; a bar appears once two seconds have passed."""
    start = time.monotonic()
    display = None
    task = None
    try:
        for done, thing in enumerate(work):
            yield thing
            if display is None and time.monotonic() - start > DELAY and done + 1 < total:
                display = bars()
                display.start()
                task = display.add_task(description, total=total, note="")
            if display is not None and task is not None:
                display.update(task, completed=done + 1)
    finally:
        if display is not None:
            display.stop()
