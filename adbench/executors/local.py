"""The executor `local`: worker processes on this machine that live as long as the sweep."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job, Jobs
from adbench.executors.guests import guest, suits
from adbench.system.cores import shared
from adbench.system.output import redirected_output
from adbench.system.processes import CONTEXT, Child, answer, wait_any, warm_up

MOST_FAILED_STARTS = 3  # workers that end one after the other before their first cell


class Local:
    """Runs jobs in `workers` processes and never in this one: an error or a crash costs its own cell only.

    `start` starts a worker with a number and an environment.
    """

    remote = False

    def __init__(self, workers: int, config: RunConfig, start: StartWorker | None = None) -> None:
        self.workers = workers
        self.config = config
        self.start: StartWorker = start or Worker
        self.running: list[Worker] = []

    def warm_up(self) -> None:
        """Let another process import torch and Lightning, which takes seconds, while this one does so too."""
        if not warm_up():
            while len(self.running) < self.workers:
                self._start()

    def run(self, jobs: Jobs) -> None:
        """Run jobs until there is none."""
        failed_starts = 0
        while True:
            while sum(worker.job is not None for worker in self.running) < self.workers:
                job = jobs.next()
                if job is None:
                    break
                self._worker_for(job).give(job)
            busy = [worker for worker in self.running if worker.job is not None]
            if not busy:
                return
            for worker in wait_any(busy):
                job = worker.job
                if job is None:
                    continue
                word, value = worker.receive()
                if word == "stage":
                    jobs.stage(job, value)
                    continue
                failed_starts = failed_starts + 1 if word == "died" and not worker.ready else 0
                if word == "died" or (value is not None and not value.foreseen):
                    worker.kill()  # an unforeseen error may have left it in a state that changes other cells' results
                    self.running.remove(worker)
                jobs.finished(job, value)
                if failed_starts == MOST_FAILED_STARTS:
                    raise AdbenchError(
                        f"{MOST_FAILED_STARTS} workers in a row ended before their first cell: {value.message}. "
                        "Run one of the cells alone: it runs in the command's own process."
                    )

    def close(self) -> None:
        """End all processes."""
        for worker in self.running:
            worker.kill()
        self.running.clear()

    def _worker_for(self, job: Job) -> Worker:
        """Return a worker without a job, a new one where the others have run cells of somebody's method."""
        idle = sorted((w for w in self.running if w.job is None), key=lambda worker: worker.guest is None)
        for worker in idle:
            if suits(worker.guest, job):
                return worker
        if len(self.running) >= self.workers:
            idle[0].kill()
            self.running.remove(idle[0])
        return self._start()

    def _start(self) -> Worker:
        """Start a worker with the lowest free number; several GPUs are assigned by number, in turn."""
        taken = {worker.number for worker in self.running}
        number = next(i for i in range(len(taken) + 1) if i not in taken)
        gpus = visible_gpus(self.config)
        gpu = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}
        self.running.append(self.start(number, os.environ | gpu | shared(self.workers)))
        return self.running[-1]


def visible_gpus(config: RunConfig) -> list[str]:
    """Return the GPUs that workers share, one each: none with `device=cpu`, and none where each cell uses several."""
    devices = "devices" in config.words("trainer")
    if devices or config.device == "cpu" or CONTEXT.get_start_method() != "forkserver":
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]  # asks the driver's library, starts no CUDA


class Worker(Child):
    """A process that runs one job after the other; `target` is what it runs."""

    def __init__(
        self, number: int, environment: dict[str, str], target: Callable[..., None] | None = None, *args: Any
    ) -> None:
        super().__init__(target or _serve, *args, environment=environment)
        self.number = number
        self.job: Job | None = None
        self.guest: str | None = None  # the method of another package or file whose cells it has run
        self.ready = False

    def give(self, job: Job) -> None:
        """Send it a job."""
        self.job, self.guest = job, guest(job)
        self.send(job)

    def receive(self) -> tuple[str, Any]:
        """Return ("stage", name), ("finished", failure or none) or ("died", failure)."""
        word, value = super().receive()
        if word == "ready":
            self.ready = True
            return "stage", "starting"
        if word == "died" and not isinstance(value, Failure):
            value = Failure("WorkerDied", f"its worker {value}")
        if word != "stage":
            self.job = None
        return word, value


StartWorker = Callable[[int, dict[str, str]], Worker]


def _serve(pipe: Connection[Any, Any]) -> None:
    """Run jobs from the pipe until it closes; this is the worker process."""
    with redirected_output(Path(os.devnull)):
        try:
            from adbench.executors.work import perform
            from adbench.system.session import Session
        except Exception as error:
            text = f"its worker could not start: {type(error).__name__}: {error}"
            answer(pipe, "died", Failure("WorkerDied", text, tuple(traceback.format_exc().splitlines())))
            return

        session = Session()
        answer(pipe, "ready")
        while True:
            try:
                job: Job = pipe.recv()
            except (EOFError, ConnectionError):
                return
            with redirected_output(job.log):
                failure = perform(job, session, lambda name: answer(pipe, "stage", name))
            answer(pipe, "finished", failure)
