"""Many cells in one command: what is planned, what runs where, and what becomes of a cell that fails."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from adbench.backbone.clip import Backbone
from adbench.backbone.features import FrozenFeatures
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError, RecordError
from adbench.executors import Failure, Job, local
from adbench.method import Capability
from adbench.records import record
from adbench.records.record import read, read_all
from adbench.sweeps.costs import cost_of, costs
from adbench.sweeps.sweep import Sweep, Task, plan
from adbench.system.session import Session

# A method whose cells do what a file beside it says: raise, die, take their time, or spoil the process and raise.
FRAGILE = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from adbench import Capability, Method, Scores

HERE = Path(__file__)


@dataclass
class Params:
    pass


class Fragile(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", blocks=(1,), maps=False)

    def prepare(self, support):
        with HERE.with_name("starts").open("a") as file:
            file.write(f"{self.seed}\\n")
        trouble = HERE.with_name(f"trouble_{self.seed}")
        what = trouble.read_text() if trouble.exists() else "0"
        if what == "spoil":
            torch.set_default_dtype(torch.float64)
        if what in ("raise", "spoil"):
            raise ValueError("this method is fragile")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(what))

    def score(self, batch):
        return Scores(batch.images.float().mean((1, 2, 3)) + self.seed + torch.zeros(()).element_size())
"""


