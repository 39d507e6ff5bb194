"""Rows on disk: torn files, several processes, kills, and segments that disappear. Every row says whose it is."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from adbench.backbone import segment
from adbench.backbone.part import Part
from adbench.backbone.segment import ENTRY, HEAD, KEY
from adbench.system.files import INDEX, shrink

SHAPE = (16, 33)
SIZE = 4 * 16 * 33


def key(number: int) -> bytes:
    return number.to_bytes(KEY, "big")


def row(number: int) -> torch.Tensor:
    return torch.arange(SIZE // 4, dtype=torch.float32).reshape(SHAPE) + number


def rows(folder: Path) -> Part:
    return Part(folder, lambda shape: shape == SHAPE)


def right(found: dict[bytes, torch.Tensor]) -> bool:
    return all(torch.equal(value, row(int.from_bytes(name, "big"))) for name, value in found.items())


def only(folder: Path) -> Path:
    (data,) = folder.glob("*.rows")
    return data


def test_rows_are_found_by_whoever_looks(tmp_path: Path) -> None:
    one, two = rows(tmp_path), rows(tmp_path)
    assert two.read([key(1)]) == {}
    one.add({key(n): row(n) for n in (1, 2)})
    assert list(two.read([key(2), key(3)])) == [key(2)]
    two.add({key(3): row(3)})
    found = one.read([key(n) for n in (1, 2, 3)])
    assert len(found) == 3
    assert right(found)
    assert only(tmp_path).stat().st_size == 3 * SIZE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_row_keeps_its_type_and_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.randn(SHAPE).to(dtype)
    value[0, 0], value[0, 1] = float("nan"), -0.0
    rows(tmp_path).add({key(1): value})
    (found,) = rows(tmp_path).read([key(1)]).values()
    assert found.dtype == dtype
    assert torch.equal(found.view(torch.uint8), value.view(torch.uint8))
    assert only(tmp_path).stat().st_size == value.numel() * dtype.itemsize


def test_segments_have_a_largest_size_and_one_type_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "LARGEST", 3 * SIZE + 5)
    kept = rows(tmp_path)
    kept.add({key(n): row(n) for n in range(7)})
    assert sorted(file.stat().st_size for file in tmp_path.glob("*.rows")) == [SIZE, 3 * SIZE, 3 * SIZE]
    kept.add({key(8): row(8).double()})
    assert len(list(tmp_path.glob("*.rows"))) == 4
    kept.add({key(7): row(7)})
    assert len(list(tmp_path.glob("*.rows"))) == 4
    assert len(rows(tmp_path).read([key(n) for n in range(9)])) == 9


def test_data_behind_the_index_are_overwritten(tmp_path: Path) -> None:
    rows(tmp_path).add({key(1): row(1)})
    with only(tmp_path).open("ab") as file:  # killed before the entries
        file.write(row(2).numpy().tobytes() + row(3).numpy().tobytes()[:100])
    kept = rows(tmp_path)
    assert list(kept.read([key(1), key(2)])) == [key(1)]
    kept.add({key(4): row(4)})
    found = rows(tmp_path).read([key(1), key(4)])
    assert len(found) == 2
    assert right(found)


@pytest.mark.parametrize("content", [b"\x07", b"\x00" * (ENTRY.size - 1), b"\x00" * ENTRY.size, b"\x07" * 50])
def test_entries_that_are_not_whole_are_ignored(tmp_path: Path, content: bytes, capsys) -> None:
    rows(tmp_path).add({key(1): row(1)})
    index = only(tmp_path).with_name(only(tmp_path).name + INDEX)
    with index.open("ab") as file:
        file.write(content)
    kept = rows(tmp_path)
    assert list(kept.read([key(1), key(2)])) == [key(1)]
    kept.add({key(2): row(2)})
    for reader in (kept, rows(tmp_path)):
        found = reader.read([key(1), key(2)])
        assert len(found) == 2
        assert right(found)
    assert capsys.readouterr().err == ""


def test_half_an_entry_that_becomes_whole_is_read(tmp_path: Path) -> None:
    rows(tmp_path).add({key(1): row(1), key(2): row(2)})
    index = only(tmp_path).with_name(only(tmp_path).name + INDEX)
    whole = index.read_bytes()
    index.write_bytes(whole[: HEAD + ENTRY.size] + whole[HEAD + ENTRY.size : -10] + b"\x00" * 10)
    reader = rows(tmp_path)
    assert list(reader.read([key(2), key(1)])) == [key(1)]
    index.write_bytes(whole)
    assert right(reader.read([key(2)]))
    assert len(reader.read([key(2)])) == 1


def test_a_row_of_another_checksum_is_reported_once_and_made_again(tmp_path: Path, capsys) -> None:
    rows(tmp_path).add({key(n): row(n) for n in range(3)})
    with only(tmp_path).open("r+b") as file:
        file.seek(SIZE + 40)
        file.write(b"\xff")
    one, two = rows(tmp_path), rows(tmp_path)
    assert two.read([key(0)])  # knows all places
    found = one.read([key(n) for n in range(3)])
    assert list(found) == [key(0), key(2)]
    assert f"{only(tmp_path)} is damaged (row 1 has another checksum) and is made again" in capsys.readouterr().err
    assert two.read([key(1)]) == {}, "still knows the place"
    one.add({key(1): row(1)})
    for reader in (one, two, rows(tmp_path)):
        found = reader.read([key(n) for n in range(3)])
        assert len(found) == 3
        assert right(found)
    assert capsys.readouterr().err == "", "another process has said so"


def test_a_place_that_was_given_to_another_row_is_no_damage(tmp_path: Path, capsys) -> None:
    rows(tmp_path).add({key(1): row(1)})
    slow = rows(tmp_path)
    assert slow.read([key(1)])
    with only(tmp_path).open("r+b") as file:
        file.write(b"\xff" * 8)
    rows(tmp_path).read([key(1)])  # takes the entry out
    rows(tmp_path).add({key(2): row(2)})  # its place is free
    assert only(tmp_path).stat().st_size == SIZE
    capsys.readouterr()
    assert slow.read([key(1)]) == {}
    assert right(slow.read([key(1), key(2)]))
    assert capsys.readouterr().err == ""


def test_a_segment_that_somebody_removed_is_forgotten(tmp_path: Path, capsys) -> None:
    kept = rows(tmp_path)
    kept.add({key(1): row(1)})
    assert shrink([tmp_path], 0) == 2
    assert kept.read([key(1)]) == {}
    kept.add({key(1): row(1)})
    assert right(kept.read([key(1)]))
    only(tmp_path).with_name(only(tmp_path).name + INDEX).unlink()  # a kill in the middle of it
    kept.add({key(2): row(2)})
    assert list(kept.read([key(1), key(2)])) == [key(2)]
    assert only(tmp_path).stat().st_size == SIZE, "half a segment is removed by the next writer"
    only(tmp_path).unlink()
    assert kept.read([key(2)]) == {}
    kept.add({key(3): row(3)})
    assert len(list(tmp_path.glob("*.rows*"))) == 2
    assert capsys.readouterr().err == ""


def test_threads_share_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "LARGEST", 10 * SIZE)
    kept, wrong = rows(tmp_path), []

    def work(first: int) -> None:
        for n in range(first, first + 20):
            kept.add({key(n): row(n)})
            found = kept.read([key(m) for m in range(n + 1)])
            if key(n) not in found or not right(found):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(20 * n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(rows(tmp_path).read([key(n) for n in range(60)])) == 60


def write(folder: Path, number: int, said: Path) -> None:
    """Add rows from a number on, three at a time, and say each time whether all that is read is right."""
    kept = rows(folder)
    with said.open("w", buffering=1) as lines:
        while True:
            kept.add({key(n): row(n) for n in range(number, number + 3)})
            found = kept.read([key(n) for n in range(max(0, number - 200), number + 3)])
            lines.write("right\n" if right(found) else "WRONG\n")
            number += 3


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Start processes that write and read rows, three at a time from a number on, until they are killed.

    Returns a process and a function that kills it and returns the lines that it said.
    """
    monkeypatch.setattr(segment, "LARGEST", 40 * SIZE)
    started: list[BaseProcess] = []

    def start(first: int) -> tuple[BaseProcess, Callable[[], list[str]]]:
        said = tmp_path / f"said-{first}"
        process = get_context("fork").Process(target=write, args=(tmp_path / "rows", first, said))
        started.append(process)
        process.start()

        def kill() -> list[str]:
            assert process.is_alive()
            process.kill()
            process.join()
            return [line for line in said.read_text().splitlines(keepends=True) if line.endswith("\n")]

        return process, kill

    yield start
    for process in started:
        process.kill()
        process.join()


