"""A parameter that names a file or folder counts by its content, wherever it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import adbench as ad
from adbench.board.variants import variants
from adbench.cells.cell import Cell
from adbench.cells.resolve import resolve
from adbench.config.words import parse
from adbench.data.fingerprint import content_of
from adbench.errors import AdbenchError, DataError
from adbench.system.session import Session

METHOD = "tests/adbench/cells/reads_a_file.py:ReadsAFile"


def cell(root: Path, table: Path | None) -> Cell:
    words = [] if table is None else [f"method.table={table}"]
    (config,) = parse([f"method={METHOD}", f"data_root={root}", "shots=2", *words])
    return resolve(config, Session())


def test_a_copy_elsewhere_has_the_same_hash_and_another_name_or_content_has_not(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "deep").mkdir(parents=True)
    (here / "a.txt").write_text("a")
    (here / "deep" / "b.txt").write_text("b")
    shutil.copytree(here, there)
    cache = tmp_path / "cache"
    assert content_of(here, cache) == content_of(there, cache)
    assert content_of(here / "a.txt", cache) == content_of(there / "a.txt", cache)
    assert content_of(here / "a.txt", cache) != content_of(here / "deep" / "b.txt", cache)
    (there / "deep" / "b.txt").rename(there / "deep" / "c.txt")
    renamed = content_of(there, cache)
    assert renamed != content_of(here, cache)
    (there / "deep" / "c.txt").write_text("c, of another length")
    assert content_of(there, cache) != renamed
    with pytest.raises(DataError, match="is neither a file nor a folder"):
        content_of(tmp_path / "nowhere", cache)


def test_the_key_has_the_content_of_the_file_and_not_its_path(tiny: Path, tmp_path: Path) -> None:
    for name, content in (("a.csv", "1,2"), ("b.csv", "1,2"), ("c.csv", "1,2,3")):
        (tmp_path / name).write_text(content)
    a, b, c = (cell(tiny, tmp_path / name) for name in ("a.csv", "b.csv", "c.csv"))
    assert a.key == b.key != c.key
    assert str(tmp_path) not in json.dumps(a.facts["params"])
    assert a.params.table == str(tmp_path / "a.csv")
    assert cell(tiny, None).facts["params"] == {"table": None}


def test_a_file_that_is_not_there_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(AdbenchError, match=r"method\.table=\S*none\.csv is not possible: \S*none\.csv is neither"):
        cell(tiny, tmp_path / "none.csv")


def test_a_record_is_found_and_rebuilt_where_the_file_is_elsewhere_or_gone(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    keys = {"method": METHOD, "data_root": str(tiny), "shots": 2, "gallery": 0, "runs": str(tmp_path / "runs")}
    first = ad.run(**keys, **{"method.table": str(tmp_path / "a.csv")})
    shutil.move(tmp_path / "a.csv", tmp_path / "b.csv")
    again = ad.run(**keys, **{"method.table": str(tmp_path / "b.csv")})
    assert isinstance(first, ad.Record)
    assert isinstance(again, ad.Record)
    assert again.path == first.path
    assert again.content["finished"] == first.content["finished"]
    (tmp_path / "b.csv").unlink()
    fitted = ad.load(first, method=METHOD)
    assert fitted.method.params.table == first.content["facts"]["params"]["table"]
    assert torch.equal(fitted.method.length, torch.tensor(3.0))
    head = {"method": "ReadsAFile", "schedule": "short", "shots": "2"}
    ((_, variant),) = variants([first], [head], [""])
    assert variant.startswith("table=")
    assert "csv" not in variant
