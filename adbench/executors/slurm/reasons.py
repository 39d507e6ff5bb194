"""Slurm's reasons why a job waits: those that don't pass by themselves, and what to do about them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# https://slurm.schedmd.com/job_reason_codes.html: the keys to change, or what else to do. All other reasons pass when
# other jobs end, as Priority and Resources do.
SIZE = "slurm.cpus= (or cores=), slurm.memory=, slurm.gpus= or slurm.partition="
RESERVATION = "the reservation has not begun or is over", "slurm.options.reservation="
LASTING = {
    "PartitionTimeLimit": ("the partition does not allow so much time", "slurm.time= or slurm.partition="),
    "PartitionNodeLimit": ("the partition does not allow a job of one node", "slurm.partition="),
    "PartitionConfig": ("no node of the partition is large enough", SIZE),
    "PartitionDown": ("the partition starts no jobs", "slurm.partition="),
    "PartitionInactive": ("the partition is inactive", "slurm.partition="),
    "BadConstraints": ("no node is as requested", f"slurm.constraint=, {SIZE}"),
    "AccountNotAllowed": ("the account may not use the partition", "slurm.account= or slurm.partition="),
    "InvalidAccount": ("the account is not known", "slurm.account="),
    "InvalidQOS": ("the QOS is not known", "slurm.qos="),
    "QOSNotAllowed": ("the QOS is not allowed here", "slurm.qos=, slurm.account= or slurm.partition="),
    "MaxMemPerLimit": ("so much memory for each core is not allowed", "slurm.memory= or slurm.cpus="),
    "DependencyNeverSatisfied": ("a job to wait for did not end as required", "slurm.options.dependency="),
    "Reservation": RESERVATION,
    "ReservationDeleted": RESERVATION,
    "ReqNodeNotAvail": (
        "the nodes are down, or reserved for a time before the end of the job",
        "slurm.time=, slurm.constraint=, slurm.partition= or slurm.options.nodelist=",
    ),
    "JobHeldUser": ("held by a user", ""),
    "JobHeldAdmin": ("held by the cluster or its administrators", ""),
    "JobHoldMaxRequeue": ("held after too many starts", ""),
}
LIMIT = re.compile(r"(QOS|Assoc)(Max\w+Per(Job|Node)(Limit)?|Min\w+)")
LIMITED = {"Wall|Minutes": "slurm.time=", "Cpu|CPU": "slurm.cpus=", "Mem": "slurm.memory=", "GRES": "slurm.gpus="}


def lasting(reason: str) -> str | None:
    """Return the name of a reason that does not pass by itself, without what Slurm adds to it; none for others.

    >>> lasting("ReqNodeNotAvail, UnavailableNodes:node7"), lasting("QOSMaxCpuPerJobLimit"), lasting("Priority")
    ('ReqNodeNotAvail', 'QOSMaxCpuPerJobLimit', None)
    """
    name = re.match(r"\w*", reason)[0]  # type: ignore[index]
    return name if name in LASTING or LIMIT.fullmatch(name) else None


def sentence(reason: str, jobs: Sequence[str]) -> str:
    """Return why Slurm does not start some jobs, and what to do; `reason` is one of `lasting`.

    >>> sentence("JobHeldUser", ["7_0", "7_1"])
    'Slurm does not start 2 jobs, 7_0 the first: held by a user (JobHeldUser). `scontrol release 7` lets them go on.'
    """
    what, keys = LASTING.get(reason) or _limit(reason)
    if len(jobs) == 1:
        which, them, held = f"job {jobs[0]}", "it", jobs[0]
    else:
        which, them = f"{len(jobs)} jobs, {jobs[0]} the first", "them"
        held = ",".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
    todo = f"Press Ctrl-C, and change {keys}" if keys else f"`scontrol release {held}` lets {them} go on"
    return f"Slurm does not start {which}: {what} ({reason}). {todo}."


def _limit(reason: str) -> tuple[str, str]:
    """Return what a limit of a QOS or of an account says, and the keys to change."""
    owner, key = ("QOS", "slurm.qos=") if reason.startswith("QOS") else ("account", "slurm.account=")
    keys = [name for words, name in LIMITED.items() if re.search(words, reason)]
    return f"the {owner} does not allow a job of this size", " or ".join([*keys, key])
