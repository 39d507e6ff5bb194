"""Cells as Slurm jobs: with the daemon that `make test-slurm` starts, otherwise as submitit's local processes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.executors import Failure, Job
from adbench.executors.remote import Resources, Status, arrived, clear_status, read_status, write_status
from adbench.executors.slurm import Slurm, executor, notes, queue, submit
from adbench.executors.slurm.notes import Note
from adbench.executors.slurm.queue import State
from adbench.records import record
from adbench.records.record import read_all


def daemon() -> bool:
    return shutil.which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True).returncode == 0


DAEMON = daemon()
PAGE = Path(__file__).parents[3] / "docs" / "clusters.md"
needs_slurm = pytest.mark.skipif(
    not DAEMON, reason="no Slurm daemon answers here: `make test-slurm` installs and starts one"
)
needs_submitit = pytest.mark.skipif(submit.find_spec("submitit") is None, reason="the extra `slurm` is not installed")


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    place = [] if DAEMON else ["slurm.cluster=local"]
    return [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0", "executor=slurm", "slurm.poll=1", *place]


def errors(runs: Path) -> dict[int, dict[str, object]]:
    """The error of each failed cell, by its seed."""
    contents = [json.loads(file.read_text()) for file in runs.glob("*/record.json")]
    return {c["resolved"]["seed"]: c["error"] for c in contents if c["status"] == "failed"}


def left(runs: Path) -> list[str]:
    """What the executor left behind: nothing but its lock."""
    return [str(p) for p in (runs / ".slurm").rglob("*") if p.is_file() and p.parent.name != ".locks"]


def jobs_in_slurm() -> list[str]:
    return subprocess.run(["squeue", "--me", "-h", "--array"], capture_output=True, text=True).stdout.splitlines()


# --- words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("slurm.partition=gpu", "slurm.partition= is for executor=slurm, and this is executor=local"),
        ("executor=slurm slurm.partitoin=gpu", "unknown key 'partitoin' for executor=slurm: did you mean 'partition'"),
        ("executor=slurm slurm.cpus=two", "executor=slurm: cpus cannot be set"),
        ("executor=slurm ray.gpus=1", "ray.gpus= is for executor=ray"),
    ],
)
def test_words_of_slurms_own_are_examined(words: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse(words.split())


@needs_submitit
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("slurm.time=soon", "slurm.time=soon is not possible: write minutes"),
        ("slurm.time=0", "slurm.time=0 is no time at all"),
        ("slurm.cpus=1 threads=2", "slurm.cpus=1 is less than the 2 threads"),
        ("slurm.gpus=0 device=cuda", "slurm.gpus=0 leaves device=cuda without a GPU"),
        ("slurm.poll=0", "slurm.poll=0 is not possible"),
        ("slurm.array=0", "slurm.array=0 is not possible"),
        ("slurm.gpus=1 trainer.devices=2", "slurm.gpus=1 is less than trainer.devices=2"),
        ("slurm.gpus=1 device=cpu", "slurm.gpus=1 would keep GPUs from others that device=cpu does not use"),
        ("slurm.cluster=loacl", "slurm.cluster=loacl is not possible: did you mean 'local'"),
    ],
)
def test_values_that_cannot_be_are_refused_before_anything_runs(word: str, says: str) -> None:
    (one,) = config.parse(["executor=slurm", *word.split()])
    with pytest.raises(AdbenchError, match=says):
        Slurm(1, one)


def test_without_sbatch_one_sentence_says_where_to_type(adbench, tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(submit, "find_spec", lambda name: object())
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "executor=slurm")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "finds no sbatch on this machine. Type the command on a login node" in answer.err
    monkeypatch.setattr(submit, "find_spec", lambda name: None)
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "executor=slurm")
    assert "pip install 'adbench-medical[slurm]'" in answer.err
    assert not (tmp_path / "runs").exists()


def example() -> list[str]:
    """The words of the page's command."""
    (line,) = [line for line in PAGE.read_text().splitlines() if line.startswith("    adbench run") and "slurm" in line]
    return line.split()[2:]


