"""The worker: an actor on a node of a Ray cluster."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from adbench._version import __version__
from adbench.executors import Failure, Job
from adbench.executors.remote import run_job
from adbench.system.files import HOST


@dataclass(frozen=True)
class Location:
    """The node, host and process of a worker."""

    node: str
    host: str
    pid: int


class Worker:
    """Runs one cell after the other on a node.

    `cwd`, `version` and `cache` are those of the command; `folder / mark` is a file that it wrote, which must appear
    here within `timeout` seconds.
    """

    def __init__(
        self, cwd: str, folder: str, mark: str, version: str, cache: str | None, gpus: float, timeout: float = 10.0
    ) -> None:
        self.cwd, self.folder, self.mark, self.version = cwd, Path(folder), mark, version
        self.timeout = timeout
        if cache is not None:
            os.environ.setdefault("ADBENCH_CACHE", cache)
        if not gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU that it did not request belongs to another cell

    def hello(self) -> Location | str:
        """Import what cells need; return the location of this worker, or why no cell can run here."""
        host = HOST
        if self.version != __version__:
            return f"the node {host} has adbench {__version__}, and this machine {self.version}: install the same there"
        deadline = time.monotonic() + self.timeout
        while not (self.folder / self.mark).exists():
            if time.monotonic() > deadline:
                return (
                    f"the node {host} does not see {self.folder.parent}, where the records go: give a folder that all "
                    "machines share, runs=DIR"
                )
            time.sleep(0.5)
        try:
            os.chdir(self.cwd)
        except OSError as error:
            return f"the node {host} has no folder {self.cwd} ({error.strerror}): type the command in a shared folder"
        import ray

        from adbench.executors import work  # noqa: F401  torch and Lightning: seconds that need not be a cell's
        from adbench.system.session import Session

        self.session = Session()
        return Location(ray.get_runtime_context().get_node_id(), host, os.getpid())

    def run_job(self, job: Job) -> Failure | None:
        """Run one cell."""
        return run_job(job, self.folder, self.session)
