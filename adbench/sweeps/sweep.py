"""Sweeps: planning the cells, handing them to an executor, and keeping their failures."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from adbench.cells import answers
from adbench.cells.cell import Cell
from adbench.cells.resolve import CheckedConfig, check_config, open_cell
from adbench.cells.seeds import Alike, cell_of_seed, config_of_seed
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError, PluginError, RecordError
from adbench.executors import Executor, Failure, Job
from adbench.records import provenance, record
from adbench.records.record import Record
from adbench.sweeps import known
from adbench.system.clock import timestamp
from adbench.system.garbage import uncollected
from adbench.system.session import NotThereError, Session
from adbench.system.text import counted


@dataclass
class Task:
    """A cell of a plan, and its record where there is one.

    `cell` is None where the cell can't run: its data are not there yet (`missing` says what), or its data or its record
    can't be used (`error`). `same` are the numbers of other draws that were asked for and draw the same images.
    """

    config: RunConfig
    cell: Cell | None = None
    key: str = ""
    record: Record | None = None
    missing: str = ""
    error: AdbenchError | None = None
    same: list[int] = field(default_factory=list)

    @property
    def state(self) -> str:
        """`recorded`, `to run`, `unknown` or `impossible`."""
        if self.record is not None:
            return "recorded"
        return "to run" if self.cell else "impossible" if self.error else "unknown"

    @property
    def seconds(self) -> float:
        """The seconds that its record took; 0 without one."""
        return known.brief_of(self.record).seconds if self.record else 0.0

    @property
    def other_source(self) -> bool:
        """Whether its record was made by another source of a package's method under the same `version`."""
        if self.cell is None or self.record is None:
            return False
        source = known.brief_of(self.record).source
        return source is not None and source != self.cell.source_hash

    @property
    def name(self) -> str:
        """A short name of the cell for one line on a screen."""
        c = self.config
        number = f"{c.shots} shots" if isinstance(c.shots, str) else counted(c.shots, "shot")
        support = f"support {c.support}" if c.support else f"{number}, draw {c.draw}"
        return f"{c.method_name} {c.dataset_name}, {support}, seed {c.seed}"


def plan(configs: Sequence[RunConfig], offline: bool = False, warm_up: Callable[[], None] | None = None) -> list[Task]:
    """Resolve every cell and find its record, as `tasks_of`; cells that come out the same count once."""
    return list({id(task): task for task in tasks_of(configs, offline, warm_up)}.values())


@uncollected()
def tasks_of(
    configs: Sequence[RunConfig], offline: bool = False, warm_up: Callable[[], None] | None = None
) -> list[Task]:
    """Resolve every cell and find its record: a task for each configuration, one for those that come out the same.

    Raises for a word that can't be used before any dataset is opened. Where data or a record can't be used, the error
    is kept in the task and the other cells run. With `offline`, nothing is drawn, fetched or written, and cells that
    need it are `unknown`; methods and records are those that the cache remembers, where it does. `warm_up` is called
    once, as soon as there is a cell to run.
    """
    if not configs:
        return []
    session, began = Session(offline=offline), time.time_ns()
    alike = [Alike(config) for config in configs]
    checked = {one: _check(one.config, session) for one in dict.fromkeys(alike)}
    runs, cache = Path(configs[0].runs), configs[0].cache_dir
    entries = known.recalled(runs, cache, session) if offline else {}
    if not offline:
        answers.keep({one.method: one for one in checked.values() if isinstance(one, CheckedConfig)}, cache, session)
    opened: dict[Alike, Opened] = {}
    tasks: dict[str, Task] = {}
    each: list[Task] = []
    for one, config in zip(alike, configs, strict=True):
        if one not in opened:
            opened[one] = _open(checked[one], one.config, session)
        task = _task(opened[one], config.seed)
        each.append(tasks.setdefault(task.key or repr(task.config), task))
        if each[-1] is not task:
            if task.config.draw not in (each[-1].config.draw, *each[-1].same):
                each[-1].same.append(task.config.draw)
            continue
        if task.cell and not task.config.force:
            try:
                task.record = known.find(runs, task.key, entries) or record.find(Path(task.config.runs), task.key)
            except RecordError as error:
                task.cell, task.error = None, error
        if warm_up and task.state == "to run":
            warm_up()
            warm_up = None
    if not offline:
        known.keep([task.record for task in tasks.values() if task.record], runs, cache, session, began)
    return each


class Opened(NamedTuple):
    """What came of opening a cell: its configuration as it was checked, and the cell or why there is none."""

    config: RunConfig
    cell: Cell | None = None
    error: AdbenchError | None = None


def _check(config: RunConfig, session: Session) -> CheckedConfig | PluginError:
    """Check a configuration; what a plug-in's own code does wrong costs the cells of that plug-in."""
    try:
        return check_config(config, session)
    except PluginError as error:
        return error


def _open(checked: CheckedConfig | PluginError, config: RunConfig, session: Session) -> Opened:
    if isinstance(checked, PluginError):
        return Opened(config, error=checked)
    try:
        return Opened(checked.config, open_cell(checked, session))
    except AdbenchError as error:
        return Opened(checked.config, error=error)