def test_kills_at_any_moment_leave_whole_rows_alone(tmp_path: Path, writer, capfd) -> None:
    (tmp_path / "rows").mkdir()
    draw, whole, reader = random.Random(0), set(), rows(tmp_path / "rows")
    for turn in range(8):
        numbers = [100_000 * (2 * turn + n + 1) for n in range(2)]
        both = [writer(first) for first in numbers]
        while sum(said.stat().st_size > 0 for said in tmp_path.glob("said-*")) < 2 * (turn + 1):
            time.sleep(0.01)  # both have added something
        time.sleep(0.1 * draw.random())
        for first, (_, kill) in zip(numbers, both, strict=True):
            said = kill()
            assert set(said) <= {"right\n"}
            whole |= {key(n) for n in range(first, first + 3 * len(said))}
        for again in (reader, rows(tmp_path / "rows")):
            found = again.read(whole)
            assert found.keys() == whole, "what was added before a kill is there after it"
            assert right(found)
    assert len(whole) > 50
    reader.add({key(1): row(1)})
    assert right(rows(tmp_path / "rows").read([key(1), *whole]))
    assert capfd.readouterr().err == "", "a kill is no damage"


def test_a_bound_removes_segments_under_readers_and_writers(tmp_path: Path, writer, capfd) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    both = [writer(first) for first in (0, 100_000)]
    reader, removed, deadline = rows(folder), 0, time.monotonic() + 60
    while removed < 10:
        assert time.monotonic() < deadline
        removed += shrink([folder], 60 * SIZE / 1e9)
        assert right(reader.read([key(n) for n in range(0, 2000, 7)]))
    for _, kill in both:
        said = kill()
        assert set(said) == {"right\n"}
    shrink([folder], 60 * SIZE / 1e9)
    assert sum(file.stat().st_size for file in folder.glob("*.rows")) <= 60 * SIZE
    assert capfd.readouterr().err == ""


def test_a_disk_that_runs_full_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench.errors import AdbenchError

    kept = rows(tmp_path)
    kept.add({key(1): row(1)})
    monkeypatch.setattr(segment.Segment, "append", lambda *_: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
    with pytest.raises(AdbenchError, match=r"cannot write .*rows: No space left on device. Free some space"):
        kept.add({key(2): row(2)})
    monkeypatch.undo()
    kept.add({key(2): row(2)})
    assert right(kept.read([key(1), key(2)]))
