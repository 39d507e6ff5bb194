"""The executor `slurm`: each cell is a job of an array that submitit submits.

All cells are submitted at once; `workers` is the number of an array's jobs that Slurm runs at a time. Notes in
`runs/.slurm` name the job of each cell. The command only watches: when it ends early, the same command finds the jobs
by these notes and takes them over instead of submitting them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.config import layers
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import QUEUED, Failure, Job, Jobs
from adbench.executors.remote import Resources, Status, arrived, clear_status, read_status, resources_of
from adbench.executors.slurm import notes, reasons
from adbench.executors.slurm.keys import SlurmKeys, check_keys
from adbench.executors.slurm.notes import Note
from adbench.executors.slurm.queue import LocalQueue, Queue, SlurmQueue, State
from adbench.executors.slurm.submit import check_machine, request_of, submit
from adbench.records import record
from adbench.system.text import counted

NO_REASON = ("COMPLETED", "GONE")  # final states of a job that say nothing about its cell


@dataclass
class SlurmJob:
    """A cell whose job waits or runs."""

    job: Job
    id: str
    stage: str = QUEUED
    over_since: float | None = None


class Slurm:
    """Runs each cell as a Slurm job, `workers` of an array at a time.

    `queue` and `submit` talk to Slurm. `poll_seconds` is the time between two looks at the status files;
    `record_timeout` is how long a record may take to appear here after another machine wrote it.
    """

    remote = True
    Keys = SlurmKeys

    def __init__(
        self,
        workers: int,
        config: RunConfig,
        queue: Queue | None = None,
        submit: Callable[..., list[str]] = submit,
        poll_seconds: float = 0.5,
        record_timeout: float = 60.0,
    ) -> None:
        self.workers = workers
        self.keys = layers.executor_keys(SlurmKeys, "slurm", config.words("slurm"))
        resources_of(config, self.keys.gpus, self.keys.cpus)
        check_keys(self.keys)
        if queue is None:
            check_machine(self.keys)
        self.folder = Path(config.runs).absolute() / ".slurm"
        self.queue = queue or (SlurmQueue() if self.keys.cluster == "slurm" else LocalQueue())
        self.submit = submit
        self.poll_seconds = poll_seconds
        self.record_timeout = record_timeout
        self.cells: dict[str, SlurmJob] = {}
        self.waits: dict[str, str] = {}  # the reason of each job that waits for what does not come by itself
        self.noted: set[tuple[str, str]] = set()
        self.stopping = False
        self.polled = 0.0

    def warm_up(self) -> None:
        """Do nothing: Slurm starts the processes."""

    def run(self, jobs: Jobs) -> None:
        """Submit all jobs, and watch until all of them have ended."""
        while True:
            if not jobs.stopped:
                self._take(jobs)
            elif not self.stopping:
                self.stopping = True
                self.queue.cancel([cell.id for cell in self.cells.values() if cell.stage == QUEUED], waiting_only=True)
            if not self.cells:
                return
            self._read_statuses(jobs)
            soon = self.stopping or not self.noted.issuperset(self.waits.items())
            if time.monotonic() - self.polled >= (min(self.keys.poll, 2) if soon else self.keys.poll):
                self._poll(jobs)
                self.polled = time.monotonic()
            time.sleep(self.poll_seconds)

    def close(self) -> None:
        """Cancel the jobs of all cells that have not ended."""
        ids = [cell.id for cell in self.cells.values()]
        self.queue.cancel(ids)
        deadline = time.monotonic() + 10
        while ids and time.monotonic() < deadline:
            states = self.queue.states(ids)
            if states is not None and all(state.over for state in states.values()):
                break
            time.sleep(self.poll_seconds)
        for key, cell in self.cells.items():
            clear_status(self.folder, key)
            notes.drop(self.folder, key, cell.id)
        self.cells.clear()
        self._drop_recorded()

    def _drop_recorded(self) -> None:
        """Drop the notes of jobs that wrote their record while no command watched."""
        for note in notes.read(self.folder):
            for key, id_ in note.cells.items():
                status = read_status(self.folder, key)
                if status and status.ended and not status.failure and record.find(self.folder.parent, key):
                    clear_status(self.folder, key)
                    notes.drop(self.folder, key, id_)

    def _resources(self, job: Job) -> Resources:
        resources = resources_of(job.config, self.keys.gpus, self.keys.cpus, job)
        return dataclasses.replace(resources, gpus=math.ceil(resources.gpus))  # Slurm assigns whole GPUs

    def _take(self, jobs: Jobs) -> None:
        # The next jobs are submitted when all of these have ended, so that no more than `workers` run at a time.
        room = self.workers if self.keys.cluster == "local" else 0 if self.cells else self.keys.array
        new: list[Job] = []
        while len(self.cells) + len(new) < room and (job := jobs.next()) is not None:
            new.append(job)
            jobs.stage(job, QUEUED)
        if not new:
            return
        with notes.lock(self.folder):
            self._adopt(jobs, new)
            waiting: dict[Resources, list[Job]] = {}
            for job in new:
                if job.key not in self.cells:
                    waiting.setdefault(self._resources(job), []).append(job)
            # Slurm bounds each array by itself, so an array waits until those before it have ended.
            before = list(dict.fromkeys(cell.id.partition("_")[0] for cell in self.cells.values()))
            for resources, group in waiting.items():
                before = [self._submit(resources, group, before)]

    def _adopt(self, jobs: Jobs, new: Sequence[Job]) -> None:
        """Take over the jobs of an earlier command, and drop the notes that are no longer needed.

        Those that wait with another request than this command's are cancelled, so that they are submitted again.
        """
        wanted, whole = {job.key: job for job in new}, []
        for note in notes.read(self.folder):
            if all(note.cells.values()):
                whole.append(note)
            else:  # killed while it submitted: nobody knows which job is which cell
                self.queue.cancel(self.queue.named(note.name))
                notes.write(self.folder, dataclasses.replace(note, cells={}))
        ids = [id_ for note in whole for id_ in note.cells.values()]
        states = self._states(ids)
        outdated = self._outdated(wanted, whole, states)
        if outdated:
            self.queue.cancel(outdated, waiting_only=True)
            states = self._states(ids)  # one may have started by now, and is taken over
            outdated = [id_ for id_ in outdated if states[id_].name == "CANCELLED"]
        if outdated:
            jobs.note(
                f"{counted(len(outdated), 'job')} of an earlier command waited with another request: cancelled, and "
                "submitted again as this command requests."
            )
        for note in whole:
            kept = dict(note.cells)
            for key, id_ in note.cells.items():
                if key in self.cells:
                    continue  # of this sweep, which looks at its job itself
                done = record.find(self.folder.parent, key) is not None
                if id_ not in outdated and _is_unreported(read_status(self.folder, key), states[id_], done):
                    if key in wanted:
                        self.cells[key] = SlurmJob(wanted[key], id_)
                        continue
                    if not (done and states[id_].over):
                        continue  # of another sweep in this folder
                clear_status(self.folder, key)
                del kept[key]
            if kept != note.cells:
                notes.write(self.folder, dataclasses.replace(note, cells=kept))

    def _outdated(self, wanted: Mapping[str, Job], whole: Sequence[Note], states: Mapping[str, State]) -> list[str]:
        """Return the jobs of wanted cells that wait, and request something else than this command does."""
        return [
            id_
            for note in whole
            for key, id_ in note.cells.items()
            if key in wanted and key not in self.cells and states[id_].waits and note.request
            and note.request != request_of(self.keys, self._resources(wanted[key]))
        ]  # fmt: skip

    def _states(self, ids: Sequence[str]) -> dict[str, State]:
        """Return the states of jobs; raises where Slurm does not answer."""
        states = self.queue.states(ids) if ids else {}
        if states is None:
            raise AdbenchError("Slurm does not answer, so it is not known which cells run already. Try again later.")
        return states

    def _submit(self, resources: Resources, jobs: Sequence[Job], before: Sequence[str]) -> str:
        """Submit an array that begins when those of `before` have ended, and return its id.

        The note is written first, so that no job is lost when the command is killed in between.
        """
        for job in jobs:
            clear_status(self.folder, job.key)
        note = Note({job.key: "" for job in jobs}, request_of(self.keys, resources))
        with _delayed_interrupts():
            notes.write(self.folder, note)
            try:
                ids = self.submit(self.folder, self.keys, resources, note.name, self.workers, jobs, before)
            except AdbenchError:
                notes.write(self.folder, dataclasses.replace(note, cells={}))
                raise
            self.cells |= {job.key: SlurmJob(job, id_) for job, id_ in zip(jobs, ids, strict=True)}
            notes.write(self.folder, dataclasses.replace(note, cells={job.key: self.cells[job.key].id for job in jobs}))
        return ids[0].partition("_")[0]

    def _read_statuses(self, jobs: Jobs) -> None:
        """Read the status files that the cells write to the shared folder."""
        there = set(os.listdir(self.folder))
        for key, cell in [(key, cell) for key, cell in self.cells.items() if f"{key}.json" in there]:
            status = read_status(self.folder, key)
            if status is not None and status.ended:
                cell.over_since = cell.over_since or time.monotonic()
                if status.failure or arrived(cell.job) or time.monotonic() - cell.over_since > self.record_timeout:
                    self._finish(jobs, cell, status.failure)
            elif status is not None and status.stage != cell.stage:
                cell.stage = status.stage
                jobs.stage(cell.job, status.stage)

    def _poll(self, jobs: Jobs) -> None:
        """Ask Slurm for the state of the jobs whose status file does not say that they ended."""
        before = {key: read_status(self.folder, key) for key in self.cells}
        states = self.queue.states([cell.id for cell in self.cells.values()])
        if states is None:
            return
        self._note_waiting(jobs, states)
        for key, cell in list(self.cells.items()):
            status, state = read_status(self.folder, key), states[cell.id]
            if status is not None and status.ended:
                continue  # `_read_statuses` takes it next time
            if state.over:
                self._ended_by_slurm(jobs, cell, state, status)
            elif state.waits and status is not None and status == before[key]:
                # Its machine was lost and Slurm puts it on another one: the status is that of the lost process.
                clear_status(self.folder, key)
                cell.stage = QUEUED
                jobs.stage(cell.job, QUEUED)
            elif not state.waits and cell.stage == QUEUED:
                cell.stage = "starting"
                jobs.stage(cell.job, "starting")

    def _note_waiting(self, jobs: Jobs, states: Mapping[str, State]) -> None:
        """Say once for each job why Slurm does not start it, where that does not pass by itself."""
        before, self.waits = self.waits, {}
        new: dict[str, list[str]] = {}
        for cell in self.cells.values():
            reason = reasons.lasting(states[cell.id].reason) if states[cell.id].waits else None
            if reason is None:
                continue
            self.waits[cell.id] = reason
            # In the first second of a job Slurm may give a reason that is not the one it then keeps.
            if before.get(cell.id) == reason and (cell.id, reason) not in self.noted:
                self.noted.add((cell.id, reason))
                new.setdefault(reason, []).append(cell.id)
        if not self.stopping:  # Ctrl-C has cancelled them
            for reason, ids in new.items():
                jobs.note(reasons.sentence(reason, ids))

    def _ended_by_slurm(self, jobs: Jobs, cell: SlurmJob, state: State, status: Status | None) -> None:
        key = cell.job.key
        if self.stopping and state.name == "CANCELLED" and status is None:
            del self.cells[key]
            notes.drop(self.folder, key, cell.id)
            jobs.put_back(cell.job)
            return
        if state.name in NO_REASON and self.keys.cluster == "slurm":
            cell.over_since = cell.over_since or time.monotonic()
            if not cell.job.config.force and record.find(self.folder.parent, key) is not None:
                self._finish(jobs, cell, None)  # another command read the last status before this one did
                return
            if time.monotonic() - cell.over_since < self.record_timeout:
                return
        self._finish(jobs, cell, state.failure(cell.id, notes.last_lines(self.folder, cell.id)))

    def _finish(self, jobs: Jobs, cell: SlurmJob, failure: Failure | None) -> None:
        del self.cells[cell.job.key]
        jobs.finished(cell.job, failure)
        clear_status(self.folder, cell.job.key)
        notes.drop(self.folder, cell.job.key, cell.id)


def _is_unreported(status: Status | None, state: State, done: bool) -> bool:
    """Whether an earlier command's job runs, or ended with an error, a record or a reason that nobody has reported."""
    if status is not None and status.ended:
        return status.failure is not None or done
    return state.name not in NO_REASON


@contextlib.contextmanager
def _delayed_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block; processes started in it never receive it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit this, and no handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        for number in received:
            signal.raise_signal(number)
