"""The keys `slurm.X=`, and the script that they make."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.executors import Job
from adbench.executors.remote import Resources
from adbench.executors.slurm import Slurm, submit


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("slurm.partition=gpu", "slurm.partition= is for executor=slurm, and this is executor=local"),
        ("executor=slurm slurm.partitoin=gpu", "unknown key 'partitoin' for executor=slurm: did you mean 'partition'"),
        ("executor=slurm slurm.cpus=two", "executor=slurm: cpus cannot be set"),
        ("executor=slurm ray.gpus=1", "ray.gpus= is for executor=ray"),
    ],
)
def test_slurms_keys_are_checked(words: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse(words.split())


@pytest.mark.usefixtures("needs_submitit")
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("slurm.time=soon", "slurm.time=soon is not possible: write minutes"),
        ("slurm.time=0", "slurm.time=0 is no time at all"),
        ("slurm.time=99999999999999999999", "slurm.time=99999999999999999999 is not possible: at most 3650 days"),
        ("slurm.memory=lots", "slurm.memory=lots is not possible: write a whole number and a unit"),
        ("slurm.memory=1.5G", "slurm.memory=1.5G is not possible"),
        ("slurm.memory=-8G", "slurm.memory=-8G is not possible"),
        ("slurm.gpus=-1", "slurm.gpus=-1 is not possible: give a whole number of GPUs"),
        ("slurm.cpus=1 cores=2", "slurm.cpus=1 is less than the 2 cores"),
        ("slurm.gpus=0 device=cuda", "slurm.gpus=0 leaves device=cuda without a GPU"),
        ("slurm.poll=0", "slurm.poll=0 is not possible"),
        ("slurm.array=0", "slurm.array=0 is not possible"),
        ("slurm.gpus=1 trainer.devices=2", "slurm.gpus=1 is less than trainer.devices=2"),
        ("slurm.gpus=1 device=cpu", "slurm.gpus=1 would keep GPUs from others that device=cpu does not use"),
        ("slurm.cluster=loacl", "slurm.cluster=loacl is not possible: did you mean 'local'"),
    ],
)
def test_values_that_cannot_be_are_refused_before_anything_runs(word: str, says: str) -> None:
    (run,) = config.parse(["executor=slurm", *word.split()])
    with pytest.raises(AdbenchError, match=says):
        Slurm(1, run)


@pytest.mark.usefixtures("needs_submitit", "slurm_commands")
@pytest.mark.parametrize("memory", ["8G", "8gb", "4096", "0", "512M"])
def test_the_memory_is_written_as_sbatch_reads_it(memory: str) -> None:
    (run,) = config.parse(["executor=slurm", f"slurm.memory={memory}"])
    keys = Slurm(1, run).keys
    assert submit.parameters(keys, Resources(1), "adbench", 1)["mem"] == memory


def test_without_sbatch_one_sentence_says_where_to_type(adbench, tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installed = ModuleType("submitit")
    installed.__spec__ = ModuleSpec("submitit", None)
    monkeypatch.setitem(sys.modules, "submitit", installed)
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "executor=slurm")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "finds no sbatch on this machine. Type the command on a login node" in answer.err
    monkeypatch.setitem(sys.modules, "submitit", None)
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "executor=slurm")
    assert "pip install 'adbench-medical[slurm]'" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("needs_submitit")
def test_the_header_of_the_script_has_what_was_requested(page_commands, slurm_commands) -> None:
    slurm_commands(sbatch="", srun="")
    (example,) = page_commands["slurm"]
    more = ["cores=4", "slurm.memory=8G", "slurm.account=lab", "slurm.options.nice=100"]
    run, *_ = config.parse([*example, *more, "slurm.setup=['module load cuda']"])
    job = Job("key", run, (), Path("log"), gpu_share=0.5, memory_gb=20)
    need = Slurm(3, run)._resources(job)
    assert need == Resources(4, 1, 20), "Slurm assigns whole GPUs"
    keys = layers.executor_keys(submit.SlurmKeys, run.executor, run.words(run.executor))
    header = submit.parameters(keys, need, "adbench-x", 3)
    wanted = {
        "partition": "gpu", "time": 90, "mem": "8G", "account": "lab", "cpus_per_task": 4, "gpus_per_node": 1,
        "array_parallelism": 3, "job_name": "adbench-x", "setup": ["module load cuda"],
        "additional_parameters": {"nice": "100"},
    }  # fmt: skip
    assert {key: header[key] for key in wanted} == wanted
    assert "qos" not in header, "what nobody asked for is left to the cluster"
    keys.memory = None
    header = submit.parameters(keys, need, "adbench-x", 3, ["12", "15"])
    assert header["mem"] == "20000M"
    assert header["additional_parameters"] == {"nice": "100", "dependency": "afterany:12:15"}
    keys.options = {"dependency": "afterok:7"}
    header = submit.parameters(keys, need, "adbench-x", 3, ["12"])
    assert header["additional_parameters"] == {"dependency": "afterany:12,afterok:7"}
    assert header["time"] is not None
