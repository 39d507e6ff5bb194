"""The order in which cells run, and sweeps that are interrupted, killed or run twice at once."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from adbench.config import words as config
from adbench.executors import Job
from adbench.method import Capability
from adbench.records.record import read_all
from adbench.sweeps.sweep import Sweep, Task, plan


def task(name: str, data: str, *blocks: int) -> Task:
    facts = dict.fromkeys(
        ("weights", "model", "activation", "normalisation", "input_size", "precision"), ""
    ) | {"data": data}  # fmt: skip
    can = Capability("none", blocks=blocks, pooled=not blocks)
    (run,) = config.parse(["method=clip"])
    return Task(run, SimpleNamespace(facts=facts, capability=can, training_key=None), name)


def test_workers_compute_other_features_first() -> None:
    sweep = Sweep((), Mock())
    sweep.add([task("a1", "a"), task("a2", "a"), task("a3", "a"), task("b1", "b")])
    first, second = sweep.next(), sweep.next()
    assert (first.key, second.key) == ("a1", "b1")
    assert sweep.next().key == "a2", "when nothing else is left, better together than idle"
    sweep.running.pop("a1")
    sweep.warm.update(sweep.warm)
    assert sweep.next().key == "a3"
    assert sweep.next() is None


def test_workers_compute_other_blocks_first() -> None:
    sweep = Sweep((), Mock())
    sweep.add(
        [task("first", "a", 3, 6), task("overlaps", "a", 6, 9), task("apart", "a", 9, 12), task("elsewhere", "b", 3)]
    )
    assert [sweep.next().key for _ in range(4)] == ["first", "apart", "elsewhere", "overlaps"]


SLOW_AND_FAST = pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])


@pytest.fixture
def interrupted(words, fake, start, until) -> Callable[[int, int], tuple[int, str, str]]:
    """Start eight cells of two seconds each, send Ctrl-C while the first ones run; return exit code and output."""

    def run(workers: int, times: int) -> tuple[int, str, str]:
        fake.behave("sleep 2")
        child = start(*words, fake.word, "seed=" + ",".join(map(str, range(8))), f"workers={workers}")
        until(lambda: len(fake.starts) == workers)
        for _ in range(times):
            child.send_signal(signal.SIGINT)
            time.sleep(0.3)
        out, err = child.communicate(timeout=120)
        assert "Traceback" not in err
        return child.returncode, out, err

    return run


@SLOW_AND_FAST
def test_ctrl_c_once_finishes_the_running_cells(interrupted, tmp_path: Path, workers: int) -> None:
    code, out, err = interrupted(workers, 1)
    assert code == 130
    running = "running cell has" if workers == 1 else f"{workers} running cells have"
    assert f"stopping when the {running} finished" in err
    assert f"stopped as asked, with {8 - workers} cells left" in err
    assert len(read_all(tmp_path / "runs")) == workers
    assert out.count("not run") == 8 - workers


@SLOW_AND_FAST
def test_ctrl_c_twice_stops_now(interrupted, tmp_path: Path, workers: int) -> None:
    code, _, err = interrupted(workers, 2)
    assert code == 130
    assert "interrupted" in err
    assert read_all(tmp_path / "runs") == []
    assert not list((tmp_path / "runs").glob(".*"))


def board(adbench, runs: Path) -> bytes:
    file = runs.with_suffix(".csv")
    answer = adbench("leaderboard", runs, "--csv", file)
    assert answer.code == 0, answer.err
    return file.read_bytes()


SWEEP = ["method=clip,patchcore", "draw=0,1", "seed=0,1", "gallery=0", "shots=1,2"]


def killed_and_resumed(adbench, start, until, mine: list[str], runs: Path, moments: random.Random, times: int) -> None:
    """Kill the sweep at so many moments, the first counted from the start of the process; then let it end.

    The other moments are counted from its first temporary folder. A sweep that ends before its moment is run again.
    """
    killed = 0
    while killed < times:
        child = start(*mine, f"runs={runs}", f"cache={runs.with_name('cache')}", "workers=2")
        if killed:
            until(lambda child=child: child.poll() is not None or list(runs.glob(".*.tmp")))
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(moments.uniform(0, 3 if killed else 8))
        workers = {path.name.split(".")[-3] for path in runs.glob(".*.tmp")}
        child.kill()
        _, err = child.communicate()
        if child.returncode == 0:
            shutil.rmtree(runs)
            continue
        assert child.returncode == -signal.SIGKILL, err
        killed += 1
        until(lambda workers=workers: not any(Path("/proc", pid).exists() for pid in workers), 30)
    answer = adbench("run", *mine, f"runs={runs}", f"cache={runs.with_name('cache')}")
    assert answer.code == 0, answer.err
    assert not list(runs.glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(("times", "seed"), [(2, 0), (10, 1)])
def test_a_killed_sweep_takes_its_workers_along_and_ends_as_an_undisturbed_one(
    adbench, start, until, tiny: Path, tmp_path: Path, times: int, seed: int
) -> None:
    mine = [*SWEEP[:-1], f"data_root={tiny}", f"shots={'1,2' if times == 2 else '1,2,3,4,5'}"]
    assert adbench("run", *mine, f"runs={tmp_path / 'whole'}").code == 0
    killed_and_resumed(adbench, start, until, mine, tmp_path / "killed", random.Random(seed), times)
    assert board(adbench, tmp_path / "killed") == board(adbench, tmp_path / "whole")


@pytest.mark.slow
def test_two_commands_at_once_share_the_work_and_corrupt_nothing(
    adbench, start, tiny: Path, predictions, tmp_path: Path
) -> None:
    mine = [*SWEEP, f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]
    children = [start(*mine), start(*mine)]
    for child in children:
        _, err = child.communicate(timeout=600)
        assert child.returncode == 0, err
    assert adbench("run", *mine[:-1], f"runs={tmp_path / 'alone'}").code == 0
    assert predictions(tmp_path / "runs") == predictions(tmp_path / "alone")


def test_what_a_method_declares_reaches_the_job_and_is_no_part_of_a_cell(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adbench.methods.clip import CLIPZeroShot
    from adbench.sweeps.sweep import Sweep

    def first() -> Job:
        sweep = Sweep((), Mock())
        words = ["method=clip", f"data_root={tiny}", "runs=/nowhere", f"cache={tmp_path}"]  # where it was never asked
        sweep.add(plan(config.parse(words), offline=True))
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
