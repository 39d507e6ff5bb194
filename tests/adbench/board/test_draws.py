"""Missing draws, seeds and folds of the rows of a leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.board.draws import contradictions, missing_runs
from adbench.board.leaderboard import collect
from adbench.records.record import Record, read_all

Write = Callable[..., None]


@pytest.fixture
def draws(write_record: Write, tmp_path: Path) -> Callable[..., list[Record]]:
    """Write a record for each draw of a method, and read all that there are."""

    def write(numbers: list[int], **changes: object) -> list[Record]:
        name = "-".join(map(str, changes.values()))
        for number in numbers:
            write_record(tmp_path, f"{name}{number}", 0.8, source=f"draw:{number}", **changes)
        return read_all(tmp_path)

    return write


def test_a_gap_is_named(draws) -> None:
    (sentence,) = missing_runs(draws([0, 1, 3, 4]))
    assert sentence.startswith("method madclip; dataset brainmri; protocol few_shot; shots 16: draw 2 is missing")
    assert sentence.endswith("its means are over 4 runs")


def test_complete_rows_are_not_named(draws) -> None:
    draws([0, 1, 2], method="madclip")
    draws([0, 1, 2], method="mvfa")
    assert missing_runs(draws([0], method="clip", shots=0)) == []


def test_the_last_draw_is_missed_where_others_have_it(draws) -> None:
    draws([0, 1, 2, 3], method="mvfa")
    (sentence,) = missing_runs(draws([0, 1, 2], method="madclip"))
    assert "method madclip" in sentence
    assert "draw 3 is missing" in sentence


def test_another_dataset_of_the_method_tells_too(draws) -> None:
    draws([0, 1, 2], dataset="resc")
    (sentence,) = missing_runs(draws([0, 1], dataset="brainmri"))
    assert "dataset brainmri" in sentence
    assert "draw 2 is missing" in sentence


def test_a_row_of_one_draw_is_no_incomplete_row_of_five(draws) -> None:
    draws([0, 1, 2, 3, 4], method="mvfa")
    assert missing_runs(draws([0], method="madclip")) == []


def test_a_seed_of_a_draw_is_missed(draws, write_record: Write, tmp_path: Path) -> None:
    draws([0, 1])
    write_record(tmp_path, "seed1", 0.8, source="draw:0", seed=1)
    (sentence,) = missing_runs(read_all(tmp_path))
    assert "draw 1 with seed 1 is missing" in sentence


def test_several_runs_are_missing_and_one_run_is_one(draws, write_record: Write, tmp_path: Path) -> None:
    draws([0, 1, 2, 3], method="mvfa")
    draws([3], method="madclip")
    (sentence,) = missing_runs(read_all(tmp_path))
    assert sentence.endswith(": draws 0, 1, 2 are missing; its means are over 1 run")
    write_record(tmp_path, "seed1", 0.8, source="draw:3", method="madclip", seed=1)
    (sentence,) = missing_runs(read_all(tmp_path))
    assert sentence.endswith("draw 2 with seed 0, draw 2 with seed 1 are missing; its means are over 2 runs")


def test_a_support_of_all_images_is_the_same_in_each_draw(draws, write_record: Write, tmp_path: Path) -> None:
    draws([0, 1, 2], method="mvfa")
    about = {"counts": {"valid": [3, 9]}, "support_split": "valid", "support_fill": [], "abnormal_support": None}
    for number in (0, 1):
        write_record(tmp_path, f"all{number}", 0.8, method="dra", source=f"draw:{number}")
    assert "draw 2 is missing" in "".join(missing_runs(read_all(tmp_path)))
    for number in (0, 1):
        file = tmp_path / f"all{number}" / "record.json"
        content = json.loads(file.read_text())
        content["dataset"] |= about
        content["support"] |= {"normal": ["a", "b", "c"]}
        file.write_text(json.dumps(content))
    records = read_all(tmp_path)
    assert len(records) == 5
    assert missing_runs(records) == []


def test_draws_of_few_images_may_be_one_cell(draws, tmp_path: Path) -> None:
    draws([0, 1, 3])
    for file in tmp_path.glob("*/record.json"):
        content = json.loads(file.read_text())
        content["dataset"] |= {"counts": {"valid": [12, 12]}, "support_split": "valid"}
        content["support"] |= {"normal": ["a"], "abnormal": ["b"]}
        file.write_text(json.dumps(content))
    (sentence,) = missing_runs(read_all(tmp_path))
    assert "draw 2 is missing; its means are over 3 runs. With so few images" in sentence


def test_two_records_of_one_cell_that_differ(write_record: Write, tmp_path: Path) -> None:
    write_record(tmp_path / "a", "k", 0.8)
    write_record(tmp_path / "b", "k", 0.9)
    records = [*read_all(tmp_path / "a"), *read_all(tmp_path / "b")]
    (sentence,) = contradictions(records)
    assert sentence.endswith("are records of one cell with different figures")
    assert list(contradictions(records[:1] * 2)) == []


def test_a_leaderboard_and_a_check_judge_two_records_of_one_cell_alike(write_record: Write, tmp_path: Path) -> None:
    cells = {"nearly": (0.8, 0.80005), "further": (0.8, 0.8002), "older": (0.8, 0.8)}
    for number, folder in enumerate(("a", "b")):
        for key, values in cells.items():
            write_record(tmp_path / folder, key, values[number])
    file = tmp_path / "b" / "older" / "record.json"
    content = json.loads(file.read_text())
    content["metrics"] |= {"pixel_aupro_05": 0.7}  # which older versions did not compute
    file.write_text(json.dumps(content))
    records = [*read_all(tmp_path / "a"), *read_all(tmp_path / "b")]
    (sentence,) = contradictions(records)
    assert str(tmp_path / "a" / "further") in sentence
    (left_out,) = collect([tmp_path / "a", tmp_path / "b"]).left_out
    assert str(tmp_path / "a" / "further") in left_out
