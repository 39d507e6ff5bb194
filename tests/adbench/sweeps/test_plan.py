"""Plans: which cells there are, what they will cost, and what planning reads and writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adbench.config import layers
from adbench.config import words as config
from adbench.sweeps.costs import costs
from adbench.sweeps.sweep import plan


def tree(*folders: Path) -> dict[str, float]:
    return {str(p): p.stat().st_mtime_ns for folder in folders for p in [folder, *folder.rglob("*")] if p.exists()}


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
    cost = costs(runs)["patchcore",]
    assert cost.n == 2
    assert cost.memory > 1e8
    assert rows[2][-2:] == ["same", "shots"]
    assert "1 estimate comes from records of the same method, backbone, schedule, dataset, shots\n" in answer.out
    assert "1 estimate comes from other methods' records\n" in answer.out
    assert "data: " in answer.out


def test_plan_reads_each_record_once(adbench, words, stub_record, opened_files) -> None:
    seeds = [*words, "method=clip", "batch_size=1,2,3"]
    tasks = plan(config.parse(seeds), offline=True)
    for task in tasks[:2]:
        stub_record(task.config, task.key, facts=task.cell.facts)
    stub_record(dataclasses.replace(tasks[0].config, method="mvfa"), "another", 9.0)

    def planned(*words: str) -> tuple[str, list[str]]:
        with opened_files() as files:
            answer = adbench("plan", *words)
        return answer.out, sorted(file.parent.name for file in files if file.name == "record.json")

    out, read = planned(*seeds)
    assert read == sorted(["another", tasks[0].key, tasks[1].key])
    assert "3 cells: 2 recorded already, 1 to run" in out
    assert "time: about 1.0 s" in out
    _, read = planned(*seeds[:-1], "batch_size=1,2")
    assert read == sorted([tasks[0].key, tasks[1].key]), "nothing is to run: no other record matters"


def test_plan_of_phantoms_not_drawn_says_so_and_draws_none(adbench, tmp_path: Path) -> None:
    place = [f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"]
    answer = adbench("plan", "method=clip,patchcore", "dataset=bmad_masked", "draw=0,1", *place)
    assert answer.code == 0, answer.err
    assert "the phantoms of liverct are not drawn yet" in answer.out
    assert "9 cells: 0 recorded already, 0 to run, 9 unknown until drawn" in answer.out
    assert "there are no records here to estimate them from" in answer.out
    assert not list(tmp_path.iterdir())


def test_plan_of_data_never_hashed_leaves_no_hashes(adbench, words, tmp_path: Path) -> None:
    answer = adbench("plan", *words, "method=clip", "batch_size=1,2", f"cache={tmp_path / 'cache'}")
    assert "2 cells: 0 recorded already, 2 to run" in answer.out
    assert not (tmp_path / "cache").exists()


def test_plan_of_many_cells_looks_at_each_thing_once(words, count_calls, tmp_path: Path) -> None:
    from adbench.backbone.weights import weights_file
    from adbench.data.fingerprint import hash_items
    from adbench.data.support import FewShotSampler
    from adbench.datasets.bmad import BMAD
    from adbench.methods.patchcore import PatchCore

    many = [*words, "method=patchcore", "shots=1,2", "draw=0,1,2,3,4", "seed=" + ",".join(map(str, range(50)))]
    configs = config.parse([*many, f"cache={tmp_path / 'cache'}"])  # in which no method is remembered
    once = [BMAD.index, hash_items, weights_file, PatchCore.capability.__func__]
    with count_calls(*once, FewShotSampler.__call__, layers.merge) as calls:
        tasks = plan(configs, offline=True)
    assert len(tasks) == len({task.key for task in tasks}) == 500
    assert calls[:4] == [1, 1, 1, 1]
    assert calls[4:] == [10, 4], "ten draws; the layers of backbone, method, dataset and wandb"


def test_one_cell_is_singular(adbench, words, tmp_path: Path) -> None:
    answer = adbench("plan", *words, "method=clip")
    assert "1 cell: 0 recorded already, 1 to run" in answer.out


def test_draws_of_the_same_images_are_one_cell_and_a_note_says_which(adbench, tiny: Path, tmp_path: Path) -> None:
    mine = ["method=patchcore,padim", "shots=1", "draw=0,1,2,3,4,5,6,7,8,9", f"data_root={tiny}", f"runs={tmp_path}"]
    tasks = plan(config.parse(mine), offline=True)
    drawn = {(task.config.method, number) for task in tasks for number in (task.config.draw, *task.same)}
    assert len(drawn) == 20
    assert len(tasks) < 20
    out = " ".join(adbench("plan", *mine).out.split())
    assert "choose the same images, and are one cell (padim, patchcore)." in out
    assert "choose the same images" not in adbench("plan", "method=clip,patchcore", f"data_root={tiny}").out