@needs_submitit
def test_the_head_of_the_script_has_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "check", lambda keys: None)
    more = ["threads=4", "slurm.memory=8G", "slurm.account=lab", "slurm.options.nice=100"]
    one, *_ = config.parse([*example(), *more, "slurm.setup=['module load cuda']"])
    job = Job("key", one, (), Path("log"), gpu_share=0.5, memory_gb=20)
    need = Slurm(3, one)._need(job)
    assert need == Resources(4, 1, 20), "Slurm hands out whole GPUs"
    keys = layers.executor_keys(submit.Keys, one.executor, one.words(one.executor))
    asked = submit.parameters(keys, need, "adbench-x", 3)
    wanted = {
        "partition": "gpu", "time": 90, "mem": "8G", "account": "lab", "cpus_per_task": 4, "gpus_per_node": 1,
        "array_parallelism": 3, "job_name": "adbench-x", "setup": ["module load cuda"],
        "additional_parameters": {"nice": "100"},
    }  # fmt: skip
    assert {key: asked[key] for key in wanted} == wanted
    assert "qos" not in asked, "what nobody asked for is left to the cluster"
    keys.memory = None
    asked = submit.parameters(keys, need, "adbench-x", 3, ["12", "15"])
    assert asked["mem"] == "20000M"
    assert asked["additional_parameters"] == {"nice": "100", "dependency": "afterany:12:15"}
    keys.options = {"dependency": "afterok:7"}
    asked = submit.parameters(keys, need, "adbench-x", 3, ["12"])
    assert asked["additional_parameters"] == {"dependency": "afterany:12,afterok:7"}
    assert asked["time"] is not None


# --- signs and notes


def test_a_sign_is_read_back_whole_and_forgotten_with_what_was_half_written(tmp_path: Path) -> None:
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


def test_notes_lose_their_cells_one_by_one(tmp_path: Path) -> None:
    note = Note({"a": "7_0", "b": "7_1"})
    notes.write(tmp_path, note)
    (tmp_path / "jobs").mkdir()
    for name in ("7_0_0_log.err", "7_1_0_log.err", "7_10_0_log.err"):
        (tmp_path / "jobs" / name).write_text("one\ntwo\n")
    assert notes.read(tmp_path) == [note]
    assert notes.last_lines(tmp_path, "7_1", 1) == ["two"]
    notes.drop(tmp_path, "a", "8_0")
    assert notes.read(tmp_path) == [note], "another job's cell"
    notes.drop(tmp_path, "a", "7_0")
    assert notes.read(tmp_path)[0].cells == {"b": "7_1"}
    assert sorted(p.name for p in (tmp_path / "jobs").iterdir()) == ["7_10_0_log.err", "7_1_0_log.err"]
    notes.drop(tmp_path, "b", "7_1")
    assert notes.read(tmp_path) == []
    assert not (tmp_path / "jobs").exists()


