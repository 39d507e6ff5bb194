"""Remote cells: resource requests and status files.

All machines share the folder of records. A running cell writes its status to a small file in the hidden folder `.ray`
or `.slurm` there; its record and its log lie in the same places as with local workers.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.system.cores import AUTO
from adbench.system.files import HOST, discard, write_atomically
from adbench.system.output import redirected_output
from adbench.system.session import Session
from adbench.system.text import counted


@dataclass(frozen=True)
class Resources:
    """What a cell requests on its machine: CPU cores, GPUs (a fraction is a share of one), memory in gigabytes."""

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
    """Return what a cell requests: its `cores`, one with `auto`, and with `device=cuda` a GPU for each device.

    `gpus` and `cpus` replace these where the user gives them; raises where they are too few, and for GPUs with
    `device=cpu`. `job` holds what the method declares: the share of a GPU that is enough (on one device), and memory.

    >>> from adbench.config.words import parse
    >>> print(resources_of(parse(["cores=4", "device=cuda"])[0], gpus=0.25))
    4 CPUs and 0.25 GPU
    """
    devices = config.words("trainer").get("devices", 1)
    devices = devices if isinstance(devices, int) and devices > 0 else 1
    name = config.executor
    cores = devices if config.cores == AUTO else int(config.cores) * devices
    if cpus is not None and cpus < cores:
        raise AdbenchError(
            f"{name}.cpus={cpus} is less than the {counted(cores, 'core')} of a cell. Leave it out, or raise it."
        )
    if gpus is not None and not (0 <= gpus < math.inf and (gpus <= 1 or gpus == int(gpus))):
        share = "" if name == "slurm" else "a share of one GPU as in 0.5, or "
        raise AdbenchError(f"{name}.gpus={gpus:g} is not possible: give {share}a whole number of GPUs, 0 for none.")
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
    if gpus is None and config.device == "cuda":
        gpus = devices if devices > 1 or job is None else job.gpu_share
    return Resources(cpus or cores, gpus or 0.0, job.memory_gb if job else None)


def gpu_note(config: RunConfig) -> str | None:
    """Return a note where `device=auto` means that the cells will see no GPU; none where the user decided.

    >>> from adbench.config.words import parse
    >>> gpu_note(parse(["executor=ray"])[0])
    'device=auto asks the cluster for no GPU: the cells run on CPUs. device=cuda asks for one each.'
    """
    gpus = config.overrides.get(config.executor, {}).get("gpus")
    if config.device != "auto" or gpus not in (None, "null"):
        return None
    return "device=auto asks the cluster for no GPU: the cells run on CPUs. device=cuda asks for one each."


@dataclass(frozen=True)
class Status:
    """The stage of a cell and the process that runs it; `ended`: with or without a failure."""

    stage: str
    host: str = HOST
    pid: int = dataclasses.field(default_factory=os.getpid)
    ended: bool = False
    failure: Failure | None = None


def write_status(folder: Path, key: str, status: Status) -> None:
    """Write the status file of a cell."""
    write_atomically(folder / f"{key}.json", json.dumps(dataclasses.asdict(status)).encode())


def read_status(folder: Path, key: str) -> Status | None:
    """Return the last status of a cell, none where it has not begun; a damaged file is removed with a warning."""
    file = folder / f"{key}.json"
    try:
        content = json.loads(file.read_bytes())
        if failure := content["failure"]:
            content["failure"] = Failure(**failure | {"trace": tuple(failure["trace"])})
        return Status(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        discard(file, error)
        return None


def clear_status(folder: Path, key: str) -> None:
    """Remove the status file of a cell, and the temporary folders of its record where its process was killed."""
    status = read_status(folder, key)
    if status is not None and not status.ended:
        for path in folder.parent.glob(f".{key}.{status.host}.{status.pid}.*.tmp"):
            shutil.rmtree(path, ignore_errors=True)
            path.with_suffix(".lease").unlink(missing_ok=True)
    (folder / f"{key}.json").unlink(missing_ok=True)


def run_job(job: Job, folder: Path, session: Session) -> Failure | None:
    """Run a cell here and write its status at each stage; what it and its libraries print goes to its log."""
    from adbench.executors.work import perform

    write_status(folder, job.key, Status("starting"))
    with redirected_output(job.log):
        failure = perform(job, session, lambda name: write_status(folder, job.key, Status(name)))
    write_status(folder, job.key, Status("ended", ended=True, failure=failure))
    return failure


def arrived(job: Job) -> bool:
    """Whether a record, or that of a failure, is there; listing the folder first makes NFS look again."""
    runs = Path(job.config.runs)
    return runs.is_dir() and job.key in os.listdir(runs)
