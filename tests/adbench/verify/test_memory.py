"""What a leaderboard remembers of verified records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adbench.records.record import Record
from adbench.verify import memory
from tests.adbench.verify.conftest import Tampered


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The records that are examined and not remembered."""
    seen: list[Path] = []
    before: Callable[[Record], str | None] = memory.first_finding

    def first_finding(record: Record) -> str | None:
        seen.append(record.path)
        return before(record)

    monkeypatch.setattr(memory, "first_finding", first_finding)
    return seen


@pytest.fixture
def settled(tampered: Tampered, monkeypatch: pytest.MonkeyPatch) -> Tampered:
    """A record whose files are old enough for a later change to show."""
    monkeypatch.setattr(memory, "SETTLED_NS", 0)
    return tampered


def test_what_was_found_is_not_computed_again(settled: Tampered, tmp_path: Path, examined: list[Path]) -> None:
    for _ in range(3):
        kept, left_out = memory.agreeing([settled.path], tmp_path / "cache")
        assert (len(kept), left_out) == (1, [])
    assert len(examined) == 1


def test_a_change_of_any_file_is_noticed(settled: Tampered, tmp_path: Path, examined: list[Path]) -> None:
    cache = tmp_path / "cache"
    assert memory.agreeing([settled.path], cache)[1] == []
    picture = settled.path / "gallery" / "hit_01.png"
    times = picture.stat()
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))  # size and time of modification stay
    kept, (sentence,) = memory.agreeing([settled.path], cache)
    assert kept == []
    assert "gallery/hit_01.png was changed" in sentence
    assert memory.agreeing([settled.path], cache)[1] == [sentence]
    settled.edit("metrics.image_auroc", 0.99)
    assert memory.agreeing([settled.path], cache)[0] == []
    assert len(examined) == 3


def test_a_damaged_memory_is_made_again(
    settled: Tampered, tmp_path: Path, examined: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    file = cache / "verified.json"
    memory.agreeing([settled.path], cache)
    good = json.loads(file.read_text())
    damages = [b"", b"{", b"[]", json.dumps(good | {"files": {next(iter(good["files"])): ["wrong"]}}).encode()]
    for damage in damages:
        file.write_bytes(damage)
        assert memory.agreeing([settled.path], cache)[1] == []
        assert "verified.json is damaged" in capsys.readouterr().err
        assert json.loads(file.read_text()) == good
    assert len(examined) == 1 + len(damages)


def test_a_file_that_has_just_changed_is_not_remembered(
    tampered: Tampered, tmp_path: Path, examined: list[Path]
) -> None:
    tampered.edit("finished", "2025-01-31T12:00:00Z")
    tampered.rehash()
    soon = time.time() + 3600  # however long this test takes
    os.utime(tampered.path / "predictions.parquet", (soon, soon))
    for _ in range(2):
        assert memory.agreeing([tampered.path], tmp_path / "cache")[1] == []
    assert len(examined) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_else(settled: Tampered, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert memory.agreeing([settled.path], tmp_path / "cache")[1] == []
