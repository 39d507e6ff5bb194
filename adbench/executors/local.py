"""The executor `local`: processes of this machine that live as long as the sweep; or, for one worker, this process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from adbench.errors import AdbenchError
from adbench.executors import Failure, Job, Jobs

STILLBORN = 3  # workers that die one after the other before their first cell: something is wrong with all of them


class Local:
    """Runs jobs in `workers` processes, or in this one where `workers` is 1."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.crew: list[_Worker] = []

    def warm_up(self) -> None:
        """Let the workers import torch and Lightning, which takes seconds, while this process does so too."""
        if self.workers > 1:
            self.crew += [_Worker() for _ in range(self.workers - len(self.crew))]

    def run(self, jobs: Jobs) -> None:
        """Run jobs until there is none."""
        if self.workers == 1:
            _run_here(jobs)
            return
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
                        f"{STILLBORN} workers in a row ended before their first cell: {answer.message}. Try workers=1."
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
        self.crew.append(_Worker())
        return self.crew[-1]


def _run_here(jobs: Jobs) -> None:
    from adbench.executors.work import perform
    from adbench.remember import Scope

    scope = Scope()
    while (job := jobs.next()) is not None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            failure = perform(job, scope, partial(jobs.stage, job))
        jobs.finished(job, failure)


class _Worker:
    """One process and this end of the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.job: Job | None = None
        self.stands = False
        self.process = context.Process(target=_serve, args=(theirs,))
        with _no_interrupts():
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
            answer = Failure("WorkerDied", _epitaph(self.process.exitcode))
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


def _epitaph(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its worker was ended by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"its worker ended with exit code {code}"


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let a child start with Ctrl-C blocked: the terminal sends it to all, and this process alone decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection[Any, Any]) -> None:
    """Run jobs from the pipe until it closes; this is the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _print_to(Path(os.devnull))
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
        _print_to(job.log)
        failure = perform(job, scope, lambda name: pipe.send(("stage", name)))
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.send(("finished", failure))


def _print_to(log: Path) -> None:
    """Send what this process and its libraries print to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)


def _die_with_parent() -> None:
    """End this process when the sweep's has gone, even killed: nobody would take what is computed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
