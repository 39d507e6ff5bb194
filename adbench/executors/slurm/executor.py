"""The executor `slurm`: every cell is a job of an array that submitit submits; the command may go and come back.

What is to run is submitted at once, and `workers` is how much of an array Slurm lets run at a time. Notes in
`runs/.slurm` name the job of each cell; a command that finds its cell in a note takes over the job instead of
submitting it again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.config import layers
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import QUEUED, Failure, Job, Jobs
from adbench.executors.remote import Resources, Status, arrived, clear_status, read_status, resources_of
from adbench.executors.slurm import notes
from adbench.executors.slurm.notes import Note
from adbench.executors.slurm.queue import LocalQueue, Queue, SlurmQueue, State
from adbench.executors.slurm.submit import Keys, check, submit
from adbench.records import record

POLL_SECONDS = 0.5  # seconds between two looks at the signs of the cells
RECORD_TIMEOUT = 60.0  # seconds until a record that another machine wrote must be seen here
UNTOLD = ("COMPLETED", "GONE")  # ends of a job that say nothing about the cell


@dataclass
class SlurmJob:
    """A cell whose job waits or runs."""

    job: Job
    id: str
    stage: str = QUEUED
    over_since: float | None = None


class Slurm:
    """Runs each cell as a Slurm job, `workers` of an array at a time."""

    elsewhere = True
    Keys = Keys

    def __init__(self, workers: int, config: RunConfig) -> None:
        self.workers = workers
        self.keys = layers.executor_keys(Keys, "slurm", config.words("slurm"))
        resources_of(config, self.keys.gpus, self.keys.cpus)
        check(self.keys)
        self.folder = Path(config.runs).absolute() / ".slurm"
        self.queue: Queue = SlurmQueue() if self.keys.cluster == "slurm" else LocalQueue()
        self.cells: dict[str, SlurmJob] = {}
        self.stopping = False
        self.asked = 0.0

    def warm_up(self) -> None:
        """Do nothing: Slurm starts processes when there is room."""

    def run(self, jobs: Jobs) -> None:
        """Submit what is to run, and watch until all of it has ended."""
        while True:
            if not jobs.stopped:
                self._take(jobs)
            elif not self.stopping:
                self.stopping = True
                self.queue.cancel([cell.id for cell in self.cells.values() if cell.stage == QUEUED], waiting_only=True)
            if not self.cells:
                return
            self._listen(jobs)
            if time.monotonic() - self.asked >= (min(self.keys.poll, 2) if self.stopping else self.keys.poll):
                self._ask(jobs)
                self.asked = time.monotonic()
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Cancel the jobs of all cells that have not ended."""
        ids = [cell.id for cell in self.cells.values()]
        self.queue.cancel(ids)
        deadline = time.monotonic() + 10
        while ids and time.monotonic() < deadline:
            states = self.queue.states(ids)
            if states is not None and all(state.over for state in states.values()):
                break
            time.sleep(POLL_SECONDS)
        for key, cell in self.cells.items():
            clear_status(self.folder, key)
            notes.drop(self.folder, key, cell.id)
        self.cells.clear()
        self._strike_off()

    def _strike_off(self) -> None:
        """Forget the jobs that left their record while no command watched."""
        for note in notes.read(self.folder):
            for key, id_ in note.cells.items():
                sign = read_status(self.folder, key)
                if sign and sign.ended and not sign.failure and record.find(self.folder.parent, key):
                    clear_status(self.folder, key)
                    notes.drop(self.folder, key, id_)

    def _need(self, job: Job) -> Resources:
        need = resources_of(job.config, self.keys.gpus, self.keys.cpus, job)
        return dataclasses.replace(need, gpus=math.ceil(need.gpus))  # Slurm hands out whole ones

    def _take(self, jobs: Jobs) -> None:
        # More is submitted when all this has ended: only so is `workers` the bound that it promises.
        room = self.workers if self.keys.cluster == "local" else 0 if self.cells else self.keys.array
        fresh: list[Job] = []
        while len(self.cells) + len(fresh) < room and (job := jobs.next()) is not None:
            fresh.append(job)
            jobs.stage(job, QUEUED)
        if not fresh:
            return
        with notes.lock(self.folder):
            self._adopt(fresh)
            waiting: dict[Resources, list[Job]] = {}
            for job in fresh:
                if job.key not in self.cells:
                    waiting.setdefault(self._need(job), []).append(job)
            # Each array has its own bound: one begins when those before it have ended.
            before = list(dict.fromkeys(cell.id.partition("_")[0] for cell in self.cells.values()))
            for need, some in waiting.items():
                before = [self._submit(need, some, before)]

    def _adopt(self, fresh: Sequence[Job]) -> None:
        """Take over the jobs that an earlier command left, and strike off what nobody needs."""
        wanted, whole = {job.key: job for job in fresh}, []
        for note in notes.read(self.folder):
            if all(note.cells.values()):
                whole.append(note)
            else:  # killed while it submitted: what it submitted can't be told cell by cell
                self.queue.cancel(self.queue.named(note.name))
                notes.write(self.folder, dataclasses.replace(note, cells={}))
        states = self.queue.states([id_ for note in whole for id_ in note.cells.values()]) if whole else {}
        if states is None:
            raise AdbenchError("Slurm does not answer, so it can't be told which cells run already. Try again later.")
        for note in whole:
            kept = dict(note.cells)
            for key, id_ in note.cells.items():
                done = record.find(self.folder.parent, key) is not None
                if _to_be_heard(read_status(self.folder, key), states[id_], done):
                    if key in wanted:
                        self.cells[key] = SlurmJob(wanted[key], id_)
                        continue
                    if not (done and states[id_].over):
                        continue  # of another sweep in this folder
                clear_status(self.folder, key)
                del kept[key]
            if kept != note.cells:
                notes.write(self.folder, dataclasses.replace(note, cells=kept))

    def _submit(self, need: Resources, some: Sequence[Job], before: Sequence[str]) -> str:
        """Submit an array that begins after those of `before`, and return its id.

        Its note is there before, so that a kill in between leaves no job that nobody knows.
        """
        for job in some:
            clear_status(self.folder, job.key)
        note = Note({job.key: "" for job in some})
        with _undisturbed():
            notes.write(self.folder, note)
            try:
                ids = submit(self.folder, self.keys, need, note.name, self.workers, some, before)
            except AdbenchError:
                notes.write(self.folder, dataclasses.replace(note, cells={}))
                raise
            self.cells |= {job.key: SlurmJob(job, id_) for job, id_ in zip(some, ids, strict=True)}
            notes.write(self.folder, dataclasses.replace(note, cells={j.key: self.cells[j.key].id for j in some}))
        return ids[0].partition("_")[0]

    def _listen(self, jobs: Jobs) -> None:
        """Look at the signs that the cells leave in the shared folder."""
        there = set(os.listdir(self.folder))
        for key, one in [(key, one) for key, one in self.cells.items() if f"{key}.json" in there]:
            sign = read_status(self.folder, key)
            if sign is not None and sign.ended:
                one.over_since = one.over_since or time.monotonic()
                if sign.failure or arrived(one.job) or time.monotonic() - one.over_since > RECORD_TIMEOUT:
                    self._finish(jobs, one, sign.failure)
            elif sign is not None and sign.stage != one.stage:
                one.stage = sign.stage
                jobs.stage(one.job, sign.stage)

    def _ask(self, jobs: Jobs) -> None:
        """Ask Slurm what became of the jobs that gave no last sign."""
        before = {key: read_status(self.folder, key) for key in self.cells}
        states = self.queue.states([one.id for one in self.cells.values()])
        if states is None:
            return
        for key, one in list(self.cells.items()):
            sign, state = read_status(self.folder, key), states[one.id]
            if sign is not None and sign.ended:
                continue  # the next look takes it
            if state.over:
                self._ended_by_slurm(jobs, one, state, sign)
            elif state.waits and sign is not None and sign == before[key]:
                # Its machine was lost and Slurm puts it on another one: the sign is that of the lost process.
                clear_status(self.folder, key)
                one.stage = QUEUED
                jobs.stage(one.job, QUEUED)
            elif not state.waits and one.stage == QUEUED:
                one.stage = "starting"
                jobs.stage(one.job, "starting")

    def _ended_by_slurm(self, jobs: Jobs, one: SlurmJob, state: State, sign: Status | None) -> None:
        key = one.job.key
        if self.stopping and state.name == "CANCELLED" and sign is None:
            del self.cells[key]
            notes.drop(self.folder, key, one.id)
            jobs.put_back(one.job)
            return
        if state.name in UNTOLD and self.keys.cluster == "slurm":
            one.over_since = one.over_since or time.monotonic()
            if not one.job.config.force and record.find(self.folder.parent, key) is not None:
                self._finish(jobs, one, None)  # another command heard the last sign before this one did
                return
            if time.monotonic() - one.over_since < RECORD_TIMEOUT:
                return
        self._finish(jobs, one, state.failure(one.id, notes.last_lines(self.folder, one.id)))

    def _finish(self, jobs: Jobs, one: SlurmJob, failure: Failure | None) -> None:
        del self.cells[one.job.key]
        jobs.finished(one.job, failure)
        clear_status(self.folder, one.job.key)
        notes.drop(self.folder, one.job.key, one.id)


def _to_be_heard(sign: Status | None, state: State, done: bool) -> bool:
    """Whether a job of an earlier command runs, or left what nobody was told: an error, a record, Slurm's reason."""
    if sign is not None and sign.ended:
        return sign.failure is not None or done
    return state.name not in UNTOLD


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, and keep it from the processes started there for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit this, and no handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        for number in came:
            signal.raise_signal(number)
