"""Records that are remembered: what a plan needs of them, for as long as their files stay as they are."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.config import words as config
from adbench.config.schema import RunConfig
from adbench.plugins import sources
from adbench.records.record import Record, read
from adbench.sweeps import known, sweep
from adbench.sweeps.costs import costs
from adbench.sweeps.sweep import plan
from adbench.system.session import Session

LATER = 10**12  # ns after which the stamp of a new file counts


@pytest.fixture
def base(tmp_path: Path) -> RunConfig:
    (one,) = config.parse(["method=clip", "dataset=his", f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}"])
    return one


def keep(records: list[Record], base: RunConfig, began: int | None = None) -> None:
    began = time.time_ns() + LATER if began is None else began
    known.keep(records, Path(base.runs), base.cache_dir, Session(), began)


def find(base: RunConfig, key: str) -> known.Kept | None:
    """Look a record up as another command would."""
    runs = Path(base.runs)
    return known.find(runs, key, known.recalled(runs, base.cache_dir, Session(offline=True)))


def test_a_plan_of_remembered_records_reads_none_of_them(
    adbench, words, stub_record, opened_files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [*words, "method=clip", f"cache={tmp_path / 'cache'}"]
    tasks = plan(config.parse([*many, "batch_size=1,2,3"]), offline=True)
    for task, seconds in zip(tasks[:2], (1.0, 3.0), strict=True):
        stub_record(task.config, task.key, seconds, facts=task.cell.facts)
    stub_record(dataclasses.replace(tasks[0].config, method="mvfa"), "another", 9.0)
    before = adbench("plan", *many, "batch_size=1,2,3").out
    assert "3 cells: 2 recorded already, 1 to run" in before
    assert "time: about 2.0 s" in before
    assert not (tmp_path / "cache" / known.FOLDER).exists(), "a plan writes nothing"
    monkeypatch.setattr(known, "SETTLED_NS", -LATER)  # the records have just been written
    plan(config.parse([*many, "batch_size=1,2"]))
    with opened_files() as files:
        after = adbench("plan", *many, "batch_size=1,2,3").out
    assert after == before
    assert [file.parent.name for file in files if file.name == "record.json"] == ["another"]


@pytest.mark.parametrize("name", ["record.json", "predictions.parquet", "method.safetensors"])
@pytest.mark.parametrize("how", ["written", "removed", "linked"])
def test_a_record_of_which_a_file_changed_is_not_known(base, stub_record, name: str, how: str) -> None:
    stub_record(base, "key")
    file = Path(base.runs) / "key" / name
    keep([read(file.parent)], base)
    assert find(base, "key") is not None
    stat, content = file.stat(), file.read_bytes()
    file.unlink()
    if how == "written":
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    elif how == "linked":
        file.with_name("elsewhere").write_bytes(content)
        file.symlink_to("elsewhere")
    assert find(base, "key") is None


def test_what_is_known_is_what_the_record_says(base, stub_record: Callable[..., None]) -> None:
    stub_record(base, "key", 7.5)
    record = read(Path(base.runs) / "key")
    keep([record], base)
    found = find(base, "key")
    assert found is not None
    assert isinstance(found, Record)
    assert known.brief_of(found) == known.brief_of(record)
    assert (found.brief.seconds, found.brief.memory, found.brief.source) == (7.5, 10**9, None)
    assert (found.path, found.key, found.metrics, found.content) == (
        record.path, record.key, record.metrics, record.content,
    )  # fmt: skip
    runs = Path(base.runs)
    assert costs(runs, [found]) == costs(runs) == costs(runs, [], known.recalled(runs, base.cache_dir, Session()))


def test_a_record_that_was_just_written_is_not_remembered(base, stub_record) -> None:
    stub_record(base, "key")
    keep([read(Path(base.runs) / "key")], base, began=time.time_ns())
    assert find(base, "key") is None


def test_a_folder_that_took_the_place_of_a_record_while_it_was_read_is_not_remembered(base, stub_record) -> None:
    stub_record(base, "key")
    runs = Path(base.runs)
    record = read(runs / "key")
    time.sleep(0.05)  # the clock of a file system ticks slowly
    (runs / "key").rename(runs / "moved")
    (runs / "moved").rename(runs / "key")
    files = [os.stat(file).st_ctime_ns for file in (runs / "key").iterdir()]
    keep([record], base, began=max(files) + known.SETTLED_NS)
    assert find(base, "key") is None


def test_another_adbench_reads_all_records_again(base, stub_record, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_record(base, "key")
    keep([read(Path(base.runs) / "key")], base)
    monkeypatch.setattr(sources, "of_harness", lambda: sources.Source("another", 0))
    assert find(base, "key") is None


def test_finished_cells_of_a_sweep_are_remembered(base, stub_record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "SETTLED_NS", -LATER)
    stub_record(base, "whole")
    stub_record(base, "damaged")
    (Path(base.runs) / "damaged" / "record.json").write_text("{}")
    sweep._remember([Path(base.runs) / "whole", Path(base.runs) / "damaged"], base)
    assert find(base, "whole") is not None
    assert find(base, "damaged") is None


def test_a_damaged_memory_is_read_past(base, stub_record, capsys: pytest.CaptureFixture[str]) -> None:
    stub_record(base, "key")
    keep([read(Path(base.runs) / "key")], base)
    (file,) = (base.cache_dir / known.FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    assert find(base, "key") is None
    assert f"{file} is damaged" in capsys.readouterr().err
