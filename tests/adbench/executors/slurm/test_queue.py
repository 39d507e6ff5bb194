"""What squeue and sacct print."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from adbench.errors import AdbenchError
from adbench.executors.slurm.queue import LocalQueue, SlurmQueue, State


def test_states_of_slurm_are_read(slurm_commands) -> None:
    slurm_commands(
        squeue="12_0|RUNNING|None\n12_1|TIMEOUT|TimeLimit\n9|CANCELLED|JobArrayTaskLimit\n9_0|COMPLETED|None\n",
        sacct="11_0|CANCELLED by 1000\n11_0.batch|CANCELLED\n8_[1-2,5%2]|CANCELLED by 1000\n",
    )
    states = SlurmQueue().states(["12_0", "12_1", "11_0", "10_5", "9_0", "9_3", "8_2", "8_5"])
    assert states == {
        "12_0": State("RUNNING", "None"), "12_1": State("TIMEOUT", "TimeLimit"), "11_0": State("CANCELLED"),
        "10_5": State("GONE"), "9_0": State("COMPLETED", "None"), "9_3": State("CANCELLED", "JobArrayTaskLimit"),
        "8_2": State("CANCELLED"), "8_5": State("CANCELLED"),
    }  # fmt: skip
    assert [states[job].over for job in ("12_0", "12_1", "11_0", "10_5")] == [False, True, True, True]
    slurm_commands(squeue=None)
    assert SlurmQueue().states(["12_0"]) is None, "no answer is not an end"
    with pytest.raises(AdbenchError, match="squeue does not answer"):
        SlurmQueue().named("x")


def test_a_local_process_runs_from_its_first_moment_to_its_end() -> None:
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", "'submitit'"])
        job = str(process.pid)
        first = LocalQueue().states([job])[job]  # mostly while its program is being loaded
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        waited_for_by_nobody = LocalQueue().states([job])[job]
        process.wait()
        assert [first.name, waited_for_by_nobody.name] == ["RUNNING", "GONE"]
    other = str(os.getpid())
    assert LocalQueue().states([other, job]) == {other: State("GONE"), job: State("GONE")}
