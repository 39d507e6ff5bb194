"""Many cells: which there are, in which order they run, and what becomes of those that fail."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from adbench.backbone.features import parts_of, signature
from adbench.cells.cell import Cell
from adbench.cells.resolve import CheckedConfig, check_config, open_cell
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError, RecordError
from adbench.executors import Executor, Failure, Job
from adbench.records import provenance, record
from adbench.system.session import NotThereError, Session
from adbench.system.text import counted


@dataclass
class Task:
    """A cell of a plan.

    `cell` is none where the cell can't run: its data are not there yet (`missing` says what) or they, or its record,
    can't be used (`error`). `found` is its record.
    """

    config: RunConfig
    cell: Cell | None = None
    key: str = ""
    found: record.Record | None = None
    missing: str = ""
    error: AdbenchError | None = None

    @property
    def state(self) -> str:
        """`recorded`, `to run`, `unknown` or `impossible`."""
        if self.found is not None:
            return "recorded"
        return "to run" if self.cell else "impossible" if self.error else "unknown"

    @property
    def seconds(self) -> float:
        """What its record took; 0 without one."""
        return float(sum(self.found.content["seconds"].values())) if self.found else 0.0

    @property
    def other_source(self) -> bool:
        """Whether its record was made by other source of a package's method, whose `version` stayed the same."""
        if self.cell is None or self.found is None:
            return False
        made = self.found.content.get("code", {}).get("method_source")
        return made is not None and made != self.cell.source_hash

    @property
    def name(self) -> str:
        """What tells the cell from its neighbours, for one line on a screen."""
        c = self.config
        number = f"{c.shots} shots" if isinstance(c.shots, str) else counted(c.shots, "shot")
        support = f"support {c.support}" if c.support else f"{number}, draw {c.draw}"
        return f"{c.method_name} {c.dataset}, {support}, seed {c.seed}"


@record.uncollected()
def plan(asked: Sequence[RunConfig], looking: bool = False, warm_up: Callable[[], None] | None = None) -> list[Task]:
    """Resolve every cell and find its record; cells that come out the same count once.

    A word that can't be used raises before any data set is opened. Data and records that can't be used cost their own
    cells: the task keeps the error. With `looking`, nothing is drawn, fetched or written, and cells that need it stay
    unknown. `warm_up` is called once, as soon as a cell is found that is to run.
    """
    tasks: dict[str, Task] = {}
    session = Session(offline=looking)
    for checked in [check_config(config, session) for config in asked]:
        task = _opened(checked, session)
        if tasks.setdefault(task.key or repr(task.config), task) is not task:
            continue
        if task.cell and not task.config.force:
            try:
                task.found = record.find(Path(task.config.runs), task.key)
            except RecordError as error:
                task.cell, task.error = None, error
        if warm_up and task.state == "to run":
            warm_up()
            warm_up = None
    return list(tasks.values())


def _opened(checked: CheckedConfig, session: Session) -> Task:
    try:
        cell = open_cell(checked, session)
    except NotThereError as stop:
        return Task(checked.config, missing=str(stop))
    except AdbenchError as error:
        return Task(checked.config, error=error)
    return Task(cell.config, cell, cell.key)


class Report(Protocol):
    """Who is told how a sweep goes on."""

    def started(self, task: Task) -> None:
        """A cell begins."""
        ...

    def stage(self, task: Task, name: str) -> None:
        """A running cell reaches a stage."""
        ...

    def put_back(self, task: Task) -> None:
        """A cell that was to begin waits again."""
        ...

    def finished(self, task: Task, failure: Failure | None) -> None:
        """A cell has ended."""
        ...

    def stopping(self, running: int) -> None:
        """Ctrl-C came once: the running cells are finished. Called from a signal handler."""
        ...


