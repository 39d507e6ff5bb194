"""Progress display of a running sweep."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.progress import Task as Row
from rich.text import Text

from adbench.executors import QUEUED, Failure
from adbench.sweeps.sweep import Task
from adbench.sweeps.tables import duration, full_names, headline
from adbench.system.progress import stop
from adbench.system.text import printable


class Watch:
    """Report of a running sweep: on a terminal a line for each running cell, in a pipe a line for each finished one.

    `expected`: the seconds of a cell by earlier records, used until this sweep has finished one.
    """

    def __init__(self, tasks: Sequence[Task], workers: int, expected: float | None) -> None:
        self.total = len(tasks)
        self.names = {task.key: name for task, name in zip(tasks, full_names(tasks), strict=True)}
        self.workers = workers
        self.expected = expected
        self.seconds: list[float] = []
        self.done = 0
        self.failed = 0
        self.live = sys.stderr.isatty()
        self.lines = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self.display = Progress(
            TextColumn("{task.description}", markup=False), _Bar(24), _Count(), _Clock(),
            TextColumn("{task.fields[note]}", markup=False), console=Console(file=sys.stderr), transient=True,
            disable=not self.live, redirect_stdout=False, redirect_stderr=False, refresh_per_second=2,
        )  # fmt: skip
        self.rows: dict[str, Any] = {}
        self.queued: set[str] = set()

    @contextmanager
    def shown(self) -> Iterator[Watch]:
        """Show the display within the block."""
        self.whole = self.display.add_task("all cells", total=self.total, note=self._note())
        self.display.start()
        try:
            yield self
        finally:
            stop(self.display)

    def started(self, task: Task) -> None:
        """Add the cell's line."""
        self.rows[task.key] = self.display.add_task(f"  {self.names[task.key]}", total=None, note="starting")

    def stage(self, task: Task, name: str) -> None:
        """Show the stage on the cell's line; a queued cell has no line, and its clock starts when it runs."""
        row = self.rows[task.key]
        if name == QUEUED:
            self.queued.add(task.key)
        elif task.key in self.queued:
            self.queued.remove(task.key)
            self.display.reset(row)
        self.display.update(row, note=name, visible=name != QUEUED)
        self.display.update(self.whole, note=self._note())

    def put_back(self, task: Task) -> None:
        """Remove the cell's line."""
        self.queued.discard(task.key)
        self.display.remove_task(self.rows.pop(task.key))

    def finished(self, task: Task, failure: Failure | None) -> None:
        """Remove the cell's line; in a pipe, print one."""
        self.queued.discard(task.key)
        self.display.remove_task(self.rows.pop(task.key))
        self.done += 1
        self.failed += failure is not None
        if task.record:
            self.seconds.append(task.seconds)
        self.display.update(self.whole, advance=1, note=self._note())
        if not self.live or failure:
            result = f"{duration(task.seconds)}, {headline(task)}"
            if failure:
                result = f"failed, {failure.kind}: {failure.message}"
            line = f"[{self.done:>{len(str(self.total))}}/{self.total}] {self.names[task.key]}: {result}"
            (self.display.console if self.live else self.lines).print(line, markup=False)

    def note(self, text: str) -> None:
        """Print a sentence of the executor on standard error, on a terminal above the running cells."""
        self.display.console.print(f"adbench: {printable(text)}", markup=False, highlight=False, soft_wrap=True)

    def stopping(self, running: int) -> None:
        """Print that the sweep stops; at once, for this is called from a signal handler."""
        running -= len(self.queued)
        cells = "running cell has" if running == 1 else f"{running} running cells have"
        text = f"adbench: stopping when the {cells} finished; Ctrl-C again stops now.\n"
        os.write(2, text.encode())

    def _note(self) -> str:
        left = self.total - self.done
        each = statistics.mean(self.seconds) if self.seconds else self.expected
        remaining = f"about {duration(each * left / self.workers)} left" if each is not None and left else ""
        waiting = f"{len(self.queued)} queued" if self.queued else ""
        return ", ".join(filter(None, [remaining, waiting, f"{self.failed} failed" if self.failed else ""]))


class _Bar(BarColumn):
    """A bar for all cells; that of one cell has no known length."""

    def render(self, task: Row) -> Any:
        return super().render(task) if task.total else Text("")


class _Count(MofNCompleteColumn):
    """The number of finished cells, for all cells."""

    def render(self, task: Row) -> Text:
        return super().render(task) if task.total else Text("")


class _Clock(ProgressColumn):
    """Seconds since a line appeared."""

    def render(self, task: Row) -> Text:
        return Text(duration(task.elapsed or 0))
