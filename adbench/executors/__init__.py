"""The executor interface: jobs, failures, and the class that runs jobs, registered under `adbench.executors`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adbench.config.schema import RunConfig

QUEUED = "queued"  # the stage of a job that was taken and waits for the cluster to start it


@dataclass(frozen=True)
class Job:
    """One cell to run: `key` names its record, `words` are those of the command, `log` takes what it prints.

    `gpu_share` and `memory_gb` are what the method declares.
    """

    key: str
    config: RunConfig
    words: tuple[str, ...]
    log: Path
    gpu_share: float = 1.0
    memory_gb: float | None = None


@dataclass(frozen=True)
class Failure:
    """The error that stopped a cell: its class, its message, and the last lines of its traceback.

    `foreseen`: an AdbenchError but no MethodError; after any other error the process is not used again.
    """

    kind: str
    message: str
    trace: tuple[str, ...] = ()
    foreseen: bool = False


class Jobs(Protocol):
    """The jobs of a sweep, as an executor sees them. All calls come from the thread that called `Executor.run`."""

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C was pressed once: running jobs are finished, waiting ones are put back."""
        ...

    def next(self) -> Job | None:
        """Return the next job; None: start no more jobs for now."""
        ...

    def stage(self, job: Job, name: str) -> None:
        """Report that a job has reached a stage, or that it is `queued`."""
        ...

    def note(self, text: str) -> None:
        """Show a sentence of the executor: why the cluster starts no job, for instance."""
        ...

    def put_back(self, job: Job) -> None:
        """Return a job that was taken but will not start."""
        ...

    def finished(self, job: Job, failure: Failure | None) -> None:
        """Report that a job has ended; its record is written, or `failure` says why not."""
        ...


class Executor(Protocol):
    """Runs jobs, `workers` at a time.

    `config` is the configuration of the sweep's first cell; keys that cannot be axes have the same value in all cells.
    An executor with keys of its own has the attribute `Keys`, a dataclass of them; their defaults are the file
    `executor/<name>.yaml` in the folder that its package registers under `adbench.configs`.
    `remote`: cells run on other machines, whose devices are not those of this one.
    """

    remote: bool

    def __init__(self, workers: int, config: RunConfig) -> None: ...

    def warm_up(self) -> None:
        """Optionally start workers while the cells are still being resolved."""
        ...

    def run(self, jobs: Jobs) -> None:
        """Take jobs until there is none and none runs. On KeyboardInterrupt, running jobs may be left to `close`."""
        ...

    def close(self) -> None:
        """Stop all running jobs at once."""
        ...
