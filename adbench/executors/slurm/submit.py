"""Slurm jobs: the keys `slurm.X=`, the submission of an array through submitit, and what each job runs."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adbench.errors import AdbenchError, did_you_mean
from adbench.executors import Job
from adbench.executors.remote import Resources, run_job
from adbench.executors.slurm.queue import minutes
from adbench.system.session import Session


@dataclass
class SlurmKeys:
    """The keys `slurm.X=`: see configs/executor/slurm.yaml."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str | None = None
    memory: str | None = None
    cpus: int | None = None
    gpus: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    array: int = 1000
    poll: float = 15.0
    cluster: str = "slurm"


def check_keys(keys: SlurmKeys) -> None:
    """Raise where the value of a key is not possible."""
    if keys.cluster not in ("slurm", "local"):
        raise AdbenchError(
            f"slurm.cluster={keys.cluster} is not possible: {did_you_mean(keys.cluster, ['slurm', 'local'])}"
        )
    if not keys.poll > 0:
        raise AdbenchError(f"slurm.poll={keys.poll:g} is not possible: give seconds, as in 15.")
    if keys.array < 1:
        raise AdbenchError(f"slurm.array={keys.array} is not possible: at least 1 job has to be submitted.")
    if keys.time is not None:
        minutes(keys.time)
    if keys.memory is not None and not re.fullmatch(r"\d+([KMGT]B?)?", keys.memory, re.IGNORECASE):
        raise AdbenchError(
            f"slurm.memory={keys.memory} is not possible: write a whole number and a unit of K, M, G or T, as in 8G; "
            "without a unit sbatch counts megabytes."
        )


def check_machine(keys: SlurmKeys) -> None:
    """Raise where submitit is not installed, or this machine has no Slurm."""
    if find_spec("submitit") is None:
        raise AdbenchError(
            "executor=slurm needs the package submitit, which is not installed: pip install 'adbench-medical[slurm]'"
        )
    if keys.cluster == "slurm" and (shutil.which("sbatch") is None or shutil.which("srun") is None):
        raise AdbenchError(
            "executor=slurm finds no sbatch on this machine. Type the command on a login node of your cluster, or add "
            "slurm.cluster=local to try it here without Slurm."
        )


def submit(
    folder: Path,
    keys: SlurmKeys,
    resources: Resources,
    name: str,
    workers: int,
    jobs: Sequence[Job],
    before: Sequence[str] = (),
) -> list[str]:
    """Submit one array and return the id of each job, in order; raises where Slurm refuses it.

    The array begins when those of `before` have ended.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    jobs_folder = folder / "jobs"
    jobs_folder.mkdir(parents=True, exist_ok=True)
    if keys.cluster == "local":
        executor: Any = submitit.LocalExecutor(jobs_folder)
        executor.update_parameters(timeout_min=minutes(keys.time or "365-0"))
    else:
        executor = submitit.SlurmExecutor(jobs_folder)
        executor.update_parameters(**parameters(keys, resources, name, workers, before))
    n, messages = len(jobs), io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):  # submitit copies sbatch's messages there
            submitted = executor.map_array(cell, jobs, [str(folder)] * n, [resources] * n)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise AdbenchError(
            f"sbatch refuses the jobs: {_refusal(messages.getvalue() + str(error))}. Change slurm.partition=, "
            "slurm.account= or what else it names (docs/clusters.md)."
        ) from error
    sys.stderr.write(messages.getvalue())  # a cluster's own remarks
    return [str(job.job_id) for job in submitted]


def parameters(
    keys: SlurmKeys, resources: Resources, name: str, workers: int, before: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the parameters that submitit writes into the header of the script for sbatch.

    >>> parameters(SlurmKeys(partition="gpu", time="1:30:00", memory="8G"), Resources(4), "adbench", 2)["time"]
    90
    """
    options = dict(keys.options)
    if before:
        dependencies = [f"afterany:{':'.join(before)}", str(options.get("dependency") or "")]
        options["dependency"] = ",".join(filter(None, dependencies))
    memory = f"{math.ceil(resources.memory_gb * 1000)}M" if resources.memory_gb else None
    header: dict[str, Any] = {
        "job_name": name,
        "partition": keys.partition,
        "account": keys.account,
        "qos": keys.qos,
        "constraint": keys.constraint,
        "time": minutes(keys.time) if keys.time else None,
        "mem": keys.memory or memory,
        "cpus_per_task": resources.cpus,
        "gpus_per_node": int(resources.gpus) or None,
        "array_parallelism": workers,
        "setup": keys.setup or None,
        "additional_parameters": options or None,
        "use_srun": False,  # one process: a job step of its own would add nothing
    }
    return {key: value for key, value in header.items() if value is not None or key == "time"}


def cell(job: Job, folder: str, resources: Resources) -> None:
    """Run one cell; this is what a job runs."""
    # A job that Slurm ends stays ended, with Slurm's reason: submitit would submit it again.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if not resources.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU that it did not request belongs to another job
    run_job(job, Path(folder), Session())


def _refusal(text: str) -> str:
    """Return the reason in the messages of sbatch."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line.partition("sbatch: error:")[2].strip() for line in lines if "sbatch: error:" in line]
    return "; ".join(dict.fromkeys(reasons or lines[-1:])).rstrip(".")
