"""Records of strangers: whatever their files hold, they cost themselves, and the others' board stays as it is."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as parquet_files

import adbench as ad
from adbench.commands import cli
from adbench.errors import RecordError
from adbench.records.record import read
from tests.adbench.board.conftest import believing
from tests.adbench.records.conftest import Pair
from tests.adbench.records.mutations import MUTATIONS, mutated, places

SAMPLE = 60


def leaderboard(monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    """Call `adbench leaderboard WORDS...` in this process; anything but an exit code fails the test."""
    monkeypatch.setattr(sys, "argv", ["adbench", "leaderboard", *map(str, words)])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
        cli.main()
    assert "Traceback" not in err.getvalue()
    return int(stop.value.code or 0), out.getvalue(), err.getvalue()


def figures_of(csv: Path) -> pd.DataFrame:
    """The rows of clip that hold a figure, as text; without its rank, which depends on the other rows."""
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    kept = table[(table["method"] == "clip") & (table["unit"] == "per cent") & (table["mean"] != "")]
    return kept.drop(columns=["rank", "rank_low", "rank_high", "best"]).reset_index(drop=True)


class Board:
    """The good record next to one of which a file is replaced; the board of the good one alone to compare with."""

    def __init__(self, pair: Pair, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pair, self.folder, self.monkeypatch = pair, folder, monkeypatch
        self.runs = folder / "runs"
        self.runs.mkdir()
        (self.runs / "good").symlink_to(next(pair.good.iterdir()))
        assert self.read("good.csv")[0] == 0
        self.alone = figures_of(folder / "good.csv")
        assert len(self.alone) == 11, "eleven metrics"
        self.odd = shutil.copytree(pair.odd, self.runs / pair.odd.name)

    def read(self, csv: str, *words: object) -> tuple[int, str, str]:
        return leaderboard(self.monkeypatch, self.runs, "--csv", self.folder / csv, *words)

    def check(self, *words: object) -> tuple[int, str]:
        """Read both; the good one's figures stay, and who is left out is named."""
        code, out, err = self.read("both.csv", *words)
        assert figures_of(self.folder / "both.csv").equals(self.alone), (out, err)
        assert not [c for text in (out, err) for c in text if c in "\x1b\r\u202e"]
        assert code in (0, 4)
        assert (code == 4) == ("left out of the leaderboard: " in err), err
        assert code == 0 or str(self.odd) in err
        return code, err


@pytest.fixture
def believed() -> Iterator[None]:
    """Leave out nothing before its files are read: a second look at what verifying a record would have found."""
    with believing():
        yield


@pytest.fixture
def board(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(pair, tmp_path, monkeypatch)


def mutate_all(board: Board, chosen: list[tuple[tuple[str, ...], str]]) -> None:
    for number, (place, name) in enumerate(chosen):
        (board.odd / "record.json").write_text(mutated(board.pair.content, place, name))
        words: list[object] = [["--markdown"], ["--latex"], [], ["--costs"]][number % 4]  # type: ignore[assignment]
        try:
            board.check(*words, *(["--html", board.folder / "site"] if number % 10 == 0 else []))
        except BaseException:
            print("mutation:", place, name)
            raise


def test_a_changed_value_costs_its_record_alone(board: Board) -> None:
    every = [(place, name) for place in places(board.pair.content) for name in MUTATIONS]
    mutate_all(board, random.Random(0).sample(every, SAMPLE))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MUTATIONS)
def test_every_changed_value_costs_its_record_alone(board: Board, name: str) -> None:
    mutate_all(board, [(place, name) for place in places(board.pair.content)])


# --- damaged files


def swapped(board: Board, name: str) -> None:
    shutil.copyfile(next(board.pair.good.iterdir()) / name, board.odd / name)


def parquet(table: pd.DataFrame) -> Callable[[Board], object]:
    return lambda board: table.to_parquet(board.odd / "predictions.parquet", index=False)


def changed(name: str = "predictions.parquet", **columns: Any) -> Callable[[Board], object]:
    def change(board: Board) -> None:
        table = pd.read_parquet(board.odd / name)
        for column, value in columns.items():
            table = table.drop(columns=column) if value is None else table.assign(**{column: value})
        table.to_parquet(board.odd / name, index=False)

    return change


def repeated(board: Board) -> None:
    """A billion rows in a few kilobytes."""
    part = pa.table({"image": pa.array(["x"] * 10**6).dictionary_encode(), "label": np.zeros(10**6, np.int8)})
    part = part.append_column("score", pa.array(np.zeros(10**6, np.float32)))
    with parquet_files.ParquetWriter(board.odd / "predictions.parquet", part.schema) as writer:
        for _ in range(20):
            writer.write_table(part)


def link(name: str) -> Callable[[Board], object]:
    def change(board: Board) -> None:
        aside = board.folder / name
        (board.odd / name).rename(aside)
        (board.odd / name).symlink_to(aside)

    return change