def _task(opened: Opened, seed: int) -> Task:
    """Return the task of a configuration that is alike."""
    config = config_of_seed(opened.config, seed)
    if opened.cell is not None:
        cell = cell_of_seed(opened.cell, config)
        return Task(config, cell, cell.key)
    if isinstance(opened.error, NotThereError):
        return Task(config, missing=str(opened.error))
    return Task(config, error=opened.error)


class Report(Protocol):
    """The progress report of a sweep: these methods are called as it goes on."""

    def started(self, task: Task) -> None:
        """A cell starts."""
        ...

    def stage(self, task: Task, name: str) -> None:
        """A running cell has reached a stage."""
        ...

    def put_back(self, task: Task) -> None:
        """A cell that was to start waits again."""
        ...

    def finished(self, task: Task, failure: Failure | None) -> None:
        """A cell has ended."""
        ...

    def note(self, text: str) -> None:
        """The executor says something about several cells."""
        ...

    def stopping(self, running: int) -> None:
        """Ctrl-C was pressed once, and the running cells are being finished. Called from a signal handler."""
        ...


@dataclass
class Sweep:
    """The tasks that wait, run or have failed; it hands them to an executor as its `Jobs`."""

    words: tuple[str, ...]
    report: Report
    waiting: dict[frozenset[Any], deque[Task]] = field(default_factory=dict)
    running: dict[str, Task] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    stopped: bool = False
    warm: set[Any] = field(default_factory=set)

    def add(self, tasks: Sequence[Task]) -> None:
        """Queue the tasks that are to run, grouped by the frozen features and trainings that they share."""
        for task in tasks:
            if task.state == "to run":
                self.waiting.setdefault(cache_entries(task), deque()).append(task)

    @property
    def left(self) -> int:
        """The number of cells that have not been started."""
        return sum(map(len, self.waiting.values()))

    def next(self) -> Job | None:
        """Return a cell whose frozen features and training no running cell computes; any cell where there is none."""
        if self.stopped:
            return None
        groups = [group for group, tasks in self.waiting.items() if tasks]
        if not groups:
            return None
        busy = {entry for task in self.running.values() for entry in cache_entries(task)} - self.warm
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

    def note(self, text: str) -> None:
        """Pass a sentence of the executor on to the report."""
        self.report.note(text)

    def put_back(self, job: Job) -> None:
        """Queue a cell again that was taken but will not start."""
        task = self.running.pop(job.key)
        self.waiting.setdefault(cache_entries(task), deque()).appendleft(task)
        self.report.put_back(task)

    def finished(self, job: Job, failure: Failure | None) -> None:
        """Read the record, or write that of a failure; remove an empty log."""
        task = self.running.pop(job.key)
        self.warm.update(cache_entries(task))
        if failure is None:
            try:
                task.record = record.read(Path(job.config.runs) / job.key)
            except AdbenchError as error:
                failure = Failure(type(error).__name__, str(error), (), True)
        if failure is not None:
            self.failures[job.key] = failure
            _write_failure(task, job, failure)
        elif job.log.is_file() and job.log.stat().st_size == 0:
            job.log.unlink()
        self.report.finished(task, failure)


def log_of(task: Task) -> Path:
    """Return the log file of a cell."""
    return Path(task.config.runs) / record.LOGS / f"{task.key}.log"


def cache_entries(task: Task) -> frozenset[Any]:
    """Return what a cell shares with others through the cache: features of the test images, and perhaps a training."""
    from adbench.backbone.features import signature  # imports torch, which a plan does without

    assert task.cell is not None
    facts, can = task.cell.facts, task.cell.capability
    images = facts["data"], can.resize, can.grey, signature(facts)
    features = [(*images, part) for part in can.outputs.parts]
    training = task.cell.training_key
    return frozenset([*features, training] if training else features)


def _write_failure(task: Task, job: Job, failure: Failure) -> None:
    assert task.cell is not None
    content = {
        "error": {"kind": failure.kind, "message": failure.message, "traceback": list(failure.trace)},
        "log": str(job.log),
        "given": list(job.words),
        "resolved": job.config.as_dict(),
        "facts": task.cell.facts,
        "code": provenance.code(),
        "finished": timestamp(),
    }
    try:
        record.note_failure(Path(job.config.runs), job.key, content)
    except AdbenchError as error:  # a full disk, say: the table at the end still names the cell
        print(f"adbench: {error}", flush=True)


def run(tasks: Sequence[Task], words: Sequence[str], executor: Executor, report: Report) -> Sweep:
    """Run the tasks without a record. Ctrl-C once finishes the running cells, twice stops at once."""
    sweep = Sweep(tuple(words), report)
    sweep.add(tasks)
    if sweep.left:
        todo = [task for task in tasks if task.state == "to run"]
        with _interrupts(sweep):
            executor.run(sweep)
        if done := [task.record.path for task in todo if task.record]:
            _remember(done, todo[0].config)
    return sweep


def _remember(paths: Sequence[Path], config: RunConfig) -> None:
    """Read finished records once more, now that a change of their files would show, so that plans know them."""
    records, began = [], time.time_ns()
    for path in paths:
        with contextlib.suppress(RecordError):
            records.append(record.read(path))
    known.keep(records, Path(config.runs), config.cache_dir, Session(), began)


@contextmanager
def _interrupts(sweep: Sweep) -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        if sweep.stopped:
            raise KeyboardInterrupt
        sweep.stopped = True
        sweep.report.stopping(len(sweep.running))

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
