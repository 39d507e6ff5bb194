"""Notes that say which cell is which job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.executors.slurm import notes
from adbench.executors.slurm.notes import Note


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


def test_a_note_keeps_what_was_requested_and_an_older_one_says_nothing_of_it(tmp_path: Path) -> None:
    note = Note({"a": "7_0"}, "c0ffee")
    notes.write(tmp_path, note)
    assert notes.read(tmp_path) == [note]
    file = tmp_path / "notes" / f"{note.name}.json"
    file.write_text(json.dumps({"cells": {"a": "7_0"}, "name": note.name}))
    assert notes.read(tmp_path) == [Note({"a": "7_0"}, "", note.name)]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"cells": {}}', '{"cells": {"a": 1}, "name": "NAME"}', '{"cells": 3, "name": 4}']
)
def test_a_damaged_note_names_no_job_and_can_be_removed(tmp_path: Path, capsys, text: str) -> None:
    whole = Note({"a": "7_0"})
    notes.write(tmp_path, whole)
    damaged = tmp_path / "notes" / "adbench-0.json"
    damaged.write_text(text.replace("NAME", damaged.stem))
    first, second = notes.read(tmp_path)
    assert first == Note({"": ""}, name="adbench-0")
    assert second == whole
    assert f"{damaged} is damaged" in capsys.readouterr().err
    notes.write(tmp_path, Note({}, name=first.name))
    assert notes.read(tmp_path) == [whole]
