"""The executor `ray`: actors on the nodes of a Ray cluster, one for each cell that runs at a time.

Ray moves nothing but the words of a cell and, back, the reason of a failure; records go into the shared folder `runs`.
A cell whose node died runs again on another one; a cell whose own process died has failed, as with local workers.
"""

from __future__ import annotations

import contextlib
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
from adbench.executors.ray.worker import Place, Worker
from adbench.executors.remote import Resources, arrived, clear_status, read_status, resources_of
from adbench.records import record

POLL_SECONDS = 0.5  # seconds between two looks at the signs of the cells
RECORD_TIMEOUT = 60.0  # seconds until a record that another machine wrote must be seen here
NODE_TIMEOUT = 5.0  # seconds in which Ray tells that a whole node has gone and not one process of it
WORKER_TIMEOUT = 120.0  # seconds after which a worker that can't be reached is given up
TRIES = 3  # times that a cell is begun while nodes die under it
MOST_FAILED_STARTS = (
    3  # workers that end one after the other before their first cell: something is wrong with all of them
)


@dataclass
class Keys:
    """The keys `ray.X=`: see configs/executor/ray.yaml."""

    address: str | None = None
    gpus: float | None = None
    resources: dict[str, float] | None = None


@dataclass
class WorkerSlot:
    """A worker as the command sees it, and the job it has."""

    actor: Any
    need: Resources
    hello: Any
    place: Place | None = None
    job: Job | None = None
    answer: Any = None
    stage: str = ""


@dataclass
class LostJob:
    """A job whose worker can't be reached: did its node die, or only its process?"""

    seat: WorkerSlot
    job: Job
    reason: str
    ping: Any = None
    since: float = field(default_factory=time.monotonic)
    dead_since: float | None = None


