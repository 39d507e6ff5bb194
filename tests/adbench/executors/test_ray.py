"""Cells on a Ray cluster: real nodes of this machine, one of them killed in the middle."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.executors import Job
from adbench.executors.ray import Ray, executor
from adbench.executors.remote import Resources, note_of, resources_of
from adbench.method import Capability
from adbench.records.record import read_all

STORE = 80_000_000  # the smallest object store that Ray takes; records don't pass through it


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    return [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]


class Nodes:
    """A cluster of nodes that are processes of this machine."""

    def __init__(self, *resources: dict[str, float]) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # A lost node is noticed in some five seconds instead of half a minute.
        beat = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
        head, *others = resources
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"object_store_memory": STORE, "include_dashboard": False, "_system_config": beat, **head},
        )
        self.others = [self.add(**other) for other in others]
        self.words = ["executor=ray", f"ray.address={self.cluster.address}"]

    def add(self, **resources: float) -> object:
        return self.cluster.add_node(object_store_memory=STORE, **resources)

    def lose_one(self) -> None:
        """Kill a node and all its processes."""
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Nodes]:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    nodes = Nodes({"num_cpus": 1}, {"num_cpus": 1})
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture
def one_gpu() -> Iterator[Nodes]:
    """One node that says it has a GPU: Ray counts what it is told, and hands out the number of the device."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    nodes = Nodes({"num_cpus": 2, "num_gpus": 1})
    yield nodes
    nodes.cluster.shutdown()


PAGE = Path(__file__).parents[3] / "docs" / "clusters.md"
ADDRESS = "ray.address=10.0.0.1:6379"


def examples() -> list[list[str]]:
    """The words of the page's two commands for Ray, without an address and with one."""
    lines = [line.split() for line in PAGE.read_text().splitlines() if line.startswith("    adbench run")]
    return sorted([words[2:] for words in lines if "executor=ray" in words], key=len)


# --- words