class FragileFile:
    """The file of that method, and how often each of its seeds was started."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "fragile.py").write_text(FRAGILE)
        self.word = f"method={folder / 'fragile.py'}:Fragile"

    def trouble(self, seed: int, what: str) -> None:
        (self.folder / f"trouble_{seed}").write_text(what)

    def mend(self) -> None:
        for file in self.folder.glob("trouble_*"):
            file.unlink()

    @property
    def starts(self) -> list[int]:
        file = self.folder / "starts"
        return sorted(map(int, file.read_text().split())) if file.exists() else []


@pytest.fixture
def fragile(tmp_path: Path) -> FragileFile:
    return FragileFile(tmp_path / "plugin")


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    return [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]


def keys(runs: Path) -> set[str]:
    return {path.name for path in record.folders(runs)}


def tree(*folders: Path) -> dict[str, float]:
    return {str(p): p.stat().st_mtime_ns for folder in folders for p in [folder, *folder.rglob("*")] if p.exists()}


# --- words


def test_groups_and_wildcards_stand_for_names() -> None:
    def datasets(word: str) -> list[str]:
        return [c.dataset for c in config.parse(["method=clip", f"dataset={word}"])]

    assert datasets("bmad") == ["brainmri", "liverct", "resc", "oct17", "chestxray", "his"]
    assert datasets("bmad_masked") == ["brainmri", "liverct", "resc"]
    assert datasets("his,bmad") == ["his", "brainmri", "liverct", "resc", "oct17", "chestxray"], "each counts once"
    assert set(datasets("bmad")) <= set(datasets("*"))
    assert datasets("res?") == ["resc"]
    methods = {c.method for c in config.parse(["method=*clip"])}
    assert {"clip", "madclip"} <= methods
    assert "patchcore" not in methods


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dataset=bmda", "did you mean the group 'bmad'"),
        ("dataset=x*", "dataset=x\\* matches nothing. Allowed: .*brainmri"),
        ("method=*clop", "matches nothing"),
        ("executor=slrm", "unknown executor 'slrm': did you mean 'slurm'.*Allowed: local, ray, slurm"),
        ("workers=0", "workers=0 is not possible: at least 1"),
    ],
)
def test_words_that_stand_for_nothing_are_one_sentence(word: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse([word])


def test_a_bad_word_anywhere_stops_everything_before_the_first_cell(adbench, words, tmp_path: Path) -> None:
    for bad in (["method=clip,madclp"], ["method=patchcore,clip", "method.coreset=0.5"], ["precision=32-true,32"]):
        answer = adbench("run", *words, *bad)
        assert answer.code == 2
        assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# --- plan


def test_plan_shows_what_is_recorded_and_changes_nothing(adbench, words, tiny: Path, cache: Path, tmp_path) -> None:
    runs = tmp_path / "runs"
    adbench("run", *words, "method=patchcore", "shots=1", "draw=0,1")
    before = tree(runs, cache, tiny)
    answer = adbench("plan", *words, "method=patchcore,clip", "shots=1", "draw=0,1,2")
    assert answer.code == 0, answer.err
    assert tree(runs, cache, tiny) == before
    assert answer.out.count("clip  ") == 1, "a method without support is one cell"
    rows = [line.split() for line in answer.out.splitlines() if line.startswith("  patchcore")]
    assert [("recorded" in row, row[3]) for row in rows] == [(True, "0"), (True, "1"), (False, "2")]
    assert "4 cells: 2 recorded already, 2 to run" in answer.out
    own = costs(runs)["patchcore",]
    assert own.n == 2
    assert own.memory > 1e8
    assert rows[2][-1] == "shots"
    assert "told from: 1 by records of the same method, backbone, schedule, dataset, shots; 1 by records of other" in (
        answer.out
    )
    assert "data: " in answer.out


def note(runs: Path, key: str, seconds: float, run: config.RunConfig) -> None:
    """Leave as much of a record as an estimate and `record.find` want."""
    (runs / key).mkdir(parents=True)
    for name in record.FILES:
        (runs / key / name).touch()
    content = {"schema": record.SCHEMA, "key": key, "status": "complete", "seconds": {"fit": seconds}}
    content |= {"peak_memory": {"host_bytes": 10**9}, "resolved": dataclasses.asdict(run)}
    (runs / key / "record.json").write_text(json.dumps(content))


def test_a_cell_costs_what_the_records_most_like_it_did(tmp_path: Path) -> None:
    (base,) = config.parse(["method=clip", "dataset=his", "shots=4"])
    differences = [{}, {"shots": 8}, {"dataset": "resc"}, {"schedule": "paper"}, {"backbone": "x"}, {"method": "mvfa"}]
    likes = ["shots", "dataset", "schedule", "backbone", "method", "any"]
    for n in reversed(range(6)):
        note(tmp_path, f"key{n}", 10.0**n, dataclasses.replace(base, **differences[n]))
        found = cost_of(base, costs(tmp_path))
        assert found is not None
        assert found.like == likes[n]
    assert (found.seconds, found.n) == (1.0, 1)
    assert cost_of(base, {}) is None


def test_plan_reads_each_record_once(adbench, words, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [*words, "method=clip", "batch_size=1,2,3"]
    runs = tmp_path / "runs"
    tasks = plan(config.parse(seeds), looking=True)
    for task in tasks[:2]:
        note(runs, task.key, 1.0, task.config)
    note(runs, "another", 9.0, dataclasses.replace(tasks[0].config, method="mvfa"))
    read, text = [], Path.read_text

    def counted(path: Path, *args, **kwargs):
        read.extend([path.parent.name] if path.name == "record.json" else [])
        return text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", counted)
    answer = adbench("plan", *seeds)
    assert sorted(read) == sorted(["another", tasks[0].key, tasks[1].key])
    assert "3 cells: 2 recorded already, 1 to run" in answer.out
    assert "time: about 1.0 s" in answer.out
    read.clear()
    adbench("plan", *seeds[:-1], "batch_size=1,2")
    assert sorted(read) == sorted([tasks[0].key, tasks[1].key]), "nothing is to run: no other record matters"


def test_plan_of_phantoms_not_drawn_says_so_and_draws_none(adbench, tmp_path: Path) -> None:
    place = [f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"]
    answer = adbench("plan", "method=clip,patchcore", "dataset=bmad_masked", "draw=0,1", *place)
    assert answer.code == 0, answer.err
    assert "the phantoms of liverct are not drawn yet" in answer.out
    assert "9 cells: 0 recorded already, 0 to run, 9 unknown until drawn" in answer.out
    assert "there is no earlier record here to tell from" in answer.out
    assert not list(tmp_path.iterdir())


def test_plan_of_data_never_hashed_leaves_no_hashes(adbench, words, tmp_path: Path) -> None:
    answer = adbench("plan", *words, "method=clip", "batch_size=1,2", f"cache={tmp_path / 'cache'}")
    assert "2 cells: 0 recorded already, 2 to run" in answer.out
    assert not (tmp_path / "cache").exists()


def test_plan_of_many_cells_looks_at_each_thing_once(words, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench.backbone import weights
    from adbench.data import indexed
    from adbench.data.support import FewShotSampler
    from adbench.datasets.bmad import BMAD
    from adbench.methods.patchcore import PatchCore

    calls = {"index": 0, "hash": 0, "weights": 0, "capability": 0, "draw": 0, "merge": 0}

    def counted(name: str, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(BMAD, "index", counted("index", BMAD.index))
    monkeypatch.setattr(indexed, "hash_items", counted("hash", indexed.hash_items))
    monkeypatch.setattr(weights, "weights_file", counted("weights", weights.weights_file))
    monkeypatch.setattr(PatchCore, "capability", counted("capability", PatchCore.capability))
    monkeypatch.setattr(FewShotSampler, "__call__", counted("draw", FewShotSampler.__call__))
    monkeypatch.setattr(layers, "merge", counted("merge", layers.merge))
    many = [*words, "method=patchcore", "shots=1,2", "draw=0,1,2,3,4", "seed=" + ",".join(map(str, range(50)))]
    asked = config.parse(many)
    calls["merge"] = 0
    tasks = plan(asked, looking=True)
    assert len(tasks) == len({task.key for task in tasks}) == 500
    wanted = {"index": 1, "hash": 1, "weights": 1, "capability": 1, "draw": 10}
    assert calls == wanted | {"merge": 3}, "of backbone, method and dataset"


def test_a_session_keeps_an_answer_by_its_arguments_and_no_error() -> None:
    seen = []

    def double(number: int) -> int:
        seen.append(number)
        if number < 0:
            raise ValueError
        return 2 * number

    session = Session()
    assert [session.once(double, 1), session.once(double, 1), session.once(double, 2)] == [2, 2, 4]
    assert seen == [1, 2]
    for _ in range(2):
        with pytest.raises(ValueError):
            session.once(double, -1)
    assert Session().once(double, 1) == 2
    assert seen == [1, 2, -1, -1, 1]
    with pytest.raises(TypeError, match="unhashable"):  # what can't be told apart can't be kept
        session.once(len, [1])


def test_workers_warm_up_only_where_a_cell_is_to_run(adbench, words, monkeypatch: pytest.MonkeyPatch) -> None:
    warmed = []
    warm_up = local.Local.warm_up
    monkeypatch.setattr(local.Local, "warm_up", lambda self: warmed.append(self.workers) or warm_up(self))
    mine = [*words, "method=clip", "workers=2"]
    for seeds, calls in (
        ("threads=1", []),
        ("batch_size=1,2,3", [2]),
        ("batch_size=1,2,3", [2]),
        ("batch_size=3", [2]),
    ):
        assert adbench("run", *mine, seeds).code == 0
        assert warmed == calls, seeds


# --- failures


def test_a_failing_cell_costs_that_cell_and_is_tried_again(adbench, words, fragile: FragileFile, tmp_path) -> None:
    runs, mine = tmp_path / "runs", [*words, fragile.word, "seed=0,1,2"]
    fragile.trouble(1, "raise")
    answer = adbench("run", *mine)
    assert answer.code == 1
    assert fragile.starts == [0, 1, 2]
    assert "1 of 3 cells failed" in answer.err
    assert "ValueError: this method is fragile" in answer.out
    assert len(read_all(runs)) == 2

    (folder,) = (
        runs / key for key in keys(runs) if json.loads((runs / key / "record.json").read_text())["status"] != "complete"
    )
    noted = json.loads((folder / "record.json").read_text())
    assert noted["status"] == "failed"
    assert noted["error"]["kind"] == "ValueError"
    assert noted["error"]["traceback"][-1] == "ValueError: this method is fragile"
    assert noted["resolved"]["seed"] == 1
    log = Path(noted["log"])
    assert log == runs / "logs" / f"{folder.name}.log"
    assert "Traceback" in log.read_text()
    assert str(log) in answer.out
    with pytest.raises(RecordError, match=r"a cell that failed \(ValueError: this method is fragile\)"):
        read(folder)
    board = adbench("leaderboard", runs, "--csv", tmp_path / "board.csv")
    assert board.code == 0, board.err
    assert "to run" in adbench("plan", *mine).out

    fragile.mend()
    again = adbench("run", *mine)
    assert again.code == 0, again.err
    assert "2 recorded already, 1 to run" in again.out
    assert fragile.starts == [0, 1, 1, 2], "only what is missing runs"
    assert len(read_all(runs)) == 3
    assert adbench("run", *mine, "draw=0").out.count("recorded already") == 1
    assert fragile.starts == [0, 1, 1, 2]


@pytest.mark.parametrize(("trouble", "kind"), [("spoil", "ValueError"), ("die", "WorkerDied")])
def test_one_worker_too_is_replaced_behind_a_failure(
    adbench, words, fragile: FragileFile, predictions, tmp_path: Path, trouble: str, kind: str
) -> None:
    mine = [word for word in words if not word.startswith("runs=")]
    for seed in (0, 2):
        assert adbench("run", *mine, fragile.word, f"seed={seed}", f"runs={tmp_path / 'alone'}").code == 0
    fragile.trouble(1, trouble)
    answer = adbench("run", *mine, fragile.word, "seed=0,1,2", f"runs={tmp_path / 'sweep'}")
    assert answer.code == 1
    assert "1 of 3 cells failed" in answer.err
    assert kind in answer.out
    assert predictions(tmp_path / "sweep") == predictions(tmp_path / "alone")


def test_a_damaged_record_costs_its_own_cell(adbench, words, tmp_path: Path) -> None:
    runs, mine = tmp_path / "runs", [*words, "method=clip", "batch_size=1,2,3,4"]
    *damaged, whole = (task.key for task in plan(config.parse(mine), looking=True))
    for key, content in zip(damaged, ["", "[]", '{"schema": 99, "status": "complete"}'], strict=True):
        (runs / key).mkdir(parents=True)
        (runs / key / "record.json").write_text(content)
    planned = adbench("plan", *mine)
    assert planned.code == 0, planned.err
    assert "0 recorded already, 1 to run, 3 that can't run" in planned.out
    answer = adbench("run", *mine)
    assert answer.code == 1
    assert "3 of 4 cells failed" in answer.err
    for key in damaged:
        assert str(runs / key) in planned.out
        assert str(runs / key) in answer.out.partition("failed, 3 of 4")[2]
    assert read(runs / whole).key == whole
    assert adbench("run", *mine, "force=true").code == 0
    assert len(read_all(runs)) == 4


def test_data_that_cannot_be_used_cost_their_cells_alone(adbench, words, tmp_path: Path) -> None:
    answer = adbench("run", *words, "method=patchcore", "shots=2,7")
    assert answer.code == 1
    assert "shots=7 is more than there are" in answer.out
    assert len(read_all(tmp_path / "runs")) == 1
    alone = adbench("run", *words, "method=patchcore", "shots=7,8")
    assert alone.code == 2, "nothing could run: the first reason is the answer"
    assert "shots=7 is more than there are" in alone.err


def test_a_damaged_image_is_named_in_the_table(adbench, words, tiny: Path, tmp_path: Path) -> None:
    path = sorted((tiny / "Brain" / "test" / "good" / "img").iterdir())[0]
    path.write_bytes(path.read_bytes()[:150])
    answer = adbench("run", *words, "method=clip", "batch_size=1,2")
    assert answer.code == 1
    assert "2 of 2 cells failed" in answer.err
    assert answer.out.count(path.name) >= 2
    assert [p.name for p in (tmp_path / "runs").glob(".*")] == []


def test_a_pipe_gets_one_line_for_each_cell(adbench, words) -> None:
    answer = adbench("run", *words, "method=clip,patchcore", "shots=1", "draw=0,1")
    lines = [line for line in answer.out.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert all("image AUROC" in line for line in lines)
    assert answer.err == ""
    assert "phantom-clip" in answer.out.splitlines()[0], "the first line names data, backbone and schedule"
    assert "phantom-clip" in answer.out.splitlines()[-1]


# --- records under several hands


def fake(folder: Path, who: str, status: str = "complete") -> None:
    (folder / "record.json").write_text(json.dumps({"status": status, "who": who}))


def who(runs: Path) -> str:
    return str(json.loads((runs / "cell" / "record.json").read_text())["who"])


def test_of_two_records_of_one_cell_the_first_stays(tmp_path: Path) -> None:
    with record.writing(tmp_path, "cell") as late:
        with record.writing(tmp_path, "cell") as early:
            fake(early, "early")
        fake(late, "late")
    assert who(tmp_path) == "early"
    with record.writing(tmp_path, "cell", force=True) as folder:
        fake(folder, "forced")
    assert who(tmp_path) == "forced"
    record.note_failure(tmp_path, "cell", {"who": "failed"})
    assert who(tmp_path) == "forced", "a failure takes nobody's record away"
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]


def test_a_record_replaces_a_failure_and_a_failure_another(tmp_path: Path) -> None:
    record.note_failure(tmp_path, "cell", {"who": "first failure"})
    record.note_failure(tmp_path, "cell", {"who": "second failure"})
    assert who(tmp_path) == "second failure"
    assert record.find(tmp_path, "cell") is None
    assert read_all(tmp_path) == []
    with record.writing(tmp_path, "cell") as folder:
        fake(folder, "good")
    assert who(tmp_path) == "good"


def test_many_writers_of_one_cell_leave_one_whole_record(tmp_path: Path) -> None:
    errors, start = [], threading.Barrier(8)

    def write(name: str) -> None:
        start.wait()
        try:
            for turn in range(20):
                if turn % 2:
                    record.note_failure(tmp_path, "cell", {"who": "failed"})
                with record.writing(tmp_path, "cell", force=turn % 3 == 0) as folder:
                    fake(folder, name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert who(tmp_path) in map(str, range(8))
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]


def test_features_are_computed_by_one_of_two(random_clip: Backbone, noise: torch.Tensor, tmp_path: Path) -> None:
    calls = []

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(random_clip, name)

        def features(self, images: torch.Tensor, *args: object) -> object:
            calls.append(len(images))
            time.sleep(0.05)
            return random_clip.features(images, *args)

    frozen = FrozenFeatures(Slow(), "w", (3,), False, "32-true", tmp_path)
    threads = [threading.Thread(target=frozen, args=(noise,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == len(noise)


# --- who runs what


def task(name: str, data: str, *blocks: int) -> Task:
    facts = dict.fromkeys(
        ("weights", "model", "activation", "normalisation", "input_size", "precision", "threads"), ""
    ) | {"data": data}  # fmt: skip
    can = Capability("none", blocks=blocks, pooled=not blocks)
    (run,) = config.parse(["method=clip"])
    return Task(run, SimpleNamespace(facts=facts, capability=can, training_key=None), name)


class Silence:
    def __getattr__(self, name: str):
        return lambda *args: None


def test_workers_compute_other_features_first() -> None:
    sweep = Sweep((), Silence())
    sweep.add([task("a1", "a"), task("a2", "a"), task("a3", "a"), task("b1", "b")])
    first, second = sweep.next(), sweep.next()
    assert (first.key, second.key) == ("a1", "b1")
    assert sweep.next().key == "a2", "when nothing else is left, better together than idle"
    sweep.running.pop("a1")
    sweep.warm.update(sweep.warm)
    assert sweep.next().key == "a3"
    assert sweep.next() is None


def test_workers_compute_other_blocks_first() -> None:
    sweep = Sweep((), Silence())
    sweep.add(
        [task("first", "a", 3, 6), task("overlaps", "a", 6, 9), task("apart", "a", 9, 12), task("elsewhere", "b", 3)]
    )
    assert [sweep.next().key for _ in range(4)] == ["first", "apart", "elsewhere", "overlaps"]


def test_workers_that_never_come_up_end_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Dead:
        ready = False

        def __init__(self, number: int, environment: dict[str, str]) -> None:
            self.number = number
            self.job = None
            self.pipe, gone = os.pipe()
            os.close(gone)
            self.process = SimpleNamespace(sentinel=os.dup(self.pipe))

        def give(self, job: Job) -> None:
            self.job = job

        def receive(self):
            self.job = None
            return "died", Failure("WorkerDied", "its worker could not start: ImportError: no torch")

        def kill(self) -> None:
            pass

    class Endless(Silence):
        failures = 0

        def next(self) -> Job:
            return Job("key", config.parse([])[0], (), tmp_path / "log")

        def finished(self, job: Job, failure: Failure | None) -> None:
            self.failures += failure is not None

    monkeypatch.setattr(local, "_Worker", Dead)
    jobs = Endless()
    with pytest.raises(AdbenchError, match="3 workers in a row ended before their first cell.*no torch"):
        local.Local(2, config.parse([])[0]).run(jobs)
    assert jobs.failures == 3


def test_a_new_worker_takes_the_number_and_the_gpu_of_the_one_that_went(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(SimpleNamespace):
        def __init__(self, number: int, environment: dict[str, str]) -> None:
            super().__init__(number=number, gpu=environment.get("CUDA_VISIBLE_DEVICES"), job="busy")

    monkeypatch.setattr(local, "_Worker", Idle)

    def crew(gpus: str, *words: str) -> list[str | None]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        it = local.Local(3, config.parse(list(words))[0])
        for _ in range(3):
            it._idle()
        it.running.pop(1)
        it._idle()
        return [worker.gpu for worker in it.running]

    assert crew("4,7") == ["4", "4", "7"]
    assert crew("GPU-a, GPU-b", "device=cuda") == ["GPU-a", "GPU-a", "GPU-b"]
    for words in (["device=cpu"], ["trainer.devices=2"]):
        assert crew("4,7", *words) == [None] * 3, "nothing is taken from it"
    assert crew("4") == crew("") == crew("-1") == [None] * 3


def test_each_of_two_workers_sees_its_own_gpu(words, moody, started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    moody.be("meet 2")
    _, err = (child := started(*words, moody.word, "seed=0,1", "workers=2")).communicate(timeout=300)
    assert child.returncode == 0, err
    assert sorted(gpus for _, _, gpus in moody.spans) == ["0", "1"]


def test_a_terminal_shows_a_line_for_each_running_cell(words, moody, until, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = command(*words, moody.word, "seed=9")
    assert first.wait(timeout=180) == 0, "a record to estimate from"
    moody.be("hold")
    screen, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *words, moody.word, "seed=0,1,2", "workers=2"], stdout=terminal,
        stderr=terminal, stdin=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
    )  # fmt: skip
    os.close(terminal)
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the last one has closed the terminal
            while part := os.read(screen, 4096):
                seen.extend(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def text() -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode(errors="replace"))

    try:
        until(lambda: re.search(r"Moody brainmri, .*seed 0 .*(fit|build)", text()) and "seed 1 " in text())
        assert re.search(r"all cells .*0/3.*about .* left", text())
        assert not re.search(r"seed 2 .* s +(starting|fit|build|score)", text()), "two at a time"
    finally:
        moody.go()
        child.wait(timeout=180)
    reader.join(timeout=30)
    os.close(screen)
    assert child.returncode == 0, text()
    assert "Traceback" not in text()
    assert len(read_all(runs)) == 4


# --- processes


def command(*words: object, **more) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *map(str, words)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=more.get("cwd"),
        # A test run in the background of a shell has Ctrl-C ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def until(condition, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_two_workers_give_the_bytes_of_one_and_outlive_a_death(
    adbench, words, fragile: FragileFile, predictions, tmp_path: Path
) -> None:
    mine = [w for w in words if not w.startswith("runs=")]
    mine += [f"method=clip,patchcore,{fragile.word.partition('=')[2]}", "shots=2", "draw=0,1", "seed=0,1"]
    fragile.trouble(1, "die")
    two = adbench("run", *mine, f"runs={tmp_path / 'two'}", "workers=2")
    assert two.code == 1
    assert "1 of 7 cells failed" in two.err
    assert "WorkerDied: its worker was ended by SIGKILL: out of memory?" in two.out
    fragile.mend()
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


SLOW_AND_FAST = pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])


def interrupted(words: list[str], fragile: FragileFile, workers: int, times: int) -> tuple[int, str, str]:
    """Start eight cells of two seconds each, send Ctrl-C while the first ones run, and return what came of it."""
    for seed in range(8):
        fragile.trouble(seed, "2")
    child = command(*words, fragile.word, "seed=" + ",".join(map(str, range(8))), f"workers={workers}")
    until(lambda: len(fragile.starts) == workers)
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, err = child.communicate(timeout=120)
    assert "Traceback" not in err
    return child.returncode, out, err


@SLOW_AND_FAST
def test_ctrl_c_once_finishes_the_running_cells(words, fragile: FragileFile, tmp_path: Path, workers: int) -> None:
    code, out, err = interrupted(words, fragile, workers, times=1)
    assert code == 130
    assert f"stopping when the {workers} running cells have finished" in err
    assert f"stopped as asked, with {8 - workers} cells left" in err
    assert len(read_all(tmp_path / "runs")) == workers
    assert out.count("not run") == 8 - workers


@SLOW_AND_FAST
def test_ctrl_c_twice_stops_now(words, fragile: FragileFile, tmp_path: Path, workers: int) -> None:
    code, _, err = interrupted(words, fragile, workers, times=2)
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


def killed_and_resumed(adbench, mine: list[str], runs: Path, moments: random.Random, times: int) -> None:
    """Kill the sweep at so many moments, the first counted from the start of the process; then let it end.

    The other moments are counted from its first sign of life. A sweep that has ended before its moment begins anew.
    """
    killed = 0
    while killed < times:
        child = command(*mine, f"runs={runs}", f"cache={runs.with_name('cache')}", "workers=2")
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
    adbench, tiny: Path, tmp_path: Path, times: int, seed: int
) -> None:
    mine = [*SWEEP[:-1], f"data_root={tiny}", f"shots={'1,2' if times == 2 else '1,2,3,4,5'}"]
    assert adbench("run", *mine, f"runs={tmp_path / 'whole'}").code == 0
    killed_and_resumed(adbench, mine, tmp_path / "killed", random.Random(seed), times)
    assert board(adbench, tmp_path / "killed") == board(adbench, tmp_path / "whole")


@pytest.mark.slow
def test_two_commands_at_once_share_the_work_and_corrupt_nothing(
    adbench, tiny: Path, predictions, tmp_path: Path
) -> None:
    mine = [*SWEEP, f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]
    children = [command(*mine), command(*mine)]
    for child in children:
        _, err = child.communicate(timeout=600)
        assert child.returncode == 0, err
    assert adbench("run", *mine[:-1], f"runs={tmp_path / 'alone'}").code == 0
    assert predictions(tmp_path / "runs") == predictions(tmp_path / "alone")
