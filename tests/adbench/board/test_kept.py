"""Intervals in the cache: computed once for the contents of some records, and again where a file is damaged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from adbench.board import kept
from adbench.board.leaderboard import collect, table


@pytest.fixture
def few(study, tmp_path: Path):
    study(tmp_path / "runs", "madclip", draws=(0, 1))
    records = collect([tmp_path / "runs"]).records
    return records, table(records), ("image_auroc",), tmp_path / "cache"


def test_intervals_are_computed_once(few, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept.intervals_of(*few)
    monkeypatch.setattr(kept, "measure", lambda *_: pytest.fail("computed again"))
    again = kept.intervals_of(*few)
    for name in kept.TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name), check_dtype=False)


def test_another_content_or_metric_is_computed_anew(few) -> None:
    records, long, metrics, cache = few
    kept.intervals_of(*few)
    file = records[0].path / "predictions.parquet"
    table = pd.read_parquet(file)
    table.assign(score=table["score"] + 1).to_parquet(file, index=False)
    kept.intervals_of(*few)
    kept.intervals_of(records, long, (*metrics, "image_ap"), cache)
    assert len(list((cache / kept.FOLDER).iterdir())) == 3


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"PK"])
def test_a_damaged_file_is_made_again(few, damage, capsys: pytest.CaptureFixture[str]) -> None:
    first = kept.intervals_of(*few)
    (file,) = (few[3] / kept.FOLDER).iterdir()
    file.write_bytes(damage(file.read_bytes()))
    again = kept.intervals_of(*few)
    pd.testing.assert_frame_equal(first.rows, again.rows, check_dtype=False)
    assert "is damaged" in capsys.readouterr().err


def test_a_flipped_byte_is_found(few) -> None:
    first = kept.intervals_of(*few)
    (file,) = (few[3] / kept.FOLDER).iterdir()
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(bytes(data))
    pd.testing.assert_frame_equal(first.rows, kept.intervals_of(*few).rows, check_dtype=False)


@pytest.mark.parametrize("blocked", [[kept.FOLDER], ["hashes"], [kept.FOLDER, "hashes"]])
def test_what_cannot_be_kept_is_still_computed(few, blocked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    records, long, metrics, cache = few
    cache.mkdir()
    for folder in blocked:
        (cache / folder).write_text("in the way")
    assert len(kept.intervals_of(records, long, metrics, cache).rows) == 1
    assert ("are not kept for the next time" in capsys.readouterr().err) == (kept.FOLDER in blocked)
