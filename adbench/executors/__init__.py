"""Who runs the cells of a sweep: a class registered under `adbench.executors`, and what it may ask and must tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adbench.config.schema import RunConfig

QUEUED = "queued"  # the stage of a job that was taken and still waits for a place on the cluster


@dataclass(frozen=True)
class Job:
    """One cell to run: `key` names its record, `words` are kept as what was asked, `log` takes what it prints.

    `gpu_share` and `memory_gb` are what its method declares.
    """

    key: str
    config: RunConfig
    words: tuple[str, ...]
    log: Path
    gpu_share: float = 1.0
    memory_gb: float | None = None


@dataclass(frozen=True)
class Failure:
    """What stopped a cell: the error's class, its sentence, and the last lines of its traceback.

    `foreseen`: adbench raised it; otherwise the process that ran the cell may be spoilt for others.
    """

    kind: str
    message: str
    trace: tuple[str, ...] = ()
    foreseen: bool = False


class Jobs(Protocol):
    """The side of a sweep that an executor sees. All calls come from the thread that called the executor."""

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C came once: what runs is finished, what only waits is put back."""
        ...

    def next(self) -> Job | None:
        """Return the next job, or none: then nothing more is to be started for now."""
        ...

    def stage(self, job: Job, name: str) -> None:
        """Hear that a job has reached a stage, or that it is `queued`."""
        ...

    def put_back(self, job: Job) -> None:
        """Hear that a job was taken and will not be begun."""
        ...

    def finished(self, job: Job, failure: Failure | None) -> None:
        """Hear that a job has ended; its record is written, or `failure` says why not."""
        ...


class Executor(Protocol):
    """Runs jobs, `workers` at a time, and registers its class under `adbench.executors`.

    It is built with the configuration of the sweep's first cell; what no axis can change is the same in all of them.
    An executor with keys of its own ships their defaults as `executor/<name>.yaml` in the folder that its package
    registers under `adbench.configs`, and has them as a dataclass, its attribute `Keys`.
    `elsewhere`: cells run on other machines, so that this one's devices say nothing about theirs.
    """

    elsewhere: bool

    def __init__(self, workers: int, config: RunConfig) -> None: ...

    def warm_up(self) -> None:
        """Make workers ready while the cells are still being looked up; nothing needs to come of it."""
        ...

    def run(self, jobs: Jobs) -> None:
        """Take jobs until there is none and none runs. On KeyboardInterrupt the running ones may stay."""
        ...

    def close(self) -> None:
        """Stop whatever still runs, at once."""
        ...