def test_the_commands_of_the_page_are_good() -> None:
    here, there = examples()
    assert there == [*here, ADDRESS]
    runs = config.parse(there)
    keys = layers.executor_keys(executor.Keys, runs[0].executor, runs[0].words(runs[0].executor))
    assert (len(runs), runs[0].workers, keys.address) == (8, 2, "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("ray.gpus=0.5", "ray.gpus= is for executor=ray, and this is executor=local. Add executor=ray"),
        ("ray.gpu=1 executor=ray", "unknown key 'gpu' for executor=ray: did you mean 'gpus'"),
        ("ray.gpus=two executor=ray", "executor=ray: gpus cannot be set"),
        ("rya.gpus=1", "a dotted key starts with method., .*, ray., slurm."),
    ],
)
def test_words_of_rays_own_are_examined(word: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse(word.split())


def test_what_a_cell_asks_for_follows_from_it() -> None:
    def need(words: str, **asked: float) -> Resources:
        return resources_of(config.parse([*words.split(), "executor=ray"])[0], **asked)

    assert need("threads=3") == Resources(3, 0)
    assert need("device=cuda") == Resources(1, 1)
    assert need("device=cuda", gpus=0.25) == Resources(1, 0.25)
    assert need("device=auto", gpus=2) == Resources(1, 2)
    for gpus, says in ((1.5, "ray.gpus=1.5 is not possible"), (-1, "ray.gpus=-1"), (float("nan"), "ray.gpus=nan")):
        with pytest.raises(AdbenchError, match=says):
            need("device=auto", gpus=gpus)
    with pytest.raises(AdbenchError, match="ray.gpus=0 leaves device=cuda without a GPU"):
        need("device=cuda", gpus=0)
    assert need("device=cuda trainer.devices=2") == Resources(2, 2)
    assert need("device=cuda trainer.devices=2", gpus=3) == Resources(2, 3)
    for device in ("cuda", "auto"):
        with pytest.raises(AdbenchError, match="ray.gpus=1 is less than trainer.devices=2. Leave ray.gpus out"):
            need(f"device={device} trainer.devices=2", gpus=1)
    assert need("trainer.devices=2", gpus=2) == Resources(2, 2)
    assert need("trainer.devices=2", gpus=0) == need("trainer.devices=2") == Resources(2, 0), "on CPUs"
    assert need("device=cpu", gpus=0) == Resources(1, 0)
    with pytest.raises(AdbenchError, match="ray.gpus=0.5 would keep GPUs from others that device=cpu does not use"):
        need("device=cpu", gpus=0.5)


def test_what_a_method_declares_is_asked_for_where_the_user_says_nothing() -> None:
    def need(words: str, gpus: float | None = None) -> Resources:
        (one,) = config.parse([*words.split(), "executor=ray"])
        return resources_of(one, gpus, job=Job("key", one, (), Path("log"), gpu_share=0.5, memory_gb=12))

    assert need("device=cuda") == Resources(1, 0.5, 12)
    assert need("device=cuda", gpus=1) == Resources(1, 1, 12)
    assert need("device=cpu") == Resources(1, 0, 12)
    assert need("device=cuda trainer.devices=2") == Resources(2, 2, 12), "whole ones"
    assert str(need("device=cuda")) == "1 CPU and 0.5 GPU and 12 GB"


def test_what_a_method_declares_reaches_the_job_and_is_no_part_of_a_cell(tiny: Path, monkeypatch) -> None:
    from adbench.methods.clip import CLIPZeroShot
    from adbench.sweeps.sweep import Sweep, plan

    def first() -> Job:
        sweep = Sweep((), Mock())
        sweep.add(plan(config.parse(["method=clip", f"data_root={tiny}", "runs=/nowhere"]), looking=True))
        job = sweep.next()
        assert job is not None
        return job

    plain, capability = first(), CLIPZeroShot.capability.__func__
    small = lambda cls, *args: dataclasses.replace(capability(cls, *args), gpu_share=0.25, memory_gb=3.0)  # noqa: E731
    monkeypatch.setattr(CLIPZeroShot, "capability", classmethod(small))
    asking = first()
    assert (plain.gpu_share, plain.memory_gb) == (1.0, None)
    assert (asking.gpu_share, asking.memory_gb) == (0.25, 3.0)
    assert asking.key == plain.key


@pytest.mark.parametrize("asks", [{"gpu_share": 0}, {"gpu_share": 1.5}, {"memory_gb": 0}, {"memory_gb": -1}])
def test_a_method_cannot_declare_a_need_that_cannot_be(asks: dict[str, float]) -> None:
    (name,) = asks
    with pytest.raises(AdbenchError, match=f"{name}=.* is not possible"):
        Capability("none", **asks)


@pytest.mark.parametrize(
    ("words", "said"),
    [("device=auto", True), ("device=cuda", False), ("device=cpu", False), ("device=auto ray.gpus=1", False)],
)
def test_cells_that_will_see_no_gpu_are_announced(words: str, said: bool) -> None:
    (one,) = config.parse(["executor=ray", *words.split()])
    assert bool(note_of(one)) == said


def test_rays_keys_are_no_part_of_a_cell(tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    words = [f"data_root={tiny}", "method=clip"]
    (plain,), (other,) = config.parse(words), config.parse([*words, "executor=ray", "ray.gpus=0.5", "workers=7"])
    assert other.overrides["ray"] == {"gpus": "0.5"}
    assert resolve(plain).key == resolve(other).key


def test_without_the_package_one_sentence_says_what_to_install(adbench, words, monkeypatch) -> None:
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    answer = adbench("run", *words, "method=clip", "executor=ray")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "pip install 'adbench-medical[ray]'" in answer.err


def test_other_executors_are_not_imported(words) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['adbench', 'run', 'method=clip', 'batch_size=1,2', *{words!r}]\n"
        "from adbench.commands import cli\n"
        "cli.app(standalone_mode=False)\n"
        "extras = {'ray', 'submitit'} & set(sys.modules)\n"
        "assert not extras, extras"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 cells" in done.stdout


def test_an_address_where_nothing_listens_is_one_sentence(words, started) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    child = started(*words, "method=clip", "seed=0,1", "executor=ray", "ray.address=127.0.0.1:9")
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2, err
    assert "ray.address=127.0.0.1:9 leads to no Ray cluster" in err
    assert "Traceback" not in err


# --- nodes


@pytest.mark.slow
def test_one_of_two_nodes_dies_and_nothing_is_lost(adbench, words, moody, started, until, two_nodes, tmp_path) -> None:
    moody.be("hold")
    child = started(*words, moody.word, "seed=0,1,2,3,4,5", "workers=2", *two_nodes.words)
    until(lambda: len(moody.starts) == 2)
    two_nodes.lose_one()
    moody.go()
    out, err = child.communicate(timeout=300)
    two_nodes.others.append(two_nodes.add(num_cpus=1))
    assert child.returncode == 0, err
    assert [line[:5] for line in out.splitlines() if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)]
    assert "raylet" not in out + err, "what Ray says of it is in a log"
    assert sorted(record.content["resolved"]["seed"] for record in read_all(tmp_path / "runs")) == [0, 1, 2, 3, 4, 5]
    assert len(moody.starts) == 7, "one cell was begun again, the others once each"
    assert not list((tmp_path / "runs").glob(".*")), "nothing half-written is left"
    assert "6 recorded already, 0 to run" in adbench("run", *words, moody.word, "seed=0,1,2,3,4,5").out


@pytest.mark.slow
def test_the_commands_of_the_page_leave_the_records_of_one_process(
    adbench, tiny, started, two_nodes, predictions, tmp_path
) -> None:
    here, there = examples()
    own = ["gallery=0", f"data_root={tiny}"]
    plain = [word for word in here if word not in ("executor=ray", "workers=2")]
    assert adbench("run", *plain, *own, f"runs={tmp_path / 'one'}").code == 0
    alone = predictions(tmp_path / "one")
    assert len(alone) == 6
    (address,) = [word for word in two_nodes.words if word.startswith("ray.address=")]
    for name, line in (("here", here), ("there", [address if word == ADDRESS else word for word in there])):
        child = started(*line, *own, f"runs={tmp_path / name}")
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
        assert predictions(tmp_path / name) == alone


@pytest.mark.slow
def test_a_process_that_dies_and_an_error_cost_their_own_cells(words, moody, started, tmp_path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    moody.be("die", seed=1)
    moody.be("raise", seed=2)
    child = started(*words, moody.word, "seed=0,1,2,3", "workers=2", "executor=ray")
    out, err = child.communicate(timeout=300)
    assert child.returncode == 1, err
    assert "2 of 4 cells failed" in err
    assert moody.starts == [0, 1, 2, 3], "a cell that ends its process isn't begun again"
    failed = {}
    for file in (tmp_path / "runs").glob("*/record.json"):
        content = json.loads(file.read_text())
        if content["status"] == "failed":
            failed[content["resolved"]["seed"]] = content["error"]
    assert failed[1]["kind"] == "WorkerDied"
    assert failed[2]["message"] == "this method is moody"
    assert failed[2]["traceback"][-1] == "ValueError: this method is moody"
    assert "Traceback" not in out + err
    logs = list((tmp_path / "runs" / "logs").iterdir())
    assert any("this method is moody" in log.read_text() for log in logs)


@pytest.mark.slow
def test_cells_share_a_gpu_as_told(words, moody, started, one_gpu) -> None:
    for seeds, share, mood in (("seed=0,1", "ray.gpus=0.5", "meet 2"), ("seed=2,3", "ray.gpus=1", "sleep 2")):
        moody.be(mood)
        child = started(*words, moody.word, seeds, "workers=2", share, *one_gpu.words)
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    assert [gpus for _, _, gpus in moody.spans] == ["0"] * 4
    _, _, (_, third, _), (fourth, _, _) = moody.spans
    assert fourth > third, "one whole GPU at a time; two halves have met"


@pytest.mark.slow
def test_a_cell_that_fits_no_node_is_refused(words, started, two_nodes) -> None:
    child = started(*words, "method=clip", "seed=0,1", "threads=3", *two_nodes.words)
    _, err = child.communicate(timeout=300)
    assert child.returncode == 2
    assert "no node of the Ray cluster has what each cell asks for, 3 CPUs" in err
    assert "1 CPU" in err


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(words, moody, started, until, tmp_path: Path, times: int) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    moody.be("hold")
    child = started(*words, moody.word, "seed=0,1,2,3,4,5", "workers=2", "executor=ray")
    until(lambda: len(moody.starts) == 2)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.5)
    if times == 1:
        moody.go()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    done = read_all(tmp_path / "runs")
    if times == 1:
        assert "stopping when the 2 running cells have finished" in err
        assert "stopped as asked, with 4 cells left" in err
        assert len(done) == 2
    else:
        assert "interrupted" in err
        assert done == []
    assert len(moody.starts) == 2
    assert not list((tmp_path / "runs").glob(".*"))


def test_a_folder_that_a_node_does_not_see_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench import __version__
    from adbench.executors.ray import worker

    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    far = tmp_path / "runs" / ".ray"
    assert f"does not see {tmp_path / 'runs'}" in str(
        worker.Worker(str(tmp_path), str(far), "x.mark", __version__, None, 1).hello()
    )
    far.mkdir(parents=True)
    (far / "x.mark").touch()
    assert "has no folder /not/there" in str(
        worker.Worker("/not/there", str(far), "x.mark", __version__, None, 1).hello()
    )
    old = worker.Worker(str(tmp_path), str(far), "x.mark", "0.0.0", None, 1).hello()
    assert "0.0.0: install the same there" in str(old)


def test_the_executor_is_registered() -> None:
    from adbench.plugins import registry

    assert registry.find("executor", "ray").load() is Ray
