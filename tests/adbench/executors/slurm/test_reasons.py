"""Why a job waits: what passes by itself, and what does not."""

from __future__ import annotations

import re

import pytest

from adbench.config import layers
from adbench.executors.slurm.keys import SlurmKeys
from adbench.executors.slurm.reasons import LASTING, lasting, sentence


@pytest.mark.parametrize(
    "reason",
    [
        "", "None", "Priority", "Resources", "Dependency", "JobArrayTaskLimit", "BeginTime", "Licenses", "Cleaning",
        "QOSMaxJobsPerUserLimit", "QOSMaxCpuPerUserLimit", "QOSGrpCpuLimit", "AssocGrpCPUMinutesLimit",
        "AssocMaxJobsLimit", "MaxCpuPerAccount", "QOSJobLimit",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
    ],
)  # fmt: skip
def test_what_passes_by_itself_is_not_said(reason: str) -> None:
    assert lasting(reason) is None


@pytest.mark.parametrize(
    ("reason", "keys"),
    [
        ("PartitionTimeLimit", ["time", "partition"]),
        ("PartitionNodeLimit", ["partition"]),
        ("PartitionConfig", ["cpus", "memory", "gpus", "partition"]),
        ("PartitionDown", ["partition"]),
        ("PartitionInactive", ["partition"]),
        ("BadConstraints", ["constraint", "cpus", "memory", "gpus", "partition"]),
        ("AccountNotAllowed", ["account", "partition"]),
        ("InvalidAccount", ["account"]),
        ("InvalidQOS", ["qos"]),
        ("QOSMaxCpuPerJobLimit", ["cpus", "qos"]),
        ("QOSMaxCpuPerNode", ["cpus", "qos"]),
        ("QOSMaxCpuMinutesPerJobLimit", ["time", "cpus", "qos"]),
        ("QOSMaxMemoryPerJob", ["memory", "qos"]),
        ("QOSMaxGRESPerJob", ["gpus", "qos"]),
        ("QOSMaxWallDurationPerJobLimit", ["time", "qos"]),
        ("QOSMinCpuNotSatisfied", ["cpus", "qos"]),
        ("AssocMaxWallDurationPerJobLimit", ["time", "account"]),
        ("AssocMaxCpuPerJobLimit", ["cpus", "account"]),
        ("AssocMaxNodePerJobLimit", ["account"]),
        ("DependencyNeverSatisfied", ["options.dependency"]),
        ("Reservation", ["options.reservation"]),
        ("ReqNodeNotAvail, UnavailableNodes:node[7-9]", ["time", "constraint", "partition", "options.nodelist"]),
    ],
)
def test_what_does_not_pass_names_the_keys_to_change(reason: str, keys: list[str]) -> None:
    name = lasting(reason)
    assert name is not None
    text = sentence(name, ["7_0"])
    assert text.startswith("Slurm does not start job 7_0: ")
    assert f"({name})" in text
    assert re.findall(r"slurm\.([a-z.]+)=", text) == keys


def test_a_job_that_is_held_is_released() -> None:
    for reason in ("JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue"):
        assert lasting(reason) == reason
        assert "`scontrol release 7_0` lets it go on" in sentence(reason, ["7_0"])
    assert "`scontrol release 7,8` lets them go on" in sentence("JobHeldUser", ["7_0", "7_1", "8_3"])


def test_every_key_that_is_named_is_one() -> None:
    keys = vars(layers.executor_keys(SlurmKeys, "slurm"))
    for _, todo in LASTING.values():
        assert {name.partition(".")[0] for name in re.findall(r"slurm\.([a-z.]+)=", todo)} <= set(keys)