class Told:
    """The side of a sweep: hands out jobs, and keeps what it hears."""

    def __init__(self, runs: Path, *seeds: int) -> None:
        words = ["executor=slurm", "slurm.cluster=local", f"runs={runs}"]
        self.waiting = [Job(f"key{s}", config.parse([*words, f"seed={s}"])[0], (), runs / "log") for s in seeds]
        self.stopped = False
        self.ended: dict[str, Failure | None] = {}
        self.back: list[str] = []

    def next(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting and not self.stopped else None

    def stage(self, job: Job, name: str) -> None:
        pass

    def finished(self, job: Job, failure: Failure | None) -> None:
        self.ended[job.key] = failure

    def put_back(self, job: Job) -> None:
        self.back.append(job.key)


class Daemon:
    """A queue whose answers are written down beforehand."""

    def __init__(self, **states: State) -> None:
        self.known = states
        self.cancelled: list[str] = []

    def states(self, jobs):
        return {job: self.known.get(job, queue.GONE) for job in jobs}

    def named(self, name):
        return ["77"]

    def cancel(self, jobs, waiting_only=False):
        self.cancelled += jobs
        for job in jobs:
            if not waiting_only or self.known[job].waits:
                self.known[job] = State("CANCELLED")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An executor with written-down answers, and what it submits."""
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")

    def make(told: Told, **states: State) -> SimpleNamespace:
        one = Slurm(9, told.waiting[0].config)
        one.queue = Daemon(**states)
        one.keys.cluster = "slurm"
        one.keys.poll = 0.01
        submitted: list[str] = []

        arrays: list[tuple[str, Resources, int, list[str]]] = []

        def fake(folder, keys, need, name, workers, jobs, before):
            submitted.extend(job.key for job in jobs)
            number = f"{9 + len(arrays)}"
            arrays.append((number, need, len(jobs), list(before)))
            assert [note.cells for note in notes.read(folder) if note.name == name] == [
                {job.key: "" for job in jobs}
            ], "a kill right after the submission finds a note"
            ids = [f"{number}_{i}" for i in range(len(jobs))]
            one.queue.known |= {id_: State("RUNNING") for id_ in ids}
            for job in jobs:
                write_status(folder, job.key, Status("ended", ended=True))
                (folder.parent / job.key).mkdir(exist_ok=True)
            return ids

        monkeypatch.setattr(executor, "submit", fake)
        return SimpleNamespace(executor=one, submitted=submitted, queue=one.queue, arrays=arrays)

    monkeypatch.setattr(executor, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(executor, "RECORD_TIMEOUT", 0.2)
    return make


def test_a_command_that_comes_back_takes_over_what_was_submitted(tmp_path: Path, asked) -> None:
    runs = tmp_path / "runs"
    told = Told(runs, 0, 1, 2, 3, 4)
    states = {"5_0": State("RUNNING"), "5_1": State("TIMEOUT", "TimeLimit"), "5_2": State("COMPLETED")}
    it = asked(told, **states)
    folder = it.executor.folder
    notes.write(folder, Note({"key0": "5_0", "key1": "5_1", "key2": "5_2", "key3": "5_3"}))
    failure = Failure("ValueError", "no", (), True)
    write_status(folder, "key2", Status("ended", ended=True, failure=failure))  # nobody was told
    it.executor.queue.known["5_0"] = State("RUNNING")
    write_status(folder, "key0", Status("ended", ended=True))
    fake_record(runs, "key0")
    it.executor.run(told)
    assert it.submitted == ["key3", "key4"], "5_3 is not known any more, and key4 is new"
    assert [before for *_, before in it.arrays] == [["5"]], "they wait for what an earlier command submitted"
    assert told.ended["key0"] is None
    assert told.ended["key2"] == failure
    assert told.ended["key1"].kind == "TIMEOUT"
    assert "Slurm ended job 5_1 (TimeLimit); slurm.time= gives it more time" in told.ended["key1"].message
    assert told.ended["key3"] is told.ended["key4"] is None
    assert left(runs) == []


def fake_record(runs: Path, key: str) -> None:
    """A folder that `record.find` takes for a record."""
    (runs / key).mkdir(parents=True)
    for name in record.FILES:
        (runs / key / name).touch()
    content = {"schema": record.SCHEMA, "key": key, "status": "complete", "histogram": None}
    (runs / key / "record.json").write_text(json.dumps(content))


def test_arrays_of_one_sweep_run_one_after_the_other_and_none_is_too_large(tmp_path: Path, asked) -> None:
    told = Told(tmp_path / "runs", *range(7))
    told.waiting = [dataclasses.replace(job, memory_gb=20.0 * (n % 2)) for n, job in enumerate(told.waiting)]
    it = asked(told)
    it.executor.keys.array = 4
    it.executor.run(told)
    needs = Resources(1, 0, 0.0), Resources(1, 0, 20.0)
    assert it.arrays == [
        ("9", needs[0], 2, []), ("10", needs[1], 2, ["9"]), ("11", needs[0], 2, []), ("12", needs[1], 1, ["11"])
    ]  # fmt: skip
    assert len(told.ended) == 7


def test_a_submission_that_was_cut_short_is_cancelled_and_made_again(tmp_path: Path, asked) -> None:
    told = Told(tmp_path / "runs", 0, 1)
    it = asked(told, **{"77": State("RUNNING")})
    notes.write(it.executor.folder, Note({"key0": "", "key1": ""}))
    it.executor.run(told)
    assert it.queue.cancelled == ["77"]
    assert it.submitted == ["key0", "key1"]
    assert left(tmp_path / "runs") == []


def test_a_job_that_ends_without_a_word_is_a_failed_cell(tmp_path: Path, asked, monkeypatch) -> None:
    told = Told(tmp_path / "runs", 0, 1)
    it = asked(told)

    def silent(folder, keys, need, name, workers, jobs, before):
        it.queue.known |= {"9_0": State("COMPLETED", "None"), "9_1": State("OUT_OF_MEMORY", "OutOfMemory")}
        (folder / "jobs" / "9_1_0_log.err").parent.mkdir(exist_ok=True)
        (folder / "jobs" / "9_1_0_log.err").write_text("Killed\n")
        return ["9_0", "9_1"]

    monkeypatch.setattr(executor, "submit", silent)
    it.executor.run(told)
    assert "job 9_0 is over, and left neither a record nor an error" in told.ended["key0"].message
    assert told.ended["key1"].kind == "OUT_OF_MEMORY"
    assert "slurm.memory= gives it more memory" in told.ended["key1"].message
    assert told.ended["key1"].trace == ("Killed",)


def test_a_cell_whose_machine_was_lost_is_queued_again(tmp_path: Path, asked, monkeypatch) -> None:
    told = Told(tmp_path / "runs", 0)
    it, stages = asked(told), []
    monkeypatch.setattr(told, "stage", lambda job, name: stages.append(name))

    def lost(folder, keys, need, name, workers, jobs, before):
        write_status(folder, "key0", Status("fit", "node7", 12))
        it.queue.known["9_0"] = State("PENDING", "BeginTime")
        return ["9_0"]

    def put_on_another(jobs):
        found = Daemon.states(it.queue, jobs)
        if stages[-1] == "queued" and "fit" in stages:
            write_status(it.executor.folder, "key0", Status("ended", ended=True, failure=Failure("E", "no")))
        return found

    monkeypatch.setattr(executor, "submit", lost)
    it.queue.states = put_on_another
    it.executor.run(told)
    assert stages == ["queued", "fit", "queued"]
    assert told.ended["key0"].kind == "E"


def test_states_of_slurm_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "squeue": "12_0|RUNNING|None\n12_1|TIMEOUT|TimeLimit\n9|CANCELLED|JobArrayTaskLimit\n9_0|COMPLETED|None\n",
        "sacct": "11_0|CANCELLED by 1000\n11_0.batch|CANCELLED\n8_[1-2,5%2]|CANCELLED by 1000\n",
    }
    monkeypatch.setattr(queue, "_ask", lambda *command: answers[command[0]])
    states = queue.SlurmQueue().states(["12_0", "12_1", "11_0", "10_5", "9_0", "9_3", "8_2", "8_5"])
    assert states == {
        "12_0": State("RUNNING", "None"), "12_1": State("TIMEOUT", "TimeLimit"), "11_0": State("CANCELLED"),
        "10_5": State("GONE"), "9_0": State("COMPLETED", "None"), "9_3": State("CANCELLED", "JobArrayTaskLimit"),
        "8_2": State("CANCELLED"), "8_5": State("CANCELLED"),
    }  # fmt: skip
    assert [states[job].over for job in ("12_0", "12_1", "11_0", "10_5")] == [False, True, True, True]
    monkeypatch.setattr(queue, "_ask", lambda *command: None)
    assert queue.SlurmQueue().states(["12_0"]) is None, "no answer is not an end"
    with pytest.raises(AdbenchError, match="squeue does not answer"):
        queue.SlurmQueue().named("x")


# --- jobs


@needs_submitit
@pytest.mark.slow
def test_records_are_those_of_one_process(adbench, words, tiny, predictions, tmp_path: Path) -> None:
    line = ["device=cpu" if word == "device=cuda" else word for word in example()]
    assert "device=cpu" in line
    answer = adbench("run", *(word for word in words if word not in line), *line)
    assert answer.code == 0, answer.err
    plain = [word for word in line if not word.startswith(("executor", "workers", "slurm."))]
    assert adbench("run", *plain, f"data_root={tiny}", f"runs={tmp_path / 'one'}", "gallery=0").code == 0
    alone = predictions(tmp_path / "one")
    assert len(alone) == 6
    assert predictions(tmp_path / "runs") == alone
    assert left(tmp_path / "runs") == []


@needs_submitit
@pytest.mark.slow
def test_the_command_is_killed_and_comes_back(words, moody, started, until, tmp_path: Path) -> None:
    moody.be("hold")
    mine = [*words, moody.word, "seed=0,1,2,3", "workers=2"]
    child = started(*mine)
    until(lambda: len(moody.starts) == 2)
    child.kill()
    child.wait()
    again = started(*mine)
    assert again.stdout is not None
    first = again.stdout.readline()
    moody.go()
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert moody.starts == [0, 1, 2, 3], "each cell ran once"
    assert len(read_all(tmp_path / "runs")) == 4
    assert "0 recorded already, 4 to run" in first, "it came back while the first ones ran"
    assert left(tmp_path / "runs") == []


@needs_slurm
@pytest.mark.slow
def test_each_cell_sees_the_gpus_that_it_asked_for(words, moody, started) -> None:
    moody.be("meet 2")
    child = started(*words, moody.word, "seed=0,1", "workers=2", "slurm.partition=gpu", "slurm.gpus=1")
    _, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    assert sorted(gpus for _, _, gpus in moody.spans) == ["0", "1"], "both ran at once, each with one of its own"


@needs_slurm
@pytest.mark.slow
def test_workers_bounds_cells_that_ask_for_different_things(words, moody, started) -> None:
    moody.be("sleep 1")
    child = started(*words, moody.word, "seed=0,1", "threads=1,2", "workers=1")
    _, err = child.communicate(timeout=300)
    assert child.returncode == 0, err
    spans = moody.spans
    assert len(spans) == 4
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(spans))


@needs_slurm
@pytest.mark.slow
def test_all_of_it_ends_while_no_command_watches(words, moody, started, until, tmp_path: Path) -> None:
    moody.be("sleep 1")
    moody.be("raise", seed=2)
    mine = [*words, moody.word, "workers=1"]
    child = started(*mine, "seed=0,1,2")
    until(lambda: len(moody.starts) == 1)
    child.kill()
    child.wait()
    until(lambda: not jobs_in_slurm())
    out, err = started(*mine, "seed=0,1").communicate(timeout=120)
    assert "2 recorded already, 0 to run" in out, err
    (note,) = notes.read(tmp_path / "runs" / ".slurm")
    assert len(note.cells) == 1, "of the third cell nobody was told"
    out, err = started(*mine, "seed=0,1,2").communicate(timeout=120)
    assert moody.starts == [0, 1, 2], out + err
    assert "1 of 3 cells failed" in err
    assert "ValueError: this method is moody" in out
    assert left(tmp_path / "runs") == []


@needs_submitit
@pytest.mark.slow
def test_an_error_and_a_dead_process_cost_their_own_cells(adbench, words, moody, tmp_path: Path) -> None:
    moody.be("raise", seed=0)
    moody.be("die", seed=1)
    answer = adbench("run", *words, moody.word, "seed=0,1,2", "workers=2")
    assert answer.code == 1
    assert "2 of 3 cells failed" in answer.err
    runs = tmp_path / "runs"
    failed = errors(runs)
    assert failed[0]["message"] == "this method is moody"
    assert failed[0]["traceback"][-1] == "ValueError: this method is moody"
    assert failed[1]["kind"] == ("FAILED" if DAEMON else "GONE")
    assert not list(runs.glob(".*.tmp"))
    moody.be("sleep 0", seed=0)
    moody.be("sleep 0", seed=1)
    again = adbench("run", *words, moody.word, "seed=0,1,2")
    assert again.code == 0, again.err
    assert moody.starts == [0, 0, 1, 1, 2], "only what failed is tried again"


@needs_submitit
@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(words, moody, started, until, tmp_path: Path, times: int) -> None:
    moody.be("hold")
    child = started(*words, moody.word, "seed=0,1,2,3,4", "workers=2")
    until(lambda: len(moody.starts) == 2)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.5)
    if times == 1:
        until(lambda: len(jobs_in_slurm()) == 2 if DAEMON else True)
        moody.go()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert len(moody.starts) == 2
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
    if DAEMON:
        assert jobs_in_slurm() == []


@needs_slurm
@pytest.mark.slow
def test_a_job_above_its_memory_has_slurms_reason(adbench, words, moody, tmp_path: Path) -> None:
    moody.be("eat 3000", seed=0)
    answer = adbench("run", *words, moody.word, "seed=0,1", "slurm.memory=1200M", "workers=2")
    assert answer.code == 1
    failed = errors(tmp_path / "runs")
    assert set(failed) == {0}
    assert failed[0]["kind"] == "OUT_OF_MEMORY"
    assert "exceeded memory limit" in failed[0]["message"] or "oom" in failed[0]["message"]
    assert "slurm.memory= gives it more" in failed[0]["message"]


@needs_slurm
@pytest.mark.slow
def test_a_job_above_its_time_has_slurms_reason(adbench, words, moody, tmp_path: Path) -> None:
    moody.be("sleep 600", seed=0)
    answer = adbench("run", *words, moody.word, "seed=0,1", "slurm.time=1", "workers=2")
    assert answer.code == 1
    failed = errors(tmp_path / "runs")
    assert set(failed) == {0}
    assert failed[0]["kind"] == "TIMEOUT"
    assert "slurm.time=" in failed[0]["message"]
    assert not list((tmp_path / "runs").glob(".*.tmp"))


@needs_slurm
def test_what_sbatch_refuses_is_told_in_its_words(adbench, words, tmp_path: Path) -> None:
    answer = adbench("run", *words, "method=clip", "seed=0,1", "slurm.partition=nowhere")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "sbatch does not take the jobs: invalid partition specified: nowhere" in answer.err
    assert left(tmp_path / "runs") == []


@needs_slurm
@pytest.mark.slow
def test_somebody_else_cancels_a_job(words, moody, started, until, tmp_path: Path) -> None:
    moody.be("sleep 60", seed=0)
    child = started(*words, moody.word, "seed=0,1", "workers=1")
    until(lambda: moody.starts == [0])
    (note,) = notes.read(tmp_path / "runs" / ".slurm")
    (first,) = [job for job in note.cells.values() if job.endswith("_0")]
    subprocess.run(["scancel", first], check=True)
    child.communicate(timeout=120)
    assert child.returncode == 1
    assert errors(tmp_path / "runs")[0]["kind"] == "CANCELLED"
    assert len(read_all(tmp_path / "runs")) == 1


def test_a_record_is_looked_for_in_a_fresh_listing(tmp_path: Path) -> None:
    (one,) = config.parse([f"runs={tmp_path / 'runs'}"])
    job = Job("k", one, (), tmp_path / "log")
    assert not arrived(job)
    (tmp_path / "runs" / "k").mkdir(parents=True)
    assert arrived(job)
