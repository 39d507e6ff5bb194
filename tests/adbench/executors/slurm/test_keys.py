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
from adbench.executors.slurm.keys import SlurmKeys, check_keys


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
        ("slurm.cpus=4097", "slurm.cpus=4097 is not possible: a cell runs on one node, and at most 4096 cores"),
        ("slurm.poll=0", "slurm.poll=0 is not possible"),
        ("slurm.poll=inf", "slurm.poll=inf is not possible: give seconds, more than 0 and at most 86400"),
        ("slurm.poll=nan", "slurm.poll=nan is not possible"),
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


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("array=0-3", "slurm.options.array= is not possible: the jobs of adbench rely on their own --array"),
        ("job-name=x", "rely on their own --job-name"),
        ("job_name=x", "slurm.options.job_name= is not possible: the jobs of adbench rely on their own --job-name"),
        ("output=x", "rely on their own --output"),
        ("error=x", "rely on their own --error"),
        ("open-mode=truncate", "rely on their own --open-mode"),
        ("wrap=true", "rely on their own --wrap"),
        ("chdir=/", "rely on their own --chdir"),
        ("nodes=2", "rely on their own --nodes"),
        ("ntasks_per_node=2", "rely on their own --ntasks-per-node"),
        ("clusters=other", "rely on their own --clusters"),
        ("test-only=true", "rely on their own --test-only"),
        ("arra=0-3", "slurm.options.arra= is not possible: the jobs of adbench rely on their own --array"),
        ("time=5", "slurm.options.time= is not possible: give slurm.time= instead"),
        ("mem=1G", "slurm.options.mem= is not possible: give slurm.memory= instead"),
        ("mem-per-cpu=1G", "give slurm.memory= instead"),
        ("cpus_per_task=2", "slurm.options.cpus_per_task= is not possible: give slurm.cpus= instead"),
        ("cpus-per-task=2", "give slurm.cpus= instead"),
        ("gpus=1", "give slurm.gpus= instead"),
        ("gpus-per-node=1", "give slurm.gpus= instead"),
        ("gpus_per_task=1", "give slurm.gpus= instead"),
        ("partition=x", "give slurm.partition= instead"),
        ("account=x", "give slurm.account= instead"),
        ("qos=x", "give slurm.qos= instead"),
        ("constraint=x", "give slurm.constraint= instead"),
        ("nice=[1,2]", "slurm.options.nice= is not possible: give one value, as in 100; true for an option without"),
        ("nice.more=1", "slurm.options.nice= is not possible: give one value"),
        ("=1", "slurm.options.= is not possible: write an option of sbatch"),
    ],
)
def test_options_that_adbench_sets_itself_are_refused(option: str, says: str) -> None:
    (run,) = config.parse(["executor=slurm", f"slurm.options.{option}"])
    with pytest.raises(AdbenchError, match=says):
        Slurm(1, run)


def test_options_of_a_map_keep_their_numbers() -> None:
    (run,) = config.parse(["executor=slurm", "slurm.options={nice: 0, hold: true, requeue: false}"])
    keys = layers.executor_keys(SlurmKeys, "slurm", run.words("slurm"))
    assert submit.parameters(keys, Resources(1), "x", 1)["additional_parameters"] == {"nice": 0, "hold": True}


def test_an_option_cannot_hold_another_one() -> None:
    with pytest.raises(AdbenchError, match="write an option of sbatch, as in nice"):
        check_keys(SlurmKeys(options={"nice=1 --array": "0-3"}))


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("nice=100", "--nice=100"),
        ("nice=0", "--nice=0"),
        ("export=NONE", "--export=NONE"),
        ("hold=true", "--hold"),
        ("hold=false", None),
        ("requeue=true", "--requeue"),
        ("no_requeue=true", "--no-requeue"),
        ("mem-bind=local", "--mem-bind=local"),
        ("time-min=5", "--time-min=5"),
        ("wait-all-nodes=1", "--wait-all-nodes=1"),
        ("gres=shard:1", "--gres=shard:1"),
        ("dependency=afterok:7", "--dependency=afterok:7"),
        ("comment=null", None),
    ],
)
@pytest.mark.usefixtures("needs_submitit")
def test_all_other_options_are_written_as_sbatch_reads_them(option: str, line: str | None) -> None:
    from submitit.slurm.slurm import _make_sbatch_string

    def header(*words: str) -> set[str]:
        (run,) = config.parse(["executor=slurm", *words])
        keys = layers.executor_keys(SlurmKeys, "slurm", run.words("slurm"))
        check_keys(keys)
        parameters = submit.parameters(keys, Resources(1), "adbench", 1)
        return set(_make_sbatch_string("command", Path("folder"), **parameters).splitlines())

    assert header(f"slurm.options.{option}") - header() == ({f"#SBATCH {line}"} if line else set())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sbatch: unrecognized option '--nise=1'\nTry \"sbatch --help\" for more", "unrecognized option '--nise=1'"),
        ("sbatch: error: invalid partition\nsbatch: error: Batch job failed", "invalid partition; Batch job failed"),
        ("sbatch: hello from the cluster\nsbatch: error: no", "no"),
        ("a plain\nmessage.", "message"),
    ],
)
def test_the_line_of_sbatch_that_says_why_is_kept(text: str, says: str) -> None:
    assert submit._refusal(text) == says


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
    keys = layers.executor_keys(SlurmKeys, run.executor, run.words(run.executor))
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
