"""Slurm jobs: the submission of an array through submitit, and what each job runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adbench.errors import AdbenchError
from adbench.executors import Job
from adbench.executors.remote import Resources, run_job
from adbench.executors.slurm.keys import SlurmKeys, minutes, options_of
from adbench.system.session import Session


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
    options = options_of(keys)
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


def request_of(keys: SlurmKeys, resources: Resources) -> str:
    """Return a hash of what a job requests of Slurm: all of `parameters` but what names and orders its array."""
    requested = parameters(keys, resources, name="", workers=0)
    return hashlib.sha256(json.dumps(requested, sort_keys=True).encode()).hexdigest()[:16]


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
    r"""Return the reason in the messages of sbatch: its errors, else what it says of an option, else the last line.

    >>> _refusal("sbatch: unrecognized option '--nise=1'\nTry 'sbatch --help' for more information")
    "unrecognized option '--nise=1'"
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("Try ")]
    for mark in ("sbatch: error:", "sbatch:"):
        if reasons := [line.partition(mark)[2].strip() for line in lines if mark in line]:
            return "; ".join(dict.fromkeys(reasons)).rstrip(".")
    return "".join(lines[-1:]).rstrip(".")