class Ray:
    """Runs `workers` cells at a time on a Ray cluster, an existing one or one of this machine."""

    elsewhere = True
    Keys = Keys

    def __init__(self, workers: int, config: RunConfig) -> None:
        self.workers = workers
        self.keys = layers.executor_keys(Keys, "ray", config.words("ray"))
        self.first = resources_of(config, self.keys.gpus)
        if find_spec("ray") is None:
            raise AdbenchError(
                "executor=ray needs the package ray, which is not installed: pip install 'adbench-medical[ray]'"
            )
        self.folder = Path(config.runs).absolute() / ".ray"
        self.mark = f"{uuid.uuid4().hex[:12]}.mark"
        self.connected = False
        self.seats: list[WorkerSlot] = []
        self.lost: list[LostJob] = []
        self.again: deque[Job] = deque()
        self.late: list[tuple[Job, float]] = []
        self.begun: dict[str, int] = {}
        self.failed_starts = 0

    def warm_up(self) -> None:
        """Connect, and let the workers import torch and Lightning while this process does so too."""
        self._connect()
        self.seats += [self._seat(self.first) for _ in range(self.workers - len(self.seats))]

    def run(self, jobs: Jobs) -> None:
        """Run jobs until there is none. What Ray says meanwhile, as of a lost node, goes to `runs/logs/ray.log`."""
        self._connect()
        with _prints_to(self.folder.parent / record.LOGS / "ray.log"):
            self._run(jobs)

    def _run(self, jobs: Jobs) -> None:
        import ray

        while True:
            if jobs.stopped:
                self._put_back(jobs)
            self._hand_out(jobs)
            busy = [seat for seat in self.seats if seat.job is not None]
            if not (busy or self.lost or self.late):
                return
            awaited = [seat.answer if seat.place else seat.hello for seat in busy]
            ready = set(ray.wait(awaited, num_returns=1, timeout=POLL_SECONDS)[0]) if awaited else set()
            if not awaited:
                time.sleep(POLL_SECONDS)
            for seat, thing in zip(busy, awaited, strict=True):
                if thing in ready:
                    self._hear(jobs, seat, thing)
                elif seat.place and seat.job:
                    self._tell_stage(jobs, seat, seat.job)
            for one in list(self.lost):
                self._judge(jobs, one)
            for job, since in list(self.late):
                if arrived(job) or time.monotonic() - since > RECORD_TIMEOUT:
                    self.late.remove((job, since))
                    self._finish(jobs, job, None)

    def close(self) -> None:
        """End all workers, and the cluster where this command started it."""
        if not self.connected:
            return
        import ray

        for seat in [*self.seats, *(one.seat for one in self.lost)]:
            self._end(seat)
            if seat.job is not None:
                clear_status(self.folder, seat.job.key)
        self.seats.clear()
        self.lost.clear()
        with _prints_to(self.folder.parent / record.LOGS / "ray.log"):
            ray.shutdown()
        self.connected = False
        (self.folder / self.mark).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another command's signs are there
            self.folder.rmdir()

    def _connect(self) -> None:
        if self.connected:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here reports to nobody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
        if self.keys.address is None:
            # As many workers as asked for, whatever the machine has: as with local workers.
            cpus = max(os.cpu_count() or 1, self.workers * self.first.cpus)
            own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": 100_000_000}
            ray.init(address="local", resources=self.keys.resources, **own, **quiet)
        else:
            try:
                _knock(self.keys.address)
                ray.init(address=self.keys.address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise AdbenchError(
                    f"ray.address={self.keys.address} leads to no Ray cluster: {_line(error)}. Give the address that "
                    "`ray start --head` printed, as in ray.address=10.0.0.1:6379, or leave it out to start one here."
                ) from error
        self.connected = True
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / self.mark).touch()

    def _seat(self, need: Resources) -> WorkerSlot:
        """Start a worker; Ray places it where there is room, now or later."""
        import ray

        self._check_room(need)
        options = {"num_cpus": need.cpus, "num_gpus": need.gpus, "resources": self.keys.resources, "max_restarts": 0}
        if need.memory_gb:
            options["memory"] = int(need.memory_gb * 1e9)
        cache = os.environ.get("ADBENCH_CACHE")
        where = str(Path.cwd()), str(self.folder), self.mark
        actor: Any = ray.remote(Worker).options(**options).remote(*where, __version__, cache, need.gpus)
        return WorkerSlot(actor, need, actor.hello.remote())

    def _check_room(self, need: Resources) -> None:
        asked = {"CPU": need.cpus, "GPU": need.gpus, **(self.keys.resources or {})}
        asked |= {"memory": need.memory_gb * 1e9} if need.memory_gb else {}
        nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in nodes):
            has = "; ".join(
                ", ".join(f"{node[name]:g} {name}" for name in (*asked, "CPU", "GPU") if name in node) for node in nodes
            )
            raise AdbenchError(
                f"no node of the Ray cluster has what each cell asks for, {need}"
                + "".join(f", {amount:g} {name}" for name, amount in (self.keys.resources or {}).items())
                + f". Its nodes have: {has}. Change threads=, ray.gpus= or ray.resources=, or add a node."
            )

    def _hand_out(self, jobs: Jobs) -> None:
        while sum(seat.job is not None for seat in self.seats) + len(self.lost) < self.workers:
            job = self.again.popleft() if self.again else jobs.next()
            if job is None:
                # A worker without a job holds its place on the cluster, for which another one's job may be waiting.
                for seat in [seat for seat in self.seats if seat.job is None]:
                    self._retire(seat)
                return
            seat = self._free(resources_of(job.config, self.keys.gpus, job=job))
            seat.job, seat.stage = job, "starting" if seat.place else QUEUED
            jobs.stage(job, seat.stage)
            clear_status(self.folder, job.key)
            self.begun[job.key] = self.begun.get(job.key, 0) + 1
            seat.answer = seat.actor.carry_out.remote(job)

    def _free(self, need: Resources) -> WorkerSlot:
        idle = [seat for seat in self.seats if seat.job is None]
        fitting = [seat for seat in idle if seat.need == need]
        if fitting:
            return fitting[0]
        if len(self.seats) + len(self.lost) >= self.workers and idle:
            self._retire(idle[0])
        self.seats.append(self._seat(need))
        return self.seats[-1]

    def _hear(self, jobs: Jobs, seat: WorkerSlot, thing: Any) -> None:
        """Take the answer of a worker: to the greeting, or what became of its job."""
        import ray

        job = seat.job
        assert job is not None
        try:
            answer = ray.get(thing)
        except ray.exceptions.RayActorError as error:
            self._lose(seat, job, error)
            return
        except ray.exceptions.RayError as error:  # what not even `perform` could catch
            self._retire(seat)
            self._finish(jobs, job, Failure("WorkerDied", f"its worker broke off: {_line(error)}"))
            return
        if isinstance(answer, str):
            raise AdbenchError(f"{answer}.")
        if isinstance(answer, Place):
            seat.place, self.failed_starts = answer, 0
            return
        seat.job = None
        if answer is not None and not answer.foreseen:
            self._retire(seat)  # an unforeseen error may have left it in a state that changes other cells' results
        if answer is None and not arrived(job):
            self.late.append((job, time.monotonic()))
        else:
            self._finish(jobs, job, answer)

    def _tell_stage(self, jobs: Jobs, seat: WorkerSlot, job: Job) -> None:
        sign = read_status(self.folder, job.key)
        name = sign.stage if sign is not None and not sign.ended else "starting"
        if name != seat.stage:
            seat.stage = name
            jobs.stage(job, name)

    def _lose(self, seat: WorkerSlot, job: Job, error: Exception) -> None:
        self.seats.remove(seat)
        if seat.place is None:
            self.failed_starts += 1
            if self.failed_starts == MOST_FAILED_STARTS:
                self.lost.append(LostJob(seat, job, ""))  # for `close`
                raise AdbenchError(
                    f"{MOST_FAILED_STARTS} workers in a row ended before their first cell: {_line(error)}."
                )
        self.lost.append(LostJob(seat, job, _line(error)))

    def _judge(self, jobs: Jobs, one: LostJob) -> None:
        """Decide whether a job is begun anew, for its node died, or has failed, for its process did."""
        import ray

        now, place = time.monotonic(), one.seat.place
        if one.dead_since is None:
            # The worker may just be out of reach; Ray answers when it knows.
            one.ping = one.ping or one.seat.actor.hello.remote()
            unreachable = now - one.since > WORKER_TIMEOUT
            try:
                if not unreachable and not ray.wait([one.ping], timeout=0)[0]:
                    return
                if not unreachable:
                    ray.get(one.ping)
                self._end(one.seat)  # it lives, and its answer is lost
                self._begin_anew(jobs, one)
                return
            except ray.exceptions.ActorUnavailableError:
                one.ping = None
                return
            except ray.exceptions.RayError:
                one.dead_since = now
        gone = place is None or place.node in {node["NodeID"] for node in _nodes() if not node["Alive"]}
        if gone:
            self._begin_anew(jobs, one)
        elif now - one.dead_since > NODE_TIMEOUT:
            self.lost.remove(one)
            self._finish(jobs, one.job, Failure("WorkerDied", f"its worker ended: {one.reason}"))

    def _begin_anew(self, jobs: Jobs, one: LostJob) -> None:
        self.lost.remove(one)
        clear_status(self.folder, one.job.key)
        if self.begun[one.job.key] >= TRIES:
            text = f"{TRIES} nodes in a row were lost while it ran, the last with: {one.reason}"
            self._finish(jobs, one.job, Failure("NodeDied", text))
        else:
            self.again.append(one.job)
            jobs.stage(one.job, QUEUED)

    def _put_back(self, jobs: Jobs) -> None:
        """After Ctrl-C: jobs that no worker has begun are given back."""
        for seat in [seat for seat in self.seats if seat.job is not None and seat.place is None]:
            assert seat.job is not None
            self._retire(seat)
            clear_status(self.folder, seat.job.key)
            jobs.put_back(seat.job)
        while self.again:
            jobs.put_back(self.again.popleft())

    def _finish(self, jobs: Jobs, job: Job, failure: Failure | None) -> None:
        jobs.finished(job, failure)
        clear_status(self.folder, job.key)

    def _retire(self, seat: WorkerSlot) -> None:
        self.seats.remove(seat)
        self._end(seat)

    def _end(self, seat: WorkerSlot) -> None:
        import ray

        with contextlib.suppress(Exception):  # it has ended already, or the whole cluster has
            ray.kill(seat.actor)


@contextlib.contextmanager
def _prints_to(log: Path) -> Iterator[None]:
    """Send what Ray prints of its nodes, pages of it, to a file; nothing printed leaves none."""
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        if log.stat().st_size == 0:
            log.unlink()


def _nodes() -> list[dict[str, Any]]:
    import ray

    return ray.nodes()  # type: ignore[no-untyped-call]


def _knock(address: str) -> None:
    """Raise OSError where nothing listens at host:port: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _line(error: BaseException) -> str:
    """Return the line of a long message of Ray's that says most: the last that isn't a hint where to look."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith(("\t", "  "))]
    return lines[-1].rstrip(".") if lines else type(error).__name__
