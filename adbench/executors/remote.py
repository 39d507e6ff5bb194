"""Cells on other machines: what each asks for, and the one small file by which it tells how far it is.

The folder of records is shared by all machines. Its hidden folder `.ray` or `.slurm` takes the file of each cell that
runs; record and log go where they go with local workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.system.files import HOST, write_atomically
from adbench.system.session import Session


@dataclass(frozen=True)
class Resources:
    """What a cell asks for on its machine: CPU cores, GPUs (a fraction is a share of one), memory in gigabytes."""

    cpus: int
    gpus: float = 0
    memory_gb: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}"]
        parts += [f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}"] if self.gpus else []
        parts += [f"{self.memory_gb:g} GB"] if self.memory_gb else []
        return " and ".join(parts)


def resources_of(
    config: RunConfig, gpus: float | None = None, cpus: int | None = None, job: Job | None = None
) -> Resources:
    """Return what a cell asks for: a core for each thread, a GPU where `device=cuda`, as often as it has devices.

    `gpus` and `cpus` are what the user asks for instead; too little of either raises, as do GPUs for `device=cpu`.
    Of one device a method may declare that it needs a share only, and how much memory; `job` knows.

    >>> from adbench.config.words import parse
    >>> print(resources_of(parse(["threads=4", "device=cuda"])[0], gpus=0.25))
    4 CPUs and 0.25 GPU
    """
    devices = config.words("trainer").get("devices", 1)
    devices = devices if isinstance(devices, int) and devices > 0 else 1
    name, threads = config.executor, config.threads * devices
    if cpus is not None and cpus < threads:
        raise AdbenchError(
            f"{name}.cpus={cpus} is less than the {threads} threads of a cell. Leave it out, or raise it."
        )
    if gpus is not None and (gpus < 0 or not math.isfinite(gpus) or (gpus > 1 and gpus != int(gpus))):
        raise AdbenchError(f"{name}.gpus={gpus:g} is not possible: a share of one GPU as in 0.5, or a whole number.")
    if gpus == 0 and config.device == "cuda":
        raise AdbenchError(f"{name}.gpus=0 leaves device=cuda without a GPU. Leave {name}.gpus out, or use device=cpu.")
    if gpus and config.device == "cpu":
        raise AdbenchError(
            f"{name}.gpus={gpus:g} would keep GPUs from others that device=cpu does not use. Leave {name}.gpus out, or "
            "use device=cuda."
        )
    if gpus and gpus < devices and devices > 1:
        raise AdbenchError(
            f"{name}.gpus={gpus:g} is less than trainer.devices={devices}. Leave {name}.gpus out, or raise it."
        )
    own = 0.0 if config.device != "cuda" else devices if devices > 1 or job is None else job.gpu_share
    return Resources(cpus or threads, gpus if gpus is not None else own, job.memory_gb if job else None)


def note_of(config: RunConfig) -> str | None:
    """Return what to say of cells that will not see a GPU, though nothing in the words forbids one.

    >>> from adbench.config.words import parse
    >>> note_of(parse(["executor=ray"])[0])
    'device=auto asks the cluster for no GPU: the cells run on CPUs. device=cuda asks for one each.'
    """
    asked = config.overrides.get(config.executor, {}).get("gpus")
    if config.device != "auto" or asked not in (None, "null"):
        return None
    return "device=auto asks the cluster for no GPU: the cells run on CPUs. device=cuda asks for one each."


@dataclass(frozen=True)
class Status:
    """How far a cell is, and in which process; `ended` with or without a failure."""

    stage: str
    host: str = HOST
    pid: int = dataclasses.field(default_factory=os.getpid)
    ended: bool = False
    failure: Failure | None = None


def write_status(folder: Path, key: str, sign: Status) -> None:
    """Leave the sign of a cell for whoever watches."""
    write_atomically(folder / f"{key}.json", json.dumps(dataclasses.asdict(sign)).encode())


def read_status(folder: Path, key: str) -> Status | None:
    """Return the last sign of a cell, none where it has not begun."""
    try:
        content = json.loads((folder / f"{key}.json").read_bytes())
    except FileNotFoundError:
        return None
    if failure := content["failure"]:
        content["failure"] = Failure(**failure | {"trace": tuple(failure["trace"])})
    return Status(**content)


def clear_status(folder: Path, key: str) -> None:
    """Remove the sign of a cell, and what it left half-written where its process was ended."""
    sign = read_status(folder, key)
    if sign is not None and not sign.ended:
        for path in folder.parent.glob(f".{key}.{sign.host}.{sign.pid}.*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
    (folder / f"{key}.json").unlink(missing_ok=True)


def run_job(job: Job, folder: Path, session: Session) -> Failure | None:
    """Run a cell here, telling its stages; what it and its libraries print goes to its log."""
    from adbench.executors.work import perform

    write_status(folder, job.key, Status("starting"))
    with _printing_to(job.log):
        failure = perform(job, session, lambda name: write_status(folder, job.key, Status(name)))
    write_status(folder, job.key, Status("ended", ended=True, failure=failure))
    return failure


def arrived(job: Job) -> bool:
    """Whether a record (or the note of a failure) is there; the folder is listed first, which makes NFS look again."""
    runs = Path(job.config.runs)
    return runs.is_dir() and job.key in os.listdir(runs)


@contextlib.contextmanager
def _printing_to(log: Path) -> Iterator[None]:
    """Send what this process prints to a file within the block, from Python and from below it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as after, log.open("w", encoding="utf-8") as file:
        for stream in (1, 2):
            kept = os.dup(stream)
            after.callback(os.close, kept)
            after.callback(os.dup2, kept, stream)
            os.dup2(file.fileno(), stream)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield
        sys.stdout.flush()
        sys.stderr.flush()
