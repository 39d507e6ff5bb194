"""The executor `ray`: actors on the nodes of a Ray cluster, one for each cell that runs at a time.

Ray transports a cell's configuration to a worker and the reason of a failure back; records go into the shared folder
`runs`. When a node dies, its cell runs again on another node; when a worker's process dies, its cell has failed.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adbench._version import __version__
from adbench.config import layers
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import QUEUED, Failure, Job, Jobs
from adbench.executors.guests import guest, suits
from adbench.executors.ray.keys import RayKeys, check_keys
from adbench.executors.ray.worker import Location, Worker
from adbench.executors.remote import Resources, arrived, clear_status, read_status, resources_of
from adbench.records import record
from adbench.system.output import redirected_output

POLL_SECONDS = 0.5  # seconds between two looks at the status files of the cells
RECORD_TIMEOUT = 60.0  # seconds a record may take to appear here after another machine wrote it
NODE_TIMEOUT = 5.0  # seconds in which Ray reports that a node died, and not only a process on it
WORKER_TIMEOUT = 120.0  # seconds after which an unreachable worker is given up
TRIES = 3  # starts of a cell whose nodes die
MOST_FAILED_STARTS = 3  # workers in a row that end before their first cell


@dataclass
class WorkerSlot:
    """A worker as seen by the command, and its job; `guest`: the method of another package whose cells it has run."""

    actor: Any
    resources: Resources
    hello: Any
    location: Location | None = None
    job: Job | None = None
    guest: str | None = None
    answer: Any = None
    stage: str = ""


@dataclass
class LostJob:
    """A job whose worker is unreachable: either its node died or only its process."""

    slot: WorkerSlot
    job: Job
    reason: str
    ping: Any = None
    since: float = field(default_factory=time.monotonic)
    dead_since: float | None = None


class Ray:
    """Runs `workers` cells at a time on a Ray cluster, an existing one or one of this machine."""

    remote = True
    Keys = RayKeys

    def __init__(self, workers: int, config: RunConfig) -> None:
        self.workers = workers
        self.keys = layers.executor_keys(RayKeys, "ray", config.words("ray"))
        self.first = resources_of(config, self.keys.gpus)
        check_keys(self.keys)
        if find_spec("ray") is None:
            raise AdbenchError(
                "executor=ray needs the package ray, which is not installed: pip install 'adbench-medical[ray]'"
            )
        self.folder = Path(config.runs).absolute() / ".ray"
        self.mark = f"{uuid.uuid4().hex[:12]}.mark"
        self.connected = False
        self.slots: list[WorkerSlot] = []
        self.lost: list[LostJob] = []
        self.retries: deque[Job] = deque()
        self.unseen: list[tuple[Job, float]] = []
        self.starts: dict[str, int] = {}
        self.failed_starts = 0

    def warm_up(self) -> None:
        """Connect, and let the workers import torch and Lightning while this process does the same."""
        self._connect()
        self.slots += [self._start_worker(self.first) for _ in range(self.workers - len(self.slots))]

    def run(self, jobs: Jobs) -> None:
        """Run jobs until there is none. What Ray prints, of a lost node for instance, goes to `runs/logs/ray.log`."""
        self._connect()
        with self._quiet():
            self._run(jobs)

    def _run(self, jobs: Jobs) -> None:
        import ray

        while True:
            if jobs.stopped:
                self._put_back(jobs)
            self._hand_out(jobs)
            busy = [slot for slot in self.slots if slot.job is not None]
            if not (busy or self.lost or self.unseen):
                return
            awaited = [slot.answer if slot.location else slot.hello for slot in busy]
            ready = set(ray.wait(awaited, num_returns=1, timeout=POLL_SECONDS)[0]) if awaited else set()
            if not awaited:
                time.sleep(POLL_SECONDS)
            for slot, reference in zip(busy, awaited, strict=True):
                if reference in ready:
                    self._receive(jobs, slot, reference)
                elif slot.location and slot.job:
                    self._report_stage(jobs, slot, slot.job)
            for lost in list(self.lost):
                self._check_lost(jobs, lost)
            for job, since in list(self.unseen):
                if arrived(job) or time.monotonic() - since > RECORD_TIMEOUT:
                    self.unseen.remove((job, since))
                    self._finish(jobs, job, None)

    def close(self) -> None:
        """End all workers, and the cluster where this command started it."""
        if not self.connected:
            return
        import ray

        for slot in [*self.slots, *(lost.slot for lost in self.lost)]:
            self._end(slot)
            if slot.job is not None:
                clear_status(self.folder, slot.job.key)
        self.slots.clear()
        self.lost.clear()
        with self._quiet():
            ray.shutdown()
        self.connected = False
        (self.folder / self.mark).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another command's files are there
            self.folder.rmdir()

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Send the pages that Ray prints about its nodes to `ray.log`; an empty file is removed."""
        log = self.folder.parent / record.LOGS / "ray.log"
        try:
            with redirected_output(log, append=True, python_only=True):
                yield
        finally:
            if log.stat().st_size == 0:
                log.unlink()

    def _connect(self) -> None:
        if self.connected:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here reports to nobody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
        if self.keys.address is None:
            # As many workers as requested, whatever the machine has: as with local workers.
            cpus = max(os.cpu_count() or 1, self.workers * self.first.cpus)
            here: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 100_000_000}
            resources: dict[str, float] = {
                name: math.ceil(amount) for name, amount in (self.keys.resources or {}).items()
            }
            ray.init(address="local", resources=resources, **here, **quiet)
        else:
            try:
                _check_address(self.keys.address)
                ray.init(address=self.keys.address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise AdbenchError(
                    f"ray.address={self.keys.address} leads to no Ray cluster: {_last_line(error)}. Give the address "
                    "that `ray start --head` printed, as in ray.address=10.0.0.1:6379, or leave it out to start one "
                    "here."
                ) from error
        self.connected = True
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / self.mark).touch()

    def _start_worker(self, resources: Resources) -> WorkerSlot:
        """Start a worker; Ray places it on a node with free resources, now or later."""
        import ray

        self._check_room(resources)
        options = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "resources": self.keys.resources,
            "max_restarts": 0,
        }
        if resources.memory_gb:
            options["memory"] = int(resources.memory_gb * 1e9)
        cache = os.environ.get("ADBENCH_CACHE")
        folders = str(Path.cwd()), str(self.folder), self.mark
        actor: Any = ray.remote(Worker).options(**options).remote(*folders, __version__, cache, resources.gpus)
        return WorkerSlot(actor, resources, actor.hello.remote())

    def _check_room(self, resources: Resources) -> None:
        wanted = {"CPU": resources.cpus, "GPU": resources.gpus, **(self.keys.resources or {})}
        wanted |= {"memory": resources.memory_gb * 1e9} if resources.memory_gb else {}
        nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
            available = "; ".join(
                ", ".join(f"{node[name]:g} {name}" for name in (*wanted, "CPU", "GPU") if name in node)
                for node in nodes
            )
            raise AdbenchError(
                f"no node of the Ray cluster has what each cell requests, {resources}"
                + "".join(f", {amount:g} {name}" for name, amount in (self.keys.resources or {}).items())
                + f". Its nodes have: {available}. Change cores=, ray.gpus= or ray.resources=, or add a node."
            )

    def _hand_out(self, jobs: Jobs) -> None:
        while sum(slot.job is not None for slot in self.slots) + len(self.lost) < self.workers:
            job = self.retries.popleft() if self.retries else jobs.next()
            if job is None:
                # A worker without a job occupies resources for which another command's job may be waiting.
                for slot in [slot for slot in self.slots if slot.job is None]:
                    self._retire(slot)
                return
            slot = self._free(resources_of(job.config, self.keys.gpus, job=job), job)
            slot.job, slot.guest, slot.stage = job, guest(job), "starting" if slot.location else QUEUED
            jobs.stage(job, slot.stage)
            clear_status(self.folder, job.key)
            self.starts[job.key] = self.starts.get(job.key, 0) + 1
            slot.answer = slot.actor.run_job.remote(job)

    def _free(self, resources: Resources, job: Job) -> WorkerSlot:
        idle = sorted((slot for slot in self.slots if slot.job is None), key=lambda slot: slot.guest is None)
        fitting = [slot for slot in idle if slot.resources == resources and suits(slot.guest, job)]
        if fitting:
            return fitting[0]
        if len(self.slots) + len(self.lost) >= self.workers and idle:
            self._retire(idle[0])
        self.slots.append(self._start_worker(resources))
        return self.slots[-1]

    def _receive(self, jobs: Jobs, slot: WorkerSlot, reference: Any) -> None:
        """Take the answer of a worker: to `hello`, or the result of its job."""
        import ray

        job = slot.job
        assert job is not None
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayActorError as error:
            self._lose(slot, job, error)
            return
        except ray.exceptions.RayError as error:  # an error outside `perform`
            self._retire(slot)
            self._finish(jobs, job, Failure("WorkerDied", f"its worker failed: {_last_line(error)}"))
            return
        if isinstance(answer, str):
            raise AdbenchError(f"{answer}.")
        if isinstance(answer, Location):
            slot.location, self.failed_starts = answer, 0
            return
        slot.job = None
        if answer is not None and not answer.foreseen:
            self._retire(slot)  # an unforeseen error may have left it in a state that changes other cells' results
        if answer is None and not arrived(job):
            self.unseen.append((job, time.monotonic()))
        else:
            self._finish(jobs, job, answer)

    def _report_stage(self, jobs: Jobs, slot: WorkerSlot, job: Job) -> None:
        status = read_status(self.folder, job.key)
        name = status.stage if status is not None and not status.ended else "starting"
        if name != slot.stage:
            slot.stage = name
            jobs.stage(job, name)

    def _lose(self, slot: WorkerSlot, job: Job, error: Exception) -> None:
        self.slots.remove(slot)
        if slot.location is None:
            self.failed_starts += 1
            if self.failed_starts == MOST_FAILED_STARTS:
                self.lost.append(LostJob(slot, job, ""))  # for `close`
                raise AdbenchError(
                    f"{MOST_FAILED_STARTS} workers in a row ended before their first cell: {_last_line(error)}."
                )
        self.lost.append(LostJob(slot, job, _last_line(error)))

    def _check_lost(self, jobs: Jobs, lost: LostJob) -> None:
        """Restart a job whose node died; let it fail where only its process died."""
        import ray

        now, location = time.monotonic(), lost.slot.location
        if lost.dead_since is None:
            # The worker may be unreachable for a moment only; Ray answers when it knows.
            lost.ping = lost.ping or lost.slot.actor.hello.remote()
            unreachable = now - lost.since > WORKER_TIMEOUT
            try:
                if not unreachable and not ray.wait([lost.ping], timeout=0)[0]:
                    return
                if not unreachable:
                    ray.get(lost.ping)
                self._end(lost.slot)  # it runs, but its answer is lost
                self._restart(jobs, lost)
                return
            except ray.exceptions.ActorUnavailableError:
                lost.ping = None
                return
            except ray.exceptions.RayError:
                lost.dead_since = now
        node_died = location is None or location.node in {node["NodeID"] for node in _nodes() if not node["Alive"]}
        if node_died:
            self._restart(jobs, lost)
        elif now - lost.dead_since > NODE_TIMEOUT:
            self.lost.remove(lost)
            self._finish(jobs, lost.job, Failure("WorkerDied", f"its worker ended: {lost.reason}"))

    def _restart(self, jobs: Jobs, lost: LostJob) -> None:
        self.lost.remove(lost)
        clear_status(self.folder, lost.job.key)
        if self.starts[lost.job.key] >= TRIES:
            text = f"{TRIES} nodes in a row were lost while it ran, the last with: {lost.reason}"
            self._finish(jobs, lost.job, Failure("NodeDied", text))
        else:
            self.retries.append(lost.job)
            jobs.stage(lost.job, QUEUED)

    def _put_back(self, jobs: Jobs) -> None:
        """After Ctrl-C: return the jobs that no worker has started."""
        for slot in [slot for slot in self.slots if slot.job is not None and slot.location is None]:
            assert slot.job is not None
            self._retire(slot)
            clear_status(self.folder, slot.job.key)
            jobs.put_back(slot.job)
        while self.retries:
            jobs.put_back(self.retries.popleft())

    def _finish(self, jobs: Jobs, job: Job, failure: Failure | None) -> None:
        jobs.finished(job, failure)
        clear_status(self.folder, job.key)

    def _retire(self, slot: WorkerSlot) -> None:
        self.slots.remove(slot)
        self._end(slot)

    def _end(self, slot: WorkerSlot) -> None:
        import ray

        with contextlib.suppress(Exception):  # the worker or the whole cluster has ended already
            ray.kill(slot.actor)


def _nodes() -> list[dict[str, Any]]:
    import ray

    return ray.nodes()  # type: ignore[no-untyped-call]


def _check_address(address: str) -> None:
    """Raise OSError where nothing listens at host:port; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _last_line(error: BaseException) -> str:
    """Return the most telling line of a long message by Ray: the last one that is not indented."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("\t", "  "))]
    return lines[-1].rstrip(".") if lines else type(error).__name__
