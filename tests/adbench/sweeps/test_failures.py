"""Cells that fail: by a method's error, by damaged records, by data that can't be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.config import words as config
from adbench.errors import RecordError
from adbench.records import record
from adbench.records.record import read, read_all
from adbench.sweeps.sweep import plan


def keys(runs: Path) -> set[str]:
    return {path.name for path in record.folders(runs)}


def test_a_failing_cell_costs_that_cell_and_is_tried_again(adbench, words, fake, tmp_path) -> None:
    runs, mine = tmp_path / "runs", [*words, fake.word, "seed=0,1,2"]
    fake.behave("raise", 1)
    answer = adbench("run", *mine)
    assert answer.code == 1
    assert fake.starts == [0, 1, 2]
    assert "1 of 3 cells failed" in answer.err
    assert "ValueError: the fake method raises" in answer.out
    assert len(read_all(runs)) == 2

    (folder,) = (
        runs / key for key in keys(runs) if json.loads((runs / key / "record.json").read_text())["status"] != "complete"
    )
    noted = json.loads((folder / "record.json").read_text())
    assert noted["status"] == "failed"
    assert noted["error"]["kind"] == "MethodError"
    assert noted["error"]["traceback"][-1] == "ValueError: the fake method raises"
    assert noted["resolved"]["seed"] == 1
    log = Path(noted["log"])
    assert log == runs / "logs" / f"{folder.name}.log"
    assert "Traceback" in log.read_text()
    assert str(log) in answer.out
    said = r"a cell that failed \(MethodError: the method Fake .*ValueError: the fake method raises"
    with pytest.raises(RecordError, match=said):
        read(folder)
    board = adbench("leaderboard", runs, "--csv", tmp_path / "board.csv")
    assert board.code == 0, board.err
    assert "to run" in adbench("plan", *mine).out

    fake.repair()
    again = adbench("run", *mine)
    assert again.code == 0, again.err
    assert "2 recorded already, 1 to run" in again.out
    assert fake.starts == [0, 1, 1, 2], "only what is missing runs"
    assert len(read_all(runs)) == 3
    assert adbench("run", *mine, "draw=0").out.count("recorded already") == 1
    assert fake.starts == [0, 1, 1, 2]


def test_a_damaged_record_costs_its_own_cell(adbench, words, tmp_path: Path) -> None:
    runs, mine = tmp_path / "runs", [*words, "method=clip", "batch_size=1,2,3,4"]
    *damaged, whole = (task.key for task in plan(config.parse(mine), offline=True))
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


def test_the_plan_of_many_cells_says_why_some_cannot_run(adbench, words) -> None:
    many = ["method=patchcore", "shots=2,7,8", f"seed={','.join(map(str, range(30)))}"]
    planned = adbench("plan", *words, *many)
    assert "90 cells: 0 recorded already, 30 to run, 60 that can't run" in planned.out
    assert planned.out.count("can't run, 30 cells: ") == 2
    assert "shots=7 is more than there are" in planned.out
    assert "shots=8 is more than there are" in planned.out


def test_a_damaged_image_is_named_in_the_table(adbench, words, tiny: Path, tmp_path: Path) -> None:
    path = sorted((tiny / "Brain" / "test" / "good" / "img").iterdir())[0]
    path.write_bytes(path.read_bytes()[:150])
    answer = adbench("run", *words, "method=clip", "batch_size=1,2")
    assert answer.code == 1
    assert "2 of 2 cells failed" in answer.err
    assert answer.out.count(path.name) >= 2
    assert [p.name for p in (tmp_path / "runs").glob(".*")] == []
