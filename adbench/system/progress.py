"""Progress bars, on a terminal only, for work that takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


def stop(display: Progress) -> None:
    """End a display; one that never began prints nothing, where older versions of rich print a blank line."""
    if display.live.is_started:
        display.stop()


@contextmanager
def counting(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the count done so far; a bar appears once two seconds have passed."""
    start = time.monotonic()
    display = bars()
    task = display.add_task(description, total=total, note="")

    def count(done: int) -> None:
        if not display.live.is_started and time.monotonic() - start > DELAY and done < total:
            display.start()
        display.update(task, completed=done)

    try:
        yield count
    finally:
        stop(display)


def track(work: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield from `work`, counting."""
    with counting(description, total) as count:
        for done, item in enumerate(work, 1):
            yield item
            count(done)
