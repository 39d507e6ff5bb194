"""Several processes write one record."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from adbench.records import record
from adbench.records.record import read_all


def fill(folder: Path, writer: str) -> None:
    (folder / "record.json").write_text(json.dumps({"status": "complete", "writer": writer}))


def writer(runs: Path) -> str:
    return str(json.loads((runs / "cell" / "record.json").read_text())["writer"])


def test_of_two_records_of_one_cell_the_first_stays(tmp_path: Path) -> None:
    with record.writing(tmp_path, "cell") as late:
        with record.writing(tmp_path, "cell") as early:
            fill(early, "early")
        fill(late, "late")
    assert writer(tmp_path) == "early"
    with record.writing(tmp_path, "cell", force=True) as folder:
        fill(folder, "forced")
    assert writer(tmp_path) == "forced"
    record.note_failure(tmp_path, "cell", {"writer": "failed"})
    assert writer(tmp_path) == "forced", "a failure takes nobody's record away"
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]


def test_a_record_replaces_a_failure_and_a_failure_another(tmp_path: Path) -> None:
    record.note_failure(tmp_path, "cell", {"writer": "first failure"})
    record.note_failure(tmp_path, "cell", {"writer": "second failure"})
    assert writer(tmp_path) == "second failure"
    assert record.find(tmp_path, "cell") is None
    assert read_all(tmp_path) == []
    with record.writing(tmp_path, "cell") as folder:
        fill(folder, "good")
    assert writer(tmp_path) == "good"


def test_many_writers_of_one_cell_leave_one_whole_record(tmp_path: Path) -> None:
    errors, start = [], threading.Barrier(8)

    def write(name: str) -> None:
        start.wait()
        try:
            for turn in range(20):
                if turn % 2:
                    record.note_failure(tmp_path, "cell", {"writer": "failed"})
                with record.writing(tmp_path, "cell", force=turn % 3 == 0) as folder:
                    fill(folder, name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert writer(tmp_path) in map(str, range(8))
    assert [p.name for p in tmp_path.iterdir()] == ["cell"]
