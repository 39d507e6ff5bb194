"""A cell with another support, fitted in a process of its own while the page goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adbench.cells.resolve import resolve
from adbench.data.items import Item
from adbench.data.support import LIST_KEYS
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.executors.local import Local
from adbench.records.record import Record, find
from adbench.running.cell import STAGES
from adbench.serve.cases import INSTEAD
from adbench.serve.cells import ServedCell, items_of
from adbench.system.files import unwritable, write_atomically
from adbench.system.session import Session

LISTS = "supports"  # in the folder of cases: the support lists of cells that were fitted from the page


def support_list(items: Sequence[Item], labels: Sequence[int]) -> str:
    """Return a support list (`n-0: ...`, `a-0: ...`) of some items; the paths tell equal names apart."""
    lines = []
    for label in labels:
        names = [shlex.quote(str(item.image).lstrip("/")) for item in items if item.label == label]
        lines.append(f"{LIST_KEYS[label]}: {' '.join(names)}")
    return "\n".join(lines) + "\n"


def chosen(cell: ServedCell, without: Sequence[int], added: Sequence[int]) -> list[Item]:
    """Return the support of a cell without some of its rows and with some rows of its pool.

    Raises AdbenchError where the method doesn't learn, learns from several datasets, or would be left with no image.
    """
    if not cell.labels:
        raise AdbenchError(
            f"{cell.record.content['facts']['method']} learns from no image: there is no support to change."
        )
    if len(cell.cell.training_sets) != 1:
        raise AdbenchError(
            "the support is of several datasets, and a support list names images of one. Nothing is changed."
        )
    kept = [item for row, item in enumerate(items_of(cell.learned)) if row not in set(without)]
    pool = items_of(cell.pool)
    if any(not 0 <= row < len(pool) for row in added):
        raise AdbenchError("an image that was added is not in the pool. Load the page again.")
    items = kept + [pool[row] for row in dict.fromkeys(added)]
    for label in cell.labels:
        if not any(item.label == label for item in items):
            raise AdbenchError(f"no {('normal', 'abnormal')[label]} image is left in the support. Keep or add one.")
    return items


class Fit:
    """One background fit: `stage` and `done` (0 to 1) while it runs, then the `record` or the `error`.

    The record goes into `runs`; its support list stays in `folder`, where the record names it.
    """

    def __init__(self, cell: ServedCell, items: Sequence[Item], runs: Path, folder: Path) -> None:
        text = support_list(items, cell.labels)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.stage, self.error = "starting", ""
        self.record: Record | None = None
        self.list = folder / LISTS / f"{name}.txt"
        try:
            self.list.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.list, text.encode(), INSTEAD)
        except OSError as error:
            raise unwritable(folder, error, INSTEAD) from error
        config = dataclasses.replace(
            cell.cell.config, support=str(self.list.absolute()), runs=str(runs), gallery=0, force=False
        )
        self.cell = resolve(config, Session())
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def done(self) -> float:
        """How far it is, 0 to 1, by stages."""
        if self.record or self.error:
            return 1.0
        return (STAGES.index(self.stage) + 1) / (len(STAGES) + 1) if self.stage in STAGES else 0.0

    def json(self) -> dict[str, Any]:
        """Return its state for the page."""
        return {
            "stage": self.stage,
            "done": self.done,
            "error": self.error,
            "finished": bool(self.record or self.error),
        }

    def _run(self) -> None:
        cell = self.cell
        try:
            runs = Path(cell.config.runs)
            found = find(runs, cell.key)
            if found is None:
                with TemporaryDirectory(prefix="adbench-") as folder:
                    job = Job(cell.key, cell.config, (f"support={cell.config.support}",), Path(folder) / "log.txt")
                    one, executor = _OneJob(self, job), Local(1, cell.config)
                    try:
                        executor.run(one)
                    finally:
                        executor.close()
                if one.failure is not None:
                    raise AdbenchError(one.failure.message)
                found = find(runs, cell.key)
            self.record = found
        except Exception as error:  # the page shows it; the server goes on
            self.error = str(error) or type(error).__name__


class _OneJob:
    """The jobs of an executor that has one."""

    stopped = False

    def __init__(self, fit: Fit, job: Job) -> None:
        self.fit, self.waiting = fit, [job]
        self.failure: Failure | None = None

    def next(self) -> Job | None:
        return self.waiting.pop() if self.waiting else None

    def stage(self, job: Job, name: str) -> None:
        self.fit.stage = name

    def note(self, text: str) -> None:
        """Show nothing: a local executor has nothing to say."""

    def put_back(self, job: Job) -> None:
        raise AssertionError("a local executor puts no job back")

    def finished(self, job: Job, failure: Failure | None) -> None:
        self.failure = failure
