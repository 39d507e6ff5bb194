"""Local workers: their number, their GPUs, and workers that die."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from adbench.config.words import parse
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.executors.local import Local, Worker
from adbench.system.pids import started


def test_workers_warm_up_only_where_a_cell_is_to_run(adbench, words, count_calls) -> None:
    for axis, times in (("cores=1", 0), ("batch_size=1,2,3", 1), ("batch_size=1,2,3", 0), ("batch_size=3", 0)):
        with count_calls(Local.warm_up) as calls:
            assert adbench("run", *words, "method=clip", "workers=2", axis).code == 0
        assert calls == [times], axis


@pytest.mark.parametrize(("behaviour", "kind"), [("spoil", "ValueError"), ("die", "WorkerDied")])
def test_a_single_worker_is_replaced_after_a_failure(
    adbench, words, fake, predictions, tmp_path: Path, behaviour: str, kind: str
) -> None:
    mine = [word for word in words if not word.startswith("runs=")]
    for seed in (0, 2):
        assert adbench("run", *mine, fake.word, f"seed={seed}", f"runs={tmp_path / 'alone'}").code == 0
    fake.behave(behaviour, 1)
    answer = adbench("run", *mine, fake.word, "seed=0,1,2", f"runs={tmp_path / 'sweep'}")
    assert answer.code == 1
    assert "1 of 3 cells failed" in answer.err
    assert kind in answer.out
    assert predictions(tmp_path / "sweep") == predictions(tmp_path / "alone")


class FakeJobs:
    """A sweep of a number of jobs that only counts what became of them."""

    stopped = False

    def __init__(self, number: int, *words: str) -> None:
        (config,) = parse(list(words))
        self.waiting = [Job(f"key{n}", config, (), Path(os.devnull)) for n in range(number)]
        self.ended: list[Failure | None] = []

    def next(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting else None

    def stage(self, job: Job, name: str) -> None: ...

    def note(self, text: str) -> None: ...

    def put_back(self, job: Job) -> None: ...

    def finished(self, job: Job, failure: Failure | None) -> None:
        self.ended.append(failure)


def without_torch(pipe) -> None:
    pipe.send(("died", Failure("WorkerDied", "its worker could not start: ImportError: no torch")))


def test_workers_that_never_come_up_end_the_sweep() -> None:
    jobs = FakeJobs(10)
    executor = Local(2, jobs.waiting[0].config, partial(Worker, target=without_torch))
    with pytest.raises(AdbenchError, match="3 workers in a row ended before their first cell.*no torch"):
        executor.run(jobs)
    executor.close()
    assert [failure.kind for failure in jobs.ended] == ["WorkerDied"] * 3


def works(pipe, dies: bool) -> None:
    pipe.send(("ready", None))
    while pipe.recv():
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(("finished", None))


@pytest.mark.parametrize(
    ("gpus", "words", "seen"),
    [
        ("4,7", "", ["4", "7", "4", "7"]),
        ("GPU-a, GPU-b", "device=cuda", ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]),
        ("4,7", "device=cpu", ["4,7"] * 4),
        ("4,7", "trainer.devices=2", ["4,7"] * 4),
        ("4", "", ["4"] * 4),
        ("", "", [""] * 4),
        ("-1", "", ["-1"] * 4),
    ],
)
def test_a_new_worker_takes_the_number_and_the_gpu_of_the_one_that_died(
    gpus: str, words: str, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    started: list[tuple[int, str]] = []

    def start(number: int, environment: dict[str, str]) -> Worker:
        started.append((number, environment["CUDA_VISIBLE_DEVICES"]))
        return Worker(number, environment, works, len(started) == 2)

    class ThreeThenThree(FakeJobs):
        def next(self) -> Job | None:
            return super().next() if len(self.waiting) > 3 or any(self.ended) else None

    jobs = ThreeThenThree(6, *words.split())
    executor = Local(3, jobs.waiting[0].config, start)
    executor.run(jobs)
    executor.close()
    assert len(jobs.ended) == 6
    assert [failure.kind for failure in jobs.ended if failure] == ["WorkerDied"]
    assert started == list(zip([0, 1, 2, 1], seen, strict=True))


def notes_its_process(pipe, folder: Path) -> None:
    pipe.send(("ready", None))
    while job := pipe.recv():
        (folder / job.key).write_text(str(os.getpid()))
        pipe.send(("finished", None))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_ran_somebodys_method_runs_no_other_one(tmp_path: Path, workers: int) -> None:
    methods = ["own:A", "own:A", "clip", "patchcore", "own:B", "clip", "own:A"]
    configs = [parse([f"method={method}"])[0] for method in methods]
    jobs = FakeJobs(0)
    jobs.waiting = [Job(f"key{n}", config, (), Path(os.devnull)) for n, config in enumerate(configs)]
    executor = Local(workers, configs[0], lambda number, env: Worker(number, env, notes_its_process, tmp_path))
    executor.run(jobs)
    assert len(executor.running) <= workers
    executor.close()
    by_process: dict[str, list[str]] = {}
    for n, method in enumerate(methods):
        by_process.setdefault((tmp_path / f"key{n}").read_text(), []).append(method)
    for ran in by_process.values():
        after = [now for before, now in itertools.pairwise(ran) if ":" in before and now != before]
        assert not after, ran
    if workers == 1:
        assert list(by_process.values()) == [["own:A", "own:A"], ["clip", "patchcore", "own:B"], ["clip", "own:A"]]


def test_what_somebodys_method_sets_reaches_no_cell_of_another(adbench, words, fake, predictions, tmp_path) -> None:
    mine = [word for word in words if not word.startswith("runs=")]
    other = tmp_path / "other"
    other.mkdir()
    text = (fake.folder / "fake.py").read_text().replace("class Fake", "class Other")
    (other / "other.py").write_text(text)
    (other / "behaviour").write_text("sleep 0")
    fake.behave("alter")
    both = f"method={fake.path},{other / 'other.py'}:Other"
    assert adbench("run", *mine, both, f"runs={tmp_path / 'both'}").code == 0
    assert adbench("run", *mine, f"method={other / 'other.py'}:Other", f"runs={tmp_path / 'alone'}").code == 0
    together = predictions(tmp_path / "both")
    assert len(together) == 2
    assert predictions(tmp_path / "alone").items() <= together.items()


def test_each_of_two_workers_sees_its_own_gpu(words, fake, start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    fake.behave("meet 2")
    _, err = (child := start(*words, fake.word, "seed=0,1", "workers=2")).communicate(timeout=300)
    assert child.returncode == 0, err
    assert sorted(gpus for _, _, gpus in fake.spans) == ["0", "1"]


def children(parent: int) -> dict[int, bytes]:
    """The command lines of the children of a process, by their ids."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process starts the others")
