"""The keys `ray.X=`, and which of their values are possible."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adbench.errors import AdbenchError

WITH_KEY = {"CPU": "cores=", "GPU": "ray.gpus="}  # resources of Ray that a cell requests by keys of their own
OWN = ("memory", "object_store_memory")


@dataclass
class RayKeys:
    """The keys `ray.X=`: see configs/executor/ray.yaml."""

    address: str | None = None
    gpus: float | None = None
    resources: dict[str, float] | None = None


def check_keys(keys: RayKeys) -> None:
    """Raise where Ray would take no such resource, or no such amount of it."""
    for name, amount in (keys.resources or {}).items():
        if name in WITH_KEY:
            raise AdbenchError(f"ray.resources.{name}= is not possible: give {WITH_KEY[name]} instead.")
        if name in OWN:
            raise AdbenchError(
                f"ray.resources.{name}= is not possible: a method declares the memory that a cell needs."
            )
        if not 0 < amount < math.inf or (amount > 1 and amount != int(amount)):
            raise AdbenchError(
                f"ray.resources.{name}={amount:g} is not possible: give a whole number, or a share between 0 and 1."
            )
