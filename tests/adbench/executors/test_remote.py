"""Remote cells: what they ask for, and their status files."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.executors.remote import (
    Resources,
    Status,
    arrived,
    clear_status,
    gpu_note,
    read_status,
    resources_of,
    write_status,
)  # fmt: skip
from adbench.method import Capability


def test_what_a_cell_asks_for_follows_from_it() -> None:
    def need(words: str, **asked: float) -> Resources:
        return resources_of(config.parse([*words.split(), "executor=ray"])[0], **asked)

    assert need("cores=3") == Resources(3, 0)
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
        (run,) = config.parse([*words.split(), "executor=ray"])
        return resources_of(run, gpus, job=Job("key", run, (), Path("log"), gpu_share=0.5, memory_gb=12))

    assert need("device=cuda") == Resources(1, 0.5, 12)
    assert need("device=cuda", gpus=1) == Resources(1, 1, 12)
    assert need("device=cpu") == Resources(1, 0, 12)
    assert need("device=cuda trainer.devices=2") == Resources(2, 2, 12), "whole ones"
    assert str(need("device=cuda")) == "1 CPU and 0.5 GPU and 12 GB"


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
    (run,) = config.parse(["executor=ray", *words.split()])
    assert bool(gpu_note(run)) == said


def test_a_status_is_read_back_whole_and_cleared_with_what_was_half_written(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / ".slurm"
    assert read_status(folder, "k") is None
    failed = Status("ended", ended=True, failure=Failure("ValueError", "no", ("line",), True))
    write_status(folder, "k", failed)
    assert read_status(folder, "k") == failed
    running = Status("fit", "node7", 12)
    write_status(folder, "k", running)
    half, other = tmp_path / "runs" / ".k.node7.12.ab.tmp", tmp_path / "runs" / ".k.node8.12.ab.tmp"
    half.mkdir()
    other.mkdir()
    clear_status(folder, "k")
    assert not half.exists()
    assert other.exists(), "another process's"
    assert read_status(folder, "k") is None


def test_a_record_is_looked_for_in_a_fresh_listing(tmp_path: Path) -> None:
    (run,) = config.parse([f"runs={tmp_path / 'runs'}"])
    job = Job("k", run, (), tmp_path / "log")
    assert not arrived(job)
    (tmp_path / "runs" / "k").mkdir(parents=True)
    assert arrived(job)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stage": "fit"}', '{"failure": {"trace": 3}}', '{"failure": null, "x": 1}']
)
def test_a_damaged_status_is_no_status_and_is_said_once(tmp_path: Path, capsys, text: str) -> None:
    file = tmp_path / "k.json"
    file.write_text(text)
    assert read_status(tmp_path, "k") is None
    assert f"{file} is damaged" in capsys.readouterr().err
    assert read_status(tmp_path, "k") is None
    assert capsys.readouterr().err == ""