def pipe(name: str) -> Callable[[Board], object]:
    def change(board: Board) -> None:
        (board.odd / name).unlink()
        os.mkfifo(board.odd / name)

    return change


def folder(name: str) -> Callable[[Board], object]:
    def change(board: Board) -> None:
        (board.odd / name).unlink()
        (board.odd / name).mkdir()

    return change


def write(name: str, content: bytes) -> Callable[[Board], object]:
    return lambda board: (board.odd / name).write_bytes(content)


def edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Board], object]:
    return lambda board: (board.odd / name).write_bytes(change((board.odd / name).read_bytes()))


def loop(board: Board) -> None:
    (board.odd / "record.json").unlink()
    (board.odd / "record.json").symlink_to("record.json")


RECORD, SCORES, BINS = "record.json", "predictions.parquet", "histogram.parquet"
OF_EVERY_BOARD: dict[str, tuple[Callable[[Board], object], str]] = {
    "empty": (write(RECORD, b""), "empty"),
    "half": (edit(RECORD, lambda content: content[: len(content) // 2]), "damaged"),
    "zeros": (edit(RECORD, lambda content: bytes(len(content))), "damaged"),
    "UTF-16": (edit(RECORD, lambda content: content.decode().encode("utf-16")), "damaged"),
    "BOM": (edit(RECORD, lambda content: b"\xef\xbb\xbf" + content), "damaged"),
    "brackets": (write(RECORD, b"[" * 10**6), "nested too deeply"),
    "large": (write(RECORD, b" " * (2**24 + 1)), "16,777,217 bytes, more than"),
    "twice": (edit(RECORD, lambda content: content.replace(b"{", b'{"key": "x",', 1)), "a key is there twice"),
    "infinite": (edit(RECORD, lambda content: content.replace(b'"overlap": 0', b'"overlap": 1e999')), "too large"),
    "digits": (edit(RECORD, lambda c: c.replace(b'"overlap": 0', b'"overlap": ' + b"9" * 9999)), "damaged"),
    "edited facts": (edit(RECORD, lambda c: c.replace(b"coreset\": 0.1", b"coreset\": 0.2")), "the hash of its facts"),
    "of another cell": (lambda board: swapped(board, RECORD), "the record of another cell"),
    "a folder": (folder(RECORD), "no regular file"),
    "a pipe": (pipe(RECORD), "no regular file"),
    "a link": (link(RECORD), "a link"),
    "a loop": (loop, "a link"),
    "scores missing": (lambda board: (board.odd / SCORES).unlink(), "incomplete"),
    "scores a link": (link(SCORES), "a link"),
    "scores a pipe": (pipe(SCORES), "no regular file"),
    "bins a folder": (folder(BINS), "no regular file"),
}  # fmt: skip
OF_THE_SITE: dict[str, tuple[Callable[[Board], object], str]] = {
    "scores empty": (write(SCORES, b""), SCORES),
    "scores half": (edit(SCORES, lambda content: content[: len(content) // 2]), SCORES),
    "scores zeros": (edit(SCORES, lambda content: bytes(len(content))), SCORES),
    "scores text": (write(SCORES, b"image,label,score\n"), SCORES),
    "another table": (parquet(pd.DataFrame({"a": range(120)})), "0 columns image"),
    "bins as scores": (lambda board: shutil.copyfile(board.odd / BINS, board.odd / SCORES), "rows, not 120"),
    "fewer rows": (lambda board: pd.read_parquet(board.odd / SCORES)[:50].to_parquet(board.odd / SCORES), "50 rows"),
    "many rows": (repeated, "20,000,000 rows, not 120"),
    "no label": (changed(label=None), "0 columns label"),
    "label 2": (changed(label=2), "a label other than 0 and 1"),
    "label text": (changed(label="1"), "column label is"),
    "one class": (changed(label=1), "120 abnormal and 0 normal"),
    "score text": (changed(score="0.5"), "column score is"),
    "score NaN": (changed(score=float("nan")), "not a finite number"),
    "score infinite": (changed(score=float("inf")), "not a finite number"),
    "score of 64 bits": (changed(score=1e300), "not a finite number"),
    "image twice": (changed(image="x"), "two images have one name"),
    "image number": (changed(image=7), "column image is"),
    "bins half": (edit(BINS, lambda content: content[: len(content) // 2]), BINS),
    "bins negative": (changed(BINS, positive=-1), "negative or too large"),
    "bins huge": (changed(BINS, positive=2**62), "negative or too large"),
    "bins none": (changed(BINS, positive=0), "no positive pixel"),
    "bins the same": (changed(BINS, keys=7), "don't rise"),
    "bins text": (changed(BINS, keys="7"), "column keys is"),
    "bins without keys": (changed(BINS, keys=None), "0 columns keys"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_EVERY_BOARD)
def test_a_damaged_file_costs_its_record_alone(board: Board, name: str) -> None:
    damage, said = OF_EVERY_BOARD[name]
    damage(board)
    code, err = board.check("--markdown")
    assert code == 4
    assert re.search(said, err), err


def test_a_damaged_table_is_left_out_as_it_does_not_agree(board: Board) -> None:
    changed(score=0.5)(board)
    code, err = board.check()
    assert code == 4
    assert f"{board.odd} doesn't agree with itself: predictions.parquet was changed" in err


def test_a_damaged_table_costs_its_record_alone(board: Board, believed: None) -> None:
    for name, (damage, said) in OF_THE_SITE.items():
        shutil.rmtree(board.odd)
        shutil.copytree(board.pair.odd, board.odd)
        damage(board)
        code, err = board.check("--html", board.folder / "site")
        assert code == 4, name
        assert re.search(said, err), (name, err)
        cells = [path.stem for path in (board.folder / "site" / "cells").iterdir()]
        assert cells == [next(board.pair.good.iterdir()).name], name


# --- pictures


def test_a_gallery_of_links_is_not_followed(board: Board, believed: None) -> None:
    secret = board.folder / "secret"
    secret.mkdir()
    Image.new("RGB", (720, 280), "red").save(secret / "miss_01.png")
    (board.odd / "gallery" / "miss_01.png").unlink()
    (board.odd / "gallery" / "miss_01.png").symlink_to(secret / "miss_01.png")
    (board.odd / "gallery" / "hit_01.png").write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 9)
    code, err = board.check("--html", board.folder / "site")
    assert code == 4
    assert "miss_01.png is left out: it is a link" in err
    assert "hit_01.png is left out: it is no PNG" in err
    shown = sorted(path.name for path in (board.folder / "site" / "pictures" / board.odd.name).iterdir())
    assert shown == ["false_alarm_01.png"], "the record keeps its page, and its other picture"
    shutil.rmtree(board.odd / "gallery")
    (board.odd / "gallery").symlink_to(secret)
    code, err = board.check("--html", board.folder / "site")
    assert "gallery is left out: it is a link" in err
    assert not (board.folder / "site" / "pictures" / board.odd.name).exists()


def test_a_picture_of_absurd_size_or_no_file_is_left_out(board: Board, believed: None) -> None:
    gallery = board.odd / "gallery"
    bomb = bytearray((gallery / "hit_01.png").read_bytes())
    bomb[16:20] = (10**6).to_bytes(4, "big")
    (gallery / "hit_01.png").write_bytes(bomb)
    (gallery / "miss_01.png").unlink()
    os.mkfifo(gallery / "miss_01.png")
    (gallery / "false_alarm_01.png").unlink()
    (gallery / "false_alarm_01.png").mkdir()
    _, err = board.check("--html", board.folder / "site")
    assert "hit_01.png is left out: it is 1000000 x 280 pixels large" in err
    assert "miss_01.png is left out: it is no regular file" in err
    assert "false_alarm_01.png is left out: it is no regular file" in err


# --- two records of one cell


def test_of_two_records_that_disagree_the_edited_one_is_left_out(board: Board) -> None:
    good = next(board.pair.good.iterdir())
    shutil.rmtree(board.odd)
    board.odd = shutil.copytree(good, board.runs / "a copy")  # comes first
    file = board.odd / "record.json"
    content = json.loads(file.read_text())
    for metric in ("image_auroc", "image_ap", "pixel_ap"):
        for value in (0.123, None):
            if (metric, value) != ("image_auroc", None):
                file.write_text(json.dumps(content | {"metrics": content["metrics"] | {metric: value}}))
                code, err = board.check()
                assert code == 4
                assert f"{board.odd} doesn't agree with itself: record.json is not as it was written" in err


# --- from Python, and sweeps


def test_python_leaves_it_out_with_a_warning(board: Board) -> None:
    (board.odd / "record.json").write_text("{")
    with pytest.warns(UserWarning, match="left out of the leaderboard: .*is damaged"):
        table = ad.leaderboard(board.runs)
    assert set(table["method"]) == {"clip"}
    with pytest.warns(UserWarning, match="left out: .*is damaged"):
        assert len(ad.read_all(board.runs)) == 1
    with pytest.raises(RecordError, match="is damaged"):
        ad.read_all(board.odd)


def test_a_run_that_meets_its_own_record_damaged_says_what_to_do(board: Board, adbench: Any) -> None:
    words = ("run", "method=patchcore", "shots=2", "gallery=0", f"runs={board.runs}")
    (board.odd / "record.json").write_text("{")
    answer = adbench(*words)
    assert answer.code == 4
    assert f"Remove {board.odd} and run its cell again; force=true does both." in answer.err
    assert adbench(*words, "force=true").code == 0
    assert read(board.odd).content["given"][-1] == "force=true"
    shutil.copyfile(next(board.pair.good.iterdir()) / "record.json", board.odd / "record.json")
    assert "it is the record of another cell" in adbench(*words).err