@dataclass
class Sweep:
    """Hands tasks to an executor (it is its `Jobs`) and keeps what becomes of them."""

    words: tuple[str, ...]
    report: Report
    waiting: dict[frozenset[Any], deque[Task]] = field(default_factory=dict)
    running: dict[str, Task] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    stopped: bool = False
    warm: set[Any] = field(default_factory=set)

    def add(self, tasks: Sequence[Task]) -> None:
        """Queue the tasks that have a cell and no record, those that share frozen features side by side."""
        for task in tasks:
            if task.state == "to run":
                self.waiting.setdefault(left_in_cache(task), deque()).append(task)

    @property
    def left(self) -> int:
        """How many cells nobody has started."""
        return sum(map(len, self.waiting.values()))

    def next(self) -> Job | None:
        """Return a cell for which nobody is computing frozen features or a training just now, else any."""
        if self.stopped:
            return None
        groups = [group for group, tasks in self.waiting.items() if tasks]
        if not groups:
            return None
        busy = {thing for task in self.running.values() for thing in left_in_cache(task)} - self.warm
        group = next((group for group in groups if busy.isdisjoint(group)), groups[0])
        task = self.waiting[group].popleft()
        self.running[task.key] = task
        self.report.started(task)
        assert task.cell is not None
        can = task.cell.capability
        return Job(task.key, task.config, self.words, log_of(task), can.gpu_share, can.memory_gb)

    def stage(self, job: Job, name: str) -> None:
        """Pass a stage on to the report."""
        self.report.stage(self.running[job.key], name)

    def put_back(self, job: Job) -> None:
        """Queue a cell again that nobody has begun."""
        task = self.running.pop(job.key)
        self.waiting.setdefault(left_in_cache(task), deque()).appendleft(task)
        self.report.put_back(task)

    def finished(self, job: Job, failure: Failure | None) -> None:
        """Read the record back, or leave a failed one; an empty log goes."""
        task = self.running.pop(job.key)
        self.warm.update(left_in_cache(task))
        if failure is None:
            try:
                task.found = record.read(Path(job.config.runs) / job.key)
            except AdbenchError as error:
                failure = Failure(type(error).__name__, str(error), (), True)
        if failure is not None:
            self.failures[job.key] = failure
            _note(task, job, failure)
        elif job.log.is_file() and job.log.stat().st_size == 0:
            job.log.unlink()
        self.report.finished(task, failure)


def log_of(task: Task) -> Path:
    """Return the file that takes what a cell prints."""
    return Path(task.config.runs) / record.LOGS / f"{task.key}.log"


def left_in_cache(task: Task) -> frozenset[Any]:
    """Return what a cell leaves in the cache for others: frozen features of the test images, and perhaps a training."""
    assert task.cell is not None
    facts, can = task.cell.facts, task.cell.capability
    images = facts["data"], can.resize, can.grey, signature(facts, facts["threads"])
    features = [(*images, part) for part in parts_of(can.blocks, can.pooled)]
    training = task.cell.training_key
    return frozenset([*features, training] if training else features)


def _note(task: Task, job: Job, failure: Failure) -> None:
    assert task.cell is not None
    content = {
        "error": {"kind": failure.kind, "message": failure.message, "traceback": list(failure.trace)},
        "log": str(job.log),
        "given": list(job.words),
        "resolved": job.config.as_dict(),
        "facts": task.cell.facts,
        "code": provenance.code(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        record.note_failure(Path(job.config.runs), job.key, content)
    except AdbenchError as error:  # a full disk, say: the table at the end still names the cell
        print(f"adbench: {error}", flush=True)


def run(tasks: Sequence[Task], words: Sequence[str], executor: Executor, report: Report) -> Sweep:
    """Run what is missing. Ctrl-C once lets the running cells finish, twice stops at once."""
    sweep = Sweep(tuple(words), report)
    sweep.add(tasks)
    if sweep.left:
        with _interrupts(sweep):
            executor.run(sweep)
    return sweep


@contextmanager
def _interrupts(sweep: Sweep) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def heard(number: int, frame: object) -> None:
        if sweep.stopped:
            raise KeyboardInterrupt
        sweep.stopped = True
        sweep.report.stopping(len(sweep.running))

    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
