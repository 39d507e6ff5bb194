"""Cells on a Ray cluster: real nodes of this machine, one of them killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench import __version__
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.executors.ray import Ray
from adbench.executors.ray.keys import RayKeys, check_keys
from adbench.executors.ray.worker import Worker
from adbench.records.record import read_all

STORE = 80_000_000  # the smallest object store that Ray takes; records don't pass through it


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
        """Kill a node; its workers end a moment later, when they notice."""
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


ADDRESS = "ray.address=10.0.0.1:6379"


# --- keys


def test_the_commands_of_the_page_are_good(page_commands) -> None:
    here, there = page_commands["ray"]
    assert there == [*here, ADDRESS]
    runs = config.parse(there)
    keys = layers.executor_keys(RayKeys, runs[0].executor, runs[0].words(runs[0].executor))
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
def test_rays_keys_are_checked(word: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse(word.split())


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("ray.resources={a100: -1}", "ray.resources.a100=-1 is not possible: give a whole number, or a share"),
        ("ray.resources={a100: 0}", "ray.resources.a100=0 is not possible"),
        ("ray.resources={a100: nan}", "ray.resources.a100=nan is not possible"),
        ("ray.resources={a100: inf}", "ray.resources.a100=inf is not possible"),
        ("ray.resources.a100=1.5", "ray.resources.a100=1.5 is not possible"),
        ("ray.resources={CPU: 2}", "ray.resources.CPU= is not possible: give cores= instead"),
        ("ray.resources={GPU: 1}", "ray.resources.GPU= is not possible: give ray.gpus= instead"),
        ("ray.resources={memory: 8}", "ray.resources.memory= is not possible: a method declares the memory"),
    ],
)
def test_resources_that_ray_would_not_take_are_refused_before_it_starts(word: str, says: str) -> None:
    (run,) = config.parse(["executor=ray", word])
    with pytest.raises(AdbenchError, match=says):
        Ray(1, run)


@pytest.mark.parametrize("amount", ["1", "4", "0.5", "0.01"])
def test_whole_resources_and_shares_of_one_are_taken(amount: str) -> None:
    (run,) = config.parse(["executor=ray", f"ray.resources.a100={amount}"])
    check_keys(layers.executor_keys(RayKeys, "ray", run.words("ray")))


def test_rays_keys_are_no_part_of_a_cell(tiny: Path) -> None:
    from adbench.cells.resolve import resolve

    words = [f"data_root={tiny}", "method=clip"]
    (plain,), (other,) = config.parse(words), config.parse([*words, "executor=ray", "ray.gpus=0.5", "workers=7"])
    assert other.overrides["ray"] == {"gpus": "0.5"}
    assert resolve(plain).key == resolve(other).key


def test_without_the_package_one_sentence_says_what_to_install(adbench, words, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = adbench("run", *words, "method=clip", "executor=ray")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "pip install 'adbench-medical[ray]'" in answer.err


def test_other_executors_are_not_imported(words) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['adbench', 'run', 'method=clip', 'batch_size=8,16', *{words!r}]\n"
        "from adbench.commands import cli\n"
        "cli.app(standalone_mode=False)\n"
        "extras = {'ray', 'submitit'} & set(sys.modules)\n"
        "assert not extras, extras"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 cells" in done.stdout


def test_an_address_where_nothing_listens_is_one_sentence(words, start) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    child = start(*words, "method=clip", "seed=0,1", "executor=ray", "ray.address=127.0.0.1:9")
    _, err = child.communicate(timeout=120)
    assert child.returncode == 2, err
    assert "ray.address=127.0.0.1:9 leads to no Ray cluster" in err
    assert "Traceback" not in err


# --- nodes


@pytest.mark.slow
def test_one_of_two_nodes_dies_and_nothing_is_lost(adbench, words, fake, start, until, two_nodes, tmp_path) -> None:
    fake.behave("hold")
    child = start(*words, fake.word, "seed=0,1,2,3,4,5", "workers=2", *two_nodes.words)
    until(lambda: len(fake.starts) == 2)
    workers = {folder.name.split(".")[-3] for folder in (tmp_path / "runs").glob(".*.tmp")}
    assert len(workers) == 2
    two_nodes.lose_one()
    until(lambda: sum(Path("/proc", pid).exists() for pid in workers) == 1)
    fake.release()
    out, err = child.communicate(timeout=300)
    two_nodes.others.append(two_nodes.add(num_cpus=1))
    assert child.returncode == 0, err
    assert [line[:5] for line in out.splitlines() if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)]
    assert "raylet" not in out + err, "what Ray prints about it is in a log"
    assert sorted(record.content["resolved"]["seed"] for record in read_all(tmp_path / "runs")) == [0, 1, 2, 3, 4, 5]
    assert len(fake.starts) == 7, "one cell was begun again, the others once each"
    assert not list((tmp_path / "runs").glob(".*")), "nothing half-written is left"
    assert "6 recorded already, 0 to run" in adbench("run", *words, fake.word, "seed=0,1,2,3,4,5").out


@pytest.mark.slow
def test_the_commands_of_the_page_leave_the_records_of_one_process(
    adbench, tiny, start, two_nodes, predictions, page_commands, tmp_path
) -> None:
    here, there = page_commands["ray"]
    more = ["gallery=0", f"data_root={tiny}"]
    plain = [word for word in here if word not in ("executor=ray", "workers=2")]
    assert adbench("run", *plain, *more, f"runs={tmp_path / 'one'}").code == 0
    alone = predictions(tmp_path / "one")
    assert len(alone) == 5  # clip has one, whatever shots and seed
    (address,) = [word for word in two_nodes.words if word.startswith("ray.address=")]
    for name, line in (("here", here), ("there", [address if word == ADDRESS else word for word in there])):
        child = start(*line, *more, f"runs={tmp_path / name}")
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
        assert predictions(tmp_path / name) == alone


@pytest.mark.slow
def test_a_process_that_dies_and_an_error_cost_their_own_cells(words, fake, start, tmp_path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    fake.behave("die", 1)
    fake.behave("raise", 2)
    child = start(*words, fake.word, "seed=0,1,2,3", "workers=2", "executor=ray")
    out, err = child.communicate(timeout=300)
    assert child.returncode == 1, err
    assert "2 of 4 cells failed" in err
    assert fake.starts == [0, 1, 2, 3], "a cell that ends its process isn't begun again"
    failed = {}
    for file in (tmp_path / "runs").glob("*/record.json"):
        content = json.loads(file.read_text())
        if content["status"] == "failed":
            failed[content["resolved"]["seed"]] = content["error"]
    assert failed[1]["kind"] == "WorkerDied"
    assert "failed in prepare(): ValueError: the fake method raises" in failed[2]["message"]
    assert failed[2]["traceback"][-1] == "ValueError: the fake method raises"
    assert "Traceback" not in out + err
    logs = list((tmp_path / "runs" / "logs").iterdir())
    assert any("the fake method raises" in log.read_text() for log in logs)


@pytest.mark.slow
def test_cells_share_a_gpu_as_requested(words, fake, start, one_gpu) -> None:
    for seeds, share, mood in (("seed=0,1", "ray.gpus=0.5", "meet 2"), ("seed=2,3", "ray.gpus=1", "sleep 2")):
        fake.behave(mood)
        child = start(*words, fake.word, seeds, "workers=2", share, *one_gpu.words)
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    assert [gpus for _, _, gpus in fake.spans] == ["0"] * 4
    _, _, (_, third, _), (fourth, _, _) = fake.spans
    assert fourth > third, "one whole GPU at a time; two halves have met"


@pytest.mark.slow
def test_a_cell_that_fits_no_node_is_refused(words, start, two_nodes) -> None:
    child = start(*words, "method=clip", "seed=0,1", "cores=3", *two_nodes.words)
    _, err = child.communicate(timeout=300)
    assert child.returncode == 2
    assert "no node of the Ray cluster has what each cell requests, 3 CPUs" in err
    assert "1 CPU" in err


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(words, fake, start, until, tmp_path: Path, times: int) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    fake.behave("hold")
    child = start(*words, fake.word, "seed=0,1,2,3,4,5", "workers=2", "executor=ray")
    until(lambda: len(fake.starts) == 2)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.5)
    if times == 1:
        fake.release()
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
    assert len(fake.starts) == 2
    assert not list((tmp_path / "runs").glob(".*"))


def test_a_worker_names_what_its_node_lacks(tmp_path: Path) -> None:
    shared = tmp_path / "runs" / ".ray"

    def hello(cwd: Path, version: str = __version__) -> str:
        return str(Worker(str(cwd), str(shared), "x.mark", version, None, 1, timeout=0).hello())

    assert f"does not see {tmp_path / 'runs'}" in hello(tmp_path)
    shared.mkdir(parents=True)
    (shared / "x.mark").touch()
    assert "has no folder /not/there" in hello(Path("/not/there"))
    assert "0.0.0: install the same there" in hello(tmp_path, "0.0.0")


def test_the_executor_is_registered() -> None:
    from adbench.plugins import registry

    assert registry.find("executor", "ray").load() is Ray
