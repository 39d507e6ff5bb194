"""Job queues: the states of jobs, and cancelling them, in Slurm or among submitit's local processes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adbench.errors import AdbenchError
from adbench.executors import Failure

# https://slurm.schedmd.com/squeue.html, "JOB STATE CODES"; every other state is final.
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}
ADVICE = {
    "TIMEOUT": "slurm.time= gives it more time",
    "DEADLINE": "slurm.time= gives it more time",
    "OUT_OF_MEMORY": "slurm.memory= gives it more memory",
    "CANCELLED": "somebody cancelled it; the same command tries it again",
    "FAILED": "see its last lines",
}


@dataclass(frozen=True)
class State:
    """A job's state and Slurm's reason for it; `GONE`: Slurm no longer knows the job."""

    name: str
    reason: str = ""

    @property
    def waits(self) -> bool:
        """Whether it waits to start, or to start again."""
        return self.name in WAITING

    @property
    def over(self) -> bool:
        """Whether it has ended, for whatever reason."""
        return self.name not in WAITING | RUNNING

    def failure(self, job: str, lines: Sequence[str]) -> Failure:
        """Return why the cell has no record; `lines` are the last that its process wrote."""
        # slurmstepd's message says more than the state where Slurm, not the kernel, limits the memory.
        messages = [line.partition("error:")[2].strip(" *") for line in lines if line.startswith("slurmstepd")]
        reason = messages[0] if messages else self.reason
        reason = "" if reason in ("", "None", self.name) else f" ({reason})"
        name = "OUT_OF_MEMORY" if any("memory limit" in line or "oom" in line for line in messages) else self.name
        advice = ADVICE.get(name, "the same command tries it again")
        if self.name in ("COMPLETED", "GONE"):
            text = f"job {job} is over, and left neither a record nor an error where this machine sees it; {advice}"
        else:
            text = f"Slurm ended job {job}{reason}; {advice}"
        return Failure(name, text, tuple(lines), foreseen=True)


GONE = State("GONE")


class Queue(Protocol):
    """Where the states of jobs are read, and where jobs are cancelled."""

    def states(self, jobs: Sequence[str]) -> dict[str, State] | None:
        """Return the state of each job; None while Slurm does not answer."""
        ...

    def named(self, name: str) -> list[str]:
        """Return the ids of the jobs of this name that wait or run."""
        ...

    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        """Cancel jobs, or only those that wait; they end a moment later."""
        ...


class SlurmQueue:
    """Slurm's own commands."""

    def states(self, jobs: Sequence[str]) -> dict[str, State] | None:
        """Ask squeue, which forgets jobs minutes after their end, then sacct, where the cluster keeps accounts."""
        answer = _ask("squeue", "--me", "--array", "--states=all", "--noheader", "--format=%i|%T|%r")
        if answer is None:
            return None
        states = _states(answer)
        missing = sorted(set(jobs) - set(states))
        if missing:
            accounts = _ask("sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(missing))
            states = _states(accounts or "") | states
        # An array whose waiting jobs were cancelled has one line left, with the array's own id.
        return {job: states.get(job) or states.get(job.partition("_")[0], GONE) for job in jobs}

    def named(self, name: str) -> list[str]:
        """Ask squeue."""
        answer = _ask("squeue", "--me", "--noheader", f"--name={name}", "--format=%F")
        if answer is None:
            raise AdbenchError(
                "squeue does not answer, so it is not known whether cells run already. Try again when it does."
            )
        return sorted(set(answer.split()))

    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        """Call scancel."""
        if jobs:
            _ask("scancel", *(["--state=PENDING"] if waiting_only else []), *jobs)


def _states(table: str) -> dict[str, State]:
    """Read lines of `job|state|reason`; the state may go on, as in `CANCELLED by 1000`.

    >>> list(_states("7_[0-1,4%2]|CANCELLED by 1000"))
    ['7_0', '7_1', '7_4']
    """
    states = {}
    for line in table.splitlines():
        job, state, *rest = line.strip().split("|")
        array, _, tasks = job.partition("_[")
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", tasks.partition("%")[0]) or [("", "")]:
            for task in range(int(first or 0), int(last or first or 0) + 1):
                states[f"{array}_{task}" if tasks else job] = State(state.split()[0].rstrip("+"), (*rest, "")[0])
    return states


def _ask(*command: str) -> str | None:
    """Return what a command of Slurm prints, None where it fails; it does not receive Ctrl-C."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


class LocalQueue:
    """Processes of this machine, by their ids."""

    def states(self, jobs: Sequence[str]) -> dict[str, State] | None:
        """Look up the processes."""
        return {job: State("RUNNING") if _runs(job) else GONE for job in jobs}

    def named(self, name: str) -> list[str]:
        """Return none: a process whose submission was cut short finds nothing to do and ends by itself."""
        return []

    def cancel(self, jobs: Sequence[str], waiting_only: bool = False) -> None:
        """End them by SIGTERM, at which submitit ends the process of the cell, then by SIGKILL."""
        living = [job for job in jobs if _runs(job)] if not waiting_only else []
        for number in (signal.SIGTERM, signal.SIGKILL):
            for job in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(job), number)
            deadline = time.monotonic() + 5
            while any(map(_runs, living)) and time.monotonic() < deadline:
                time.sleep(0.05)


def _runs(job: str) -> bool:
    # An empty command line is that of a process whose program is being loaded, or of one that has ended and that nobody
    # waited for, which has no program any more.
    process = Path("/proc", job)
    try:
        line = (process / "cmdline").read_bytes()
        return b"submitit" in line if line else bool((process / "exe").readlink())
    except OSError:
        return False
