"""The executor `local`: processes of this machine that live as long as the sweep."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from adbench.children import CONTEXT, begin_child, epitaph, no_interrupts, print_to, warm_up
from adbench.config import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job, Jobs

STILLBORN = 3  # workers that die one after the other before their first cell: something is wrong with all of them


class Local:
    """Runs jobs in `workers` processes and never in this one: what a method dies of costs its own cell."""

    elsewhere = False

    def __init__(self, workers: int, config: RunConfig) -> None:
        self.workers = workers
        self.config = config
        self.crew: list[_Worker] = []

    def warm_up(self) -> None:
        """Let another process import torch and Lightning, which takes seconds, while this one does so too."""
        if not warm_up():
            while len(self.crew) < self.workers:
                self._hire()

    def run(self, jobs: Jobs) -> None:
        """Run jobs until there is none."""
        stillborn = 0
        while True:
            while sum(worker.job is not None for worker in self.crew) < self.workers:
                job = jobs.next()
                if job is None:
                    break
                self._idle().give(job)
            busy = [worker for worker in self.crew if worker.job is not None]
            if not busy:
                return
            ready = wait([thing for worker in busy for thing in (worker.pipe, worker.process.sentinel)])
            for worker in busy:
                job = worker.job
                if job is None or not {worker.pipe, worker.process.sentinel}.intersection(ready):
                    continue
                what, answer = worker.hear()
                if what == "stage":
                    jobs.stage(job, answer)
                    continue
                stillborn = stillborn + 1 if what == "died" and not worker.stands else 0
                if what == "died" or (answer is not None and not answer.foreseen):
                    worker.end()  # an unforeseen error may have left it in a state that changes other cells' results
                    self.crew.remove(worker)
                jobs.finished(job, answer)
                if stillborn == STILLBORN:
                    raise AdbenchError(
                        f"{STILLBORN} workers in a row ended before their first cell: {answer.message}. Run one of the "
                        "cells alone: it runs in the command's own process."
                    )

    def close(self) -> None:
        """End all processes."""
        for worker in self.crew:
            worker.end()
        self.crew.clear()

    def _idle(self) -> _Worker:
        for worker in self.crew:
            if worker.job is None:
                return worker
        return self._hire()

    def _hire(self) -> _Worker:
        """Start a worker with the lowest free number, and of several GPUs the one that falls to it."""
        taken = {worker.number for worker in self.crew}
        number = next(i for i in range(len(taken) + 1) if i not in taken)
        gpus = visible_gpus(self.config)
        self.crew.append(_Worker(number, {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else {}))
        return self.crew[-1]


def visible_gpus(config: RunConfig) -> list[str]:
    """Return the GPUs that workers share out by number: none where a cell is to see no GPU, or as many as it likes."""
    devices = "devices" in config.overrides.get("trainer", {})
    if devices or config.device == "cpu" or CONTEXT.get_start_method() != "forkserver":
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]  # asks the driver's library, starts no CUDA


class _Worker:
    """One process and this end of the pipe to it."""

    def __init__(self, number: int, environment: dict[str, str]) -> None:
        self.number = number
        self.pipe, theirs = CONTEXT.Pipe()
        self.job: Job | None = None
        self.stands = False
        self.process = CONTEXT.Process(target=_serve, args=(theirs, {**os.environ, **environment}))
        with no_interrupts():
            self.process.start()  # not as a daemon: a method's DataLoader may have processes of its own
        theirs.close()

    def give(self, job: Job) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it has died: `hear` tells
            self.pipe.send(job)

    def hear(self) -> tuple[str, Any]:
        """Return ("stage", name), ("finished", failure or none) or ("died", failure); ask when there is news."""
        try:
            # Without a message it is the process that has ended, whoever else may hold the pipe open.
            what, answer = self.pipe.recv() if self.pipe.poll() else ("died", None)
        except (EOFError, OSError):
            what, answer = "died", None
        if what == "died" and answer is None:
            self.process.join()
            answer = Failure("WorkerDied", f"its worker {epitaph(self.process.exitcode)}")
        if what == "stands":
            self.stands = True
            return "stage", "starting"
        if what != "stage":
            self.job = None
        return what, answer

    def end(self) -> None:
        """End the process at once: an idle one has nothing to lose, and a running cell leaves nothing half-written."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection[Any, Any], environment: dict[str, str]) -> None:
    """Run jobs from the pipe until it closes; this is the worker process."""
    begin_child(environment)
    print_to(Path(os.devnull))
    try:
        from adbench.executors.work import perform
        from adbench.remember import Scope
    except Exception as error:
        text = f"its worker could not start: {type(error).__name__}: {error}"
        pipe.send(("died", Failure("WorkerDied", text, tuple(traceback.format_exc().splitlines()))))
        return

    scope = Scope()
    pipe.send(("stands", None))
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        print_to(job.log)
        failure = perform(job, scope, lambda name: pipe.send(("stage", name)))
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.send(("finished", failure))
