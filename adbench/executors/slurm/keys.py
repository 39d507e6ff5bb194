"""The keys `slurm.X=`, and which of their values are possible."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from adbench.errors import AdbenchError, did_you_mean
from adbench.system.text import cut

MOST_DAYS = 3650
MOST_CPUS = 4096  # more than any node has
MOST_POLL = 86400  # seconds

# Options of sbatch that have a key of their own, and those on which the jobs of adbench rely.
WITH_KEY = {
    "partition": "partition", "account": "account", "qos": "qos", "constraint": "constraint", "time": "time",
    "mem": "memory", "mem-per-cpu": "memory", "mem-per-gpu": "memory", "cpus-per-task": "cpus", "cpus-per-gpu": "cpus",
    "gpus": "gpus", "gpus-per-node": "gpus", "gpus-per-socket": "gpus", "gpus-per-task": "gpus",
}  # fmt: skip
OWN = (
    "array", "job-name", "output", "error", "open-mode", "wrap", "chdir", "nodes", "ntasks", "ntasks-per-node",
    "signal", "clusters", "wait", "quiet", "parsable", "test-only",
)  # fmt: skip


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
    if not 0 < keys.poll <= MOST_POLL:
        raise AdbenchError(
            f"slurm.poll={keys.poll:g} is not possible: give seconds, more than 0 and at most {MOST_POLL}, as in 15."
        )
    if keys.array < 1:
        raise AdbenchError(f"slurm.array={keys.array} is not possible: at least 1 job has to be submitted.")
    if keys.cpus is not None and keys.cpus > MOST_CPUS:
        raise AdbenchError(
            f"slurm.cpus={keys.cpus} is not possible: a cell runs on one node, and at most {MOST_CPUS} cores are taken."
        )
    if keys.time is not None:
        minutes(keys.time)
    if keys.memory is not None and not re.fullmatch(r"\d+([KMGT]B?)?", keys.memory, re.IGNORECASE):
        raise AdbenchError(
            f"slurm.memory={keys.memory} is not possible: write a whole number and a unit of K, M, G or T, as in 8G; "
            "without a unit sbatch counts megabytes."
        )
    for name, value in keys.options.items():
        _check_option(name, value)


def _check_option(name: str, value: object) -> None:
    """Raise where `slurm.options.NAME=VALUE` is no option of sbatch, or one that adbench sets or relies on."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise AdbenchError(f"slurm.options.{cut(name, 40)}= is not possible: write an option of sbatch, as in nice.")
    if not isinstance(value, str | int | float | None):
        raise AdbenchError(
            f"slurm.options.{name}= is not possible: give one value, as in 100; true for an option without a value."
        )
    # sbatch takes any beginning that is no other option: --arr for --array.
    found = next((own for own in (*WITH_KEY, *OWN) if own.startswith(name.replace("_", "-"))), None)
    if found in WITH_KEY:
        raise AdbenchError(f"slurm.options.{name}= is not possible: give slurm.{WITH_KEY[found]}= instead.")
    if found:
        raise AdbenchError(
            f"slurm.options.{name}= is not possible: the jobs of adbench rely on their own --{found}. Leave it out."
        )


def options_of(keys: SlurmKeys) -> dict[str, Any]:
    """Return the further options of sbatch: `true` is an option without a value, and false or null none at all.

    >>> options_of(SlurmKeys(options={"hold": "true", "nice": 0, "comment": None}))
    {'hold': True, 'nice': 0}
    """
    words = {"true": True, "false": None}
    options = {name: words.get(str(value).lower(), value) for name, value in keys.options.items()}
    return {name: value for name, value in options.items() if value is not None}


def minutes(text: str) -> int:
    """Read a time as sbatch does, into whole minutes, rounded up.

    >>> [minutes(text) for text in ("90", "90:30", "1:30:00", "1-12", "2-0:30")]
    [90, 91, 90, 2160, 2910]
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if not match:
        raise AdbenchError(
            f"slurm.time={text} is not possible: write minutes, as in 90, hours as in 1:30:00, or days and hours as in "
            "1-12."
        )
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None or len(numbers) == 3:  # hours first
        hours, mins, seconds = [*numbers, 0, 0][:3]
    else:
        hours, mins, seconds = 0, *[*numbers, 0][:2]
    total = ((int(days or 0) * 24 + hours) * 60 + mins) * 60 + seconds
    if total == 0:
        raise AdbenchError(f"slurm.time={text} is no time at all: at least 1 minute is needed.")
    if total > MOST_DAYS * 86400:
        raise AdbenchError(
            f"slurm.time={cut(text, 40)} is not possible: at most {MOST_DAYS} days, as in {MOST_DAYS}-0."
        )
    return -(-total // 60)
