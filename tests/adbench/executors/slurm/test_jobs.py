"""Cells as Slurm jobs: with the daemon that `make test-slurm` starts, otherwise as submitit's local processes."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adbench.executors.slurm import notes
from adbench.records.record import read_all

needs_slurm = pytest.mark.usefixtures("needs_slurm")
needs_submitit = pytest.mark.usefixtures("needs_submitit")


def errors(runs: Path) -> dict[int, dict[str, object]]:
    """The error of each failed cell, by its seed."""
    contents = [json.loads(file.read_text()) for file in runs.glob("*/record.json")]
    return {c["resolved"]["seed"]: c["error"] for c in contents if c["status"] == "failed"}


def jobs_in_slurm() -> list[str]:
    return subprocess.run(["squeue", "--me", "-h", "--array"], capture_output=True, text=True).stdout.splitlines()


@needs_submitit
@pytest.mark.slow
def test_records_are_those_of_one_process(
    adbench, words, tiny, predictions, page_commands, left, tmp_path: Path
) -> None:
    line = ["device=cpu" if word == "device=cuda" else word for word in page_commands["slurm"][0]]
    assert "device=cpu" in line
    answer = adbench("run", *(word for word in words if word not in line), *line)
    assert answer.code == 0, answer.err + answer.out
    plain = [word for word in line if not word.startswith(("executor", "workers", "slurm."))]
    assert adbench("run", *plain, f"data_root={tiny}", f"runs={tmp_path / 'one'}", "gallery=0").code == 0
    alone = predictions(tmp_path / "one")
    assert len(alone) == 5  # clip has one, whatever shots and seed
    assert predictions(tmp_path / "runs") == alone
    assert left(tmp_path / "runs") == []


@needs_submitit
@pytest.mark.slow
def test_the_command_is_killed_and_comes_back(words, fake, start, until, left, tmp_path: Path) -> None:
    fake.behave("hold")
    mine = [*words, fake.word, "seed=0,1,2,3", "workers=2"]
    child = start(*mine)
    until(lambda: len(fake.starts) == 2)
    child.kill()
    child.wait()
    again = start(*mine)
    assert again.stdout is not None
    first = again.stdout.readline()
    fake.release()
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert fake.starts == [0, 1, 2, 3], "each cell ran once"
    assert len(read_all(tmp_path / "runs")) == 4
    assert "0 recorded already, 4 to run" in first, "it came back while the first ones ran"
    assert left(tmp_path / "runs") == []


@needs_slurm
@pytest.mark.slow
def test_each_cell_sees_the_gpus_that_it_asked_for(words, fake, start) -> None:
    fake.behave("meet 2")
    child = start(*words, fake.word, "seed=0,1", "workers=2", "slurm.partition=gpu", "slurm.gpus=1")
    _, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert sorted(gpus for _, _, gpus in fake.spans) == ["0", "1"], "both ran at once, each with one of its own"


@needs_slurm
@pytest.mark.slow
def test_workers_bounds_cells(words, fake, start) -> None:
    fake.behave("sleep 1")
    child = start(*words, fake.word, "seed=0,1,2,3", "workers=1")
    _, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    spans = fake.spans
    assert len(spans) == 4
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(spans))


@needs_slurm
@pytest.mark.slow
def test_all_of_it_ends_while_no_command_watches(words, fake, start, until, left, tmp_path: Path) -> None:
    fake.behave("sleep 1")
    fake.behave("raise", 2)
    mine = [*words, fake.word, "workers=1"]
    child = start(*mine, "seed=0,1,2")
    until(lambda: len(fake.starts) == 1)
    child.kill()
    child.wait()
    until(lambda: not jobs_in_slurm())
    out, err = start(*mine, "seed=0,1").communicate(timeout=120)
    assert "2 recorded already, 0 to run" in out, err
    (note,) = notes.read(tmp_path / "runs" / ".slurm")
    assert len(note.cells) == 1, "the failure of the third cell has not been reported"
    out, err = start(*mine, "seed=0,1,2").communicate(timeout=120)
    assert fake.starts == [0, 1, 2], out + err
    assert "1 of 3 cells failed" in err
    assert "ValueError: the fake method raises" in out
    assert left(tmp_path / "runs") == []


@needs_submitit
@pytest.mark.slow
def test_an_error_and_a_dead_process_cost_their_own_cells(adbench, words, fake, daemon, tmp_path: Path) -> None:
    fake.behave("raise", 0)
    fake.behave("die", 1)
    answer = adbench("run", *words, fake.word, "seed=0,1,2", "workers=2")
    assert answer.code == 1
    assert "2 of 3 cells failed" in answer.err
    runs = tmp_path / "runs"
    failed = errors(runs)
    assert "failed in prepare(): ValueError: the fake method raises" in failed[0]["message"]
    assert failed[0]["traceback"][-1] == "ValueError: the fake method raises"
    assert failed[1]["kind"] == ("FAILED" if daemon else "GONE")
    assert not list(runs.glob(".*.tmp"))
    fake.behave("sleep 0", 0)
    fake.behave("sleep 0", 1)
    again = adbench("run", *words, fake.word, "seed=0,1,2")
    assert again.code == 0, again.err
    assert fake.starts == [0, 0, 1, 1, 2], "only what failed is tried again"


@needs_submitit
@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(words, fake, start, until, daemon, left, tmp_path: Path, times: int) -> None:
    fake.behave("hold")
    child = start(*words, fake.word, "seed=0,1,2,3,4", "workers=2")
    until(lambda: len(fake.starts) == 2)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.5)
    if times == 1:
        until(lambda: len(jobs_in_slurm()) == 2 if daemon else True)
        fake.release()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert len(fake.starts) == 2
    done = read_all(tmp_path / "runs")
    if times == 1:
        assert "stopping when the 2 running cells have finished" in err
        assert "stopped as asked, with 3 cells left" in err
        assert len(done) == 2
    else:
        assert "interrupted" in err
        assert done == []
    assert not list((tmp_path / "runs").glob(".*.tmp"))
    assert left(tmp_path / "runs") == []
    if daemon:
        until(lambda: jobs_in_slurm() == [], 30)  # a job whose record is written takes a moment to end


@needs_slurm
@pytest.mark.slow
def test_a_job_above_its_memory_has_slurms_reason(adbench, words, fake, tmp_path: Path) -> None:
    fake.behave("eat 3000", 0)
    answer = adbench("run", *words, fake.word, "seed=0,1", "slurm.memory=1200M", "workers=2")
    assert answer.code == 1
    failed = errors(tmp_path / "runs")
    assert set(failed) == {0}
    assert failed[0]["kind"] == "OUT_OF_MEMORY"
    assert "exceeded memory limit" in failed[0]["message"] or "oom" in failed[0]["message"]
    assert "slurm.memory= gives it more" in failed[0]["message"]


@needs_slurm
@pytest.mark.slow
def test_a_job_above_its_time_has_slurms_reason(adbench, words, fake, tmp_path: Path) -> None:
    fake.behave("sleep 600", 0)
    answer = adbench("run", *words, fake.word, "seed=0,1", "slurm.time=1", "workers=2")
    assert answer.code == 1
    failed = errors(tmp_path / "runs")
    assert set(failed) == {0}
    assert failed[0]["kind"] == "TIMEOUT"
    assert "slurm.time=" in failed[0]["message"]
    assert not list((tmp_path / "runs").glob(".*.tmp"))


@needs_slurm
def test_the_reason_of_sbatch_is_shown(adbench, words, left, tmp_path: Path) -> None:
    answer = adbench("run", *words, "method=clip", "seed=0,1", "slurm.partition=nowhere")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "sbatch refuses the jobs: invalid partition specified: nowhere" in answer.err
    assert left(tmp_path / "runs") == []


@needs_slurm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("slurm.time=3000", "the partition does not allow so much time (PartitionTimeLimit). Press Ctrl-C, and change"),
        ("slurm.cpus=64", "no node of the partition is large enough (PartitionConfig). Press Ctrl-C, and change"),
        ("slurm.partition=closed", "the partition starts no jobs (PartitionDown). Press Ctrl-C, and change"),
        ("slurm.options.hold=true", "held by a user (JobHeldUser). `scontrol release"),
    ],
)
def test_why_no_job_starts_is_said_and_a_corrected_command_runs_them(
    words, fake, start, until, left, tmp_path: Path, word: str, says: str
) -> None:
    mine = [*words, fake.word, "seed=0,1", "workers=1"]
    child = start(*mine, word)
    assert child.stderr is not None
    line = next(line for line in child.stderr if line.startswith("adbench:"))
    assert line.startswith("adbench: Slurm does not start 2 jobs, ")
    assert says in line
    child.kill()
    child.communicate()
    _, err = start(*mine, "slurm.time=5").communicate(timeout=300)
    assert "adbench: 2 jobs of an earlier command waited with another request: cancelled, and submitted again" in err
    assert fake.starts == [0, 1]
    assert len(read_all(tmp_path / "runs")) == 2
    until(lambda: jobs_in_slurm() == [], 30)
    assert left(tmp_path / "runs") == []


@needs_slurm
@pytest.mark.slow
def test_a_corrected_command_takes_over_what_runs_and_submits_what_waits(
    words, fake, start, until, tmp_path: Path
) -> None:
    fake.behave("hold", 0)
    mine = [*words, fake.word, "seed=0,1,2", "workers=1"]
    child = start(*mine, "slurm.time=20")
    until(lambda: fake.starts == [0])
    child.kill()
    child.wait()
    again = start(*mine, "slurm.time=5")
    assert again.stderr is not None
    said = next(line for line in again.stderr if line.startswith("adbench:"))
    assert said.startswith("adbench: 2 jobs of an earlier command waited with another request"), said
    fake.release()
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert fake.starts == [0, 1, 2], "each cell ran once"
    assert len(read_all(tmp_path / "runs")) == 3


@needs_slurm
@pytest.mark.slow
def test_somebody_else_cancels_a_job(words, fake, start, until, tmp_path: Path) -> None:
    fake.behave("sleep 60", 0)
    child = start(*words, fake.word, "seed=0,1", "workers=1")
    until(lambda: fake.starts == [0])
    (note,) = notes.read(tmp_path / "runs" / ".slurm")
    (first,) = [job for job in note.cells.values() if job.endswith("_0")]
    subprocess.run(["scancel", first], check=True)
    child.communicate(timeout=120)
    assert child.returncode == 1
    assert errors(tmp_path / "runs")[0]["kind"] == "CANCELLED"
    assert len(read_all(tmp_path / "runs")) == 1
