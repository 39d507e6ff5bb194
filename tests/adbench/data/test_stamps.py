"""What is remembered of a file, for how long, and what becomes of a damaged memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data import stamps
from adbench.data.stamps import measured
from adbench.errors import DataError


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember files as new as those of a test."""
    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**10))


class Reader:
    """Measures a file by its text, and counts."""

    def __init__(self, folder: Path) -> None:
        self.memory, self.read = folder / "cache" / "memory.json", 0

    def measure(self, path: Path) -> tuple[str]:
        self.read += 1
        return (path.read_text() if path.exists() else "",)

    def __call__(self, path: Path, **options: object) -> str:
        ((text,),) = measured([path], self.measure, self.memory, "x", **options).rows.values()
        return str(text)


def replaced(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text("tw0")
    os.utime(other, (1e9, 1e9))
    other.replace(file)


def rewritten(file: Path) -> None:
    file.write_text("tw0")
    os.utime(file, (1e9, 1e9))


def relinked(file: Path) -> None:
    other = file.with_suffix(".other")
    rewritten(other)
    file.unlink()
    file.symlink_to(other)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [replaced, rewritten, relinked])
def test_another_content_of_the_same_size_and_time_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    os.utime(file, (1e9, 1e9))
    assert [reader(file), reader(file)] == ["one", "one"]
    assert reader.read == 1
    change(file)
    assert (file.stat().st_size, file.stat().st_mtime) == (3, 1e9)
    assert reader(file) == "tw0"


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    for _ in range(2):
        assert reader(file) == "one"
    assert reader.read == 2
    assert not measured([file], reader.measure, reader.memory, "x").stamps


@pytest.mark.usefixtures("settled")
def test_what_was_measured_before_a_moment_is_measured_again(tmp_path: Path) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    reader(file)
    began = time.time()
    reader(file, since=began)
    assert reader.read == 2
    reader(file, since=began)
    assert reader.read == 2, "it is of this command now"


@pytest.mark.usefixtures("settled")
def test_a_file_that_changes_once_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    own = reader.measure

    def measure(path: Path) -> tuple[str]:
        row = own(path)
        if reader.read == 1:
            replaced(path)
        return row

    reader.measure = measure  # type: ignore[method-assign]
    assert reader(file) == "tw0"


def test_a_file_that_changes_at_each_reading_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a"

    def measure(path: Path) -> tuple[str]:
        with path.open("a") as stream:
            stream.write("x")
        return ("",)

    with pytest.raises(DataError, match=rf"{file} changes while it is read. Run the command again"):
        measured([file], measure, tmp_path / "memory.json", "x")


def to_folder(memory: Path) -> None:
    memory.unlink()
    memory.mkdir()
    (memory / "x").touch()


def to_loop(memory: Path) -> None:
    memory.unlink()
    memory.symlink_to(memory)


def edited(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(memory: Path) -> None:
        content = json.loads(memory.read_text())
        memory.write_text(json.dumps(change(content)))

    return spoil


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda memory: memory.write_text(""),
        lambda memory: memory.write_text("{"),
        lambda memory: memory.write_text("[]"),
        lambda memory: memory.write_bytes(b"\xff\xfe\x00"),
        lambda memory: memory.write_bytes(memory.read_bytes()[:-20]),
        lambda memory: memory.write_bytes(memory.read_bytes().replace(b"one", b"0ne")),
        edited(lambda content: content["files"]),
        edited(lambda content: content | {"files": {}}),
        edited(lambda content: content | {"files": {name: row[:2] for name, row in content["files"].items()}}),
        edited(lambda content: content | {"files": {name: [float("nan")] for name in content["files"]}}),
        to_folder,
        to_loop,
    ],
)
def test_a_damaged_memory_is_made_again_with_one_warning(tmp_path: Path, capsys, spoil: Callable[[Path], None]) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    reader(file)
    spoil(reader.memory)
    assert reader(file) == "one"
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert f"{reader.memory} is damaged" in said
    assert reader(file) == "one"
    assert reader.read == 2
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("settled")
def test_a_damaged_memory_that_may_not_be_written_stays(tmp_path: Path, capsys) -> None:
    file, reader = tmp_path / "a", Reader(tmp_path)
    file.write_text("one")
    reader(file)
    reader.memory.write_text("{")
    assert reader(file, write=False) == "one"
    assert "is damaged" in capsys.readouterr().err
    assert reader.memory.read_text() == "{"
