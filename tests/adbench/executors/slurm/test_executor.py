"""The executor `slurm` against a queue whose answers are fixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from adbench.config import words as config
from adbench.executors import Failure, Job
from adbench.executors.remote import Resources, Status, write_status
from adbench.executors.slurm import Slurm, notes
from adbench.executors.slurm.keys import SlurmKeys
from adbench.executors.slurm.notes import Note
from adbench.executors.slurm.queue import GONE, State
from adbench.executors.slurm.submit import request_of


class FakeJobs:
    """The jobs of a sweep, and what the executor reports about them."""

    def __init__(self, runs: Path, *seeds: int, words: Sequence[str] = ()) -> None:
        words = [*words, "executor=slurm", "slurm.poll=0.01", f"runs={runs}"]
        self.waiting = [Job(f"key{s}", config.parse([*words, f"seed={s}"])[0], (), runs / "log") for s in seeds]
        self.stopped = False
        self.stages: list[str] = []
        self.ended: dict[str, Failure | None] = {}
        self.back: list[str] = []
        self.notes: list[str] = []

    def next(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting and not self.stopped else None

    def stage(self, job: Job, name: str) -> None:
        self.stages.append(name)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, job: Job, failure: Failure | None) -> None:
        self.ended[job.key] = failure

    def put_back(self, job: Job) -> None:
        self.back.append(job.key)


class FakeSlurm:
    """A queue of fixed states, and a submission whose jobs end at once, each with a record."""

    def __init__(self, **states: State) -> None:
        self.known = states
        self.cancelled: list[str] = []
        self.submitted: list[str] = []
        self.arrays: list[tuple[str, Resources, int, list[str]]] = []

    def states(self, jobs):
        return {job: self.known.get(job, GONE) for job in jobs}

    def named(self, name):
        return ["77"]

    def cancel(self, jobs, waiting_only=False):
        self.cancelled += jobs
        for job in jobs:
            if not waiting_only or self.known[job].waits:
                self.known[job] = State("CANCELLED")

    def submit(self, folder, keys, resources, name, workers, jobs, before):
        self.submitted += [job.key for job in jobs]
        number = f"{9 + len(self.arrays)}"
        self.arrays.append((number, resources, len(jobs), list(before)))
        assert [note.cells for note in notes.read(folder) if note.name == name] == [{job.key: "" for job in jobs}], (
            "a kill right after the submission finds a note"
        )
        ids = [f"{number}_{i}" for i in range(len(jobs))]
        self.known |= {id_: State("RUNNING") for id_ in ids}
        for job in jobs:
            write_status(folder, job.key, Status("ended", ended=True))
            (folder.parent / job.key).mkdir(exist_ok=True)
        return ids


def executor(jobs: FakeJobs, slurm: FakeSlurm) -> Slurm:
    config = jobs.waiting[0].config
    return Slurm(9, config, slurm, slurm.submit, poll_seconds=0.01, record_timeout=0.2)


def test_a_command_that_comes_back_takes_over_what_was_submitted(stub_record, left, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    jobs = FakeJobs(runs, 0, 1, 2, 3, 4)
    states = {"5_0": State("RUNNING"), "5_1": State("TIMEOUT", "TimeLimit"), "5_2": State("COMPLETED")}
    slurm = FakeSlurm(**states)
    slurm_executor = executor(jobs, slurm)
    folder = slurm_executor.folder
    notes.write(folder, Note({"key0": "5_0", "key1": "5_1", "key2": "5_2", "key3": "5_3"}))
    failure = Failure("ValueError", "no", (), True)
    write_status(folder, "key2", Status("ended", ended=True, failure=failure))  # not reported yet
    write_status(folder, "key0", Status("ended", ended=True))
    stub_record(jobs.waiting[0].config, "key0")
    slurm_executor.run(jobs)
    assert slurm.submitted == ["key3", "key4"], "5_3 is not known any more, and key4 is new"
    assert [before for *_, before in slurm.arrays] == [["5"]], "they wait for what an earlier command submitted"
    assert jobs.ended["key0"] is None
    assert jobs.ended["key2"] == failure
    assert jobs.ended["key1"].kind == "TIMEOUT"
    assert "Slurm ended job 5_1 (TimeLimit); slurm.time= gives it more time" in jobs.ended["key1"].message
    assert jobs.ended["key3"] is jobs.ended["key4"] is None
    assert left(runs) == []


def test_arrays_of_one_sweep_run_one_after_the_other_and_none_is_too_large(tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", *range(7), words=["slurm.array=4"])
    jobs.waiting = [dataclasses.replace(job, memory_gb=20.0 * (n % 2)) for n, job in enumerate(jobs.waiting)]
    slurm = FakeSlurm()
    executor(jobs, slurm).run(jobs)
    needs = Resources(1, 0, 0.0), Resources(1, 0, 20.0)
    assert slurm.arrays == [
        ("9", needs[0], 2, []), ("10", needs[1], 2, ["9"]), ("11", needs[0], 2, []), ("12", needs[1], 1, ["11"])
    ]  # fmt: skip
    assert len(jobs.ended) == 7


def test_a_submission_that_was_cut_short_is_cancelled_and_made_again(left, tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", 0, 1)
    slurm = FakeSlurm(**{"77": State("RUNNING")})
    slurm_executor = executor(jobs, slurm)
    notes.write(slurm_executor.folder, Note({"key0": "", "key1": ""}))
    slurm_executor.run(jobs)
    assert slurm.cancelled == ["77"]
    assert slurm.submitted == ["key0", "key1"]
    assert left(tmp_path / "runs") == []


def test_a_job_that_ends_without_a_word_is_a_failed_cell(tmp_path: Path) -> None:
    class Silent(FakeSlurm):
        def submit(self, folder, keys, resources, name, workers, jobs, before):
            self.known |= {"9_0": State("COMPLETED", "None"), "9_1": State("OUT_OF_MEMORY", "OutOfMemory")}
            (folder / "jobs").mkdir()
            (folder / "jobs" / "9_1_0_log.err").write_text("Killed\n")
            return ["9_0", "9_1"]

    jobs = FakeJobs(tmp_path / "runs", 0, 1)
    executor(jobs, Silent()).run(jobs)
    assert "job 9_0 is over, and left neither a record nor an error" in jobs.ended["key0"].message
    assert jobs.ended["key1"].kind == "OUT_OF_MEMORY"
    assert "slurm.memory= gives it more memory" in jobs.ended["key1"].message
    assert jobs.ended["key1"].trace == ("Killed",)


def test_a_cell_whose_machine_was_lost_is_queued_again(tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", 0)

    class Requeued(FakeSlurm):
        """The machine of the job was lost; the job ends on another one once the executor has seen that it waits."""

        folder: Path

        def submit(self, folder, keys, resources, name, workers, jobs, before):
            self.folder = folder
            write_status(folder, "key0", Status("fit", "node7", 12))
            self.known["9_0"] = State("PENDING", "BeginTime")
            return ["9_0"]

        def states(self, ids):
            if jobs.stages[-1] == "queued" and "fit" in jobs.stages:
                write_status(self.folder, "key0", Status("ended", ended=True, failure=Failure("E", "no")))
            return super().states(ids)

    executor(jobs, Requeued()).run(jobs)
    assert jobs.stages == ["queued", "fit", "queued"]
    assert jobs.ended["key0"].kind == "E"


def test_a_local_job_that_ends_while_the_next_is_submitted_is_reported(stub_record, left, tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", 0, 1, 2, words=["slurm.cluster=local"])
    configs = {job.key: job.config for job in jobs.waiting}
    slurm = FakeSlurm()

    def end(key: str) -> None:
        """What a job does at its end."""
        stub_record(configs[key], key)
        write_status(tmp_path / "runs" / ".slurm", key, Status("ended", ended=True))
        slurm.known[key] = GONE

    def submit(folder, keys, resources, name, workers, some, before):
        slurm.known |= {job.key: State("RUNNING") for job in some}
        for job in some:
            if job.key != "key1":
                end(job.key)
        return [job.key for job in some]

    def finished(job: Job, failure: Failure | None) -> None:
        jobs.ended[job.key] = failure
        if job.key == "key0":
            end("key1")  # after the status files were read, and before key2 is submitted

    jobs.finished = finished  # type: ignore[method-assign]
    Slurm(2, configs["key0"], slurm, submit, poll_seconds=0.01, record_timeout=0.2).run(jobs)
    assert jobs.ended == {"key0": None, "key1": None, "key2": None}
    assert left(tmp_path / "runs") == []


BEFORE = request_of(SlurmKeys(time="3000"), Resources(1, 0))  # what the earlier command requested
SAME = request_of(SlurmKeys(time="5"), Resources(1, 0))


def test_a_job_that_waits_with_another_request_is_submitted_again(left, tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", 0, 1, 2, 3, 4, words=["slurm.time=5"])
    late = "PartitionTimeLimit"
    slurm = FakeSlurm(
        **{"5_0": State("PENDING", late), "5_1": State("RUNNING"), "5_2": State("PENDING", late)},
        **{"6_0": State("PENDING", "Priority"), "7_0": State("PENDING", "Priority"), "8_0": State("PENDING", late)},
    )
    slurm_executor = executor(jobs, slurm)
    folder = slurm_executor.folder
    notes.write(folder, Note({"key0": "5_0", "key1": "5_1", "key2": "5_2"}, BEFORE))
    notes.write(folder, Note({"key3": "6_0"}, SAME))
    notes.write(folder, Note({"key4": "7_0"}))  # of an adbench that did not note the request
    notes.write(folder, Note({"other": "8_0"}, BEFORE))  # of another sweep in this folder
    slurm_executor._take(jobs)
    assert slurm.cancelled == ["5_0", "5_2"]
    assert slurm.submitted == ["key0", "key2"]
    assert {key: cell.id for key, cell in slurm_executor.cells.items()} == {
        "key0": "9_0", "key1": "5_1", "key2": "9_1", "key3": "6_0", "key4": "7_0"
    }  # fmt: skip
    (before,) = [before for *_, before in slurm.arrays]
    assert sorted(before) == ["5", "6", "7"], "no more than `workers` run at a time"
    assert jobs.notes == [
        "2 jobs of an earlier command waited with another request: cancelled, and submitted again as this command "
        "requests."
    ]
    assert {(key, note.request) for note in notes.read(folder) for key in note.cells} == {
        ("key0", SAME), ("key1", BEFORE), ("key2", SAME), ("key3", SAME), ("key4", ""), ("other", BEFORE)
    }  # fmt: skip


def test_a_job_that_starts_before_it_is_cancelled_is_taken_over(tmp_path: Path) -> None:
    class Starts(FakeSlurm):
        def cancel(self, jobs, waiting_only=False):
            self.known["5_0"] = State("RUNNING")
            super().cancel(jobs, waiting_only)

    jobs = FakeJobs(tmp_path / "runs", 0, words=["slurm.time=5"])
    slurm = Starts(**{"5_0": State("PENDING", "Priority")})
    slurm_executor = executor(jobs, slurm)
    notes.write(slurm_executor.folder, Note({"key0": "5_0"}, BEFORE))
    slurm_executor._take(jobs)
    assert slurm.submitted == []
    assert slurm_executor.cells["key0"].id == "5_0"
    assert jobs.notes == []


def test_a_request_is_the_same_whatever_its_array() -> None:
    keys, need = SlurmKeys(time="5", options={"dependency": "afterok:7"}), Resources(1, 0)
    again = dataclasses.replace(keys, time="0:5:00", poll=1, array=3)
    assert request_of(keys, need) == request_of(again, need)
    others = [
        request_of(dataclasses.replace(keys, **change), need)
        for change in ({"time": "6"}, {"partition": "gpu"}, {"options": {}}, {"setup": ["module load cuda"]})
    ]
    others += [
        request_of(keys, Resources(2, 0)),
        request_of(keys, Resources(1, 1)),
        request_of(keys, Resources(1, 0, 8)),
    ]
    assert len({request_of(keys, need), *others}) == 8


def test_why_a_job_can_never_start_is_said_once(tmp_path: Path) -> None:
    jobs = FakeJobs(tmp_path / "runs", 0, 1, 2)

    class Waits(FakeSlurm):
        """Jobs that wait: for a while as others do, then for what does not come."""

        asked = 0

        def submit(self, folder, keys, resources, name, workers, jobs, before):
            self.folder = folder
            return [f"9_{i}" for i in range(len(jobs))]

        def states(self, ids):
            self.asked += 1
            if self.asked == 9:
                for key in ("key0", "key1", "key2"):
                    write_status(self.folder, key, Status("ended", ended=True, failure=Failure("E", "no")))
            first = ["None", "PartitionConfig", "PartitionTimeLimit", "PartitionTimeLimit"][min(self.asked - 1, 3)]
            third = ["Resources", "ReqNodeNotAvail, UnavailableNodes:a", "ReqNodeNotAvail, UnavailableNodes:a,b"]
            waits = [first, first, third[min(self.asked // 3, 2)]]
            return {id_: State("PENDING", waits[int(id_[-1])]) for id_ in ids}

    executor(jobs, Waits()).run(jobs)
    assert jobs.notes == [
        "Slurm does not start 2 jobs, 9_0 the first: the partition does not allow so much time (PartitionTimeLimit). "
        "Press Ctrl-C, and change slurm.time= or slurm.partition=.",
        "Slurm does not start job 9_2: the nodes are down, or reserved for a time before the end of the job "
        "(ReqNodeNotAvail). Press Ctrl-C, and change slurm.time=, slurm.constraint=, slurm.partition= or "
        "slurm.options.nodelist=.",
    ], "PartitionConfig was a reason for a moment only"
    assert len(jobs.ended) == 3, "the command went on watching"