def test_the_end_of_the_process_that_starts_workers_costs_the_running_cell(
    words, fake, start, until, tmp_path: Path
) -> None:
    fake.behave("hold", 0)
    child = start(*words, fake.word, "seed=0,1,2")
    until(lambda: fake.starts == [0])
    (server,) = [pid for pid, line in children(child.pid).items() if b"forkserver" in line]
    (worker,) = children(server)
    os.kill(server, signal.SIGKILL)
    out, err = child.communicate(timeout=300)
    assert child.returncode == 1, err
    assert "1 of 3 cells failed" in err
    assert "WorkerDied: its worker has to end, since the process that starts workers was ended" in out
    assert fake.starts == [0, 1, 2], "the others ran in a worker of another one"
    assert started(worker) is None
    logs = "".join(log.read_text() for log in (tmp_path / "runs" / "logs").iterdir())
    assert "Traceback" not in out + err + logs


def test_two_workers_give_the_bytes_of_one_and_outlive_a_death(
    adbench, words, fake, predictions, tmp_path: Path
) -> None:
    mine = [w for w in words if not w.startswith("runs=")]
    mine += [f"method=clip,patchcore,{fake.path}", "shots=2", "draw=0,1", "seed=0,1"]
    fake.behave("die", 1)
    two = adbench("run", *mine, f"runs={tmp_path / 'two'}", "workers=2")
    assert two.code == 1
    assert "1 of 7 cells failed" in two.err
    assert "WorkerDied: its worker was ended by SIGKILL: out of memory?" in two.out
    fake.repair()
    one = adbench("run", *mine, f"runs={tmp_path / 'one'}")
    assert one.code == 0, one.err
    alone, together = predictions(tmp_path / "one"), predictions(tmp_path / "two")
    assert len(alone) == 7, "clip draws nothing at random: both seeds are one cell"
    assert len(together) == 6
    assert together.items() <= alone.items()
    again = adbench("run", *mine, f"runs={tmp_path / 'two'}")
    assert again.code == 0, again.err
    assert "6 recorded already, 1 to run" in again.out
    assert predictions(tmp_path / "two") == alone
    assert not list((tmp_path / "two").glob(".*"))
