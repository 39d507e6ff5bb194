"""Writing a site: its files, and what it replaces or refuses to replace."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.board import leaderboard
from adbench.board.figure import HEADLINE
from adbench.board.latex import to_latex
from adbench.board.site.build import write
from adbench.errors import AdbenchError, RecordError
from adbench.records import record
from adbench.records.record import SITE
from adbench.system.files import HOST, replacing


def test_pictures_are_in_the_site_once(site: Path, runs: Path) -> None:
    copies = sorted((site / "pictures" / "a0").iterdir())
    assert [path.name for path in copies] == [
        f"{kind}_0{n}.png" for kind in ("false_alarm", "hit", "miss") for n in (1, 2)
    ]
    assert copies[0].read_bytes() == (runs / "a0" / "gallery" / copies[0].name).read_bytes()
    assert not (site / "pictures" / "e0").exists()


@pytest.mark.parametrize("costs", [False, True])
def test_the_latex_of_a_site_has_the_costs_where_the_site_has_them(runs: Path, tmp_path: Path, costs: bool) -> None:
    records = leaderboard.collect([runs]).records
    long, extra = leaderboard.table(records, costs), leaderboard.COSTS if costs else ()
    page = write(records, long, tmp_path / "site", (*leaderboard.FIGURES, *extra))
    text = (page.parent / "leaderboard.tex").read_text()
    assert text == to_latex(long, (*HEADLINE, *extra))
    assert ("fit seconds" in text) == costs


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_records_give_the_same_bytes_wherever_they_lie(build_site, runs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    for path in sorted(runs.iterdir(), reverse=True):
        shutil.copytree(path, moved / path.name)
    one, two = build_site(runs, tmp_path / "one").parent, build_site(moved, tmp_path / "two").parent
    assert tree(one) == tree(two)
    assert len(tree(one)) > 40


def test_a_site_is_replaced_as_a_whole(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    build_site(tmp_path / "runs", tmp_path / "site")
    shutil.move(tmp_path / "runs" / "a0", tmp_path / "a0")
    make_record(tmp_path / "runs", "b0", method="clip", shots=0)
    build_site(tmp_path / "runs", tmp_path / "site")
    assert [path.stem for path in (tmp_path / "site" / "cells").iterdir()] == ["b0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a0", "runs", "site"]


def test_a_build_that_fails_leaves_the_old_site_and_nothing_else(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    build_site(tmp_path / "runs", tmp_path / "site")
    before = tree(tmp_path / "site")
    (make_record(tmp_path / "runs", "b0", method="clip", shots=0) / "predictions.parquet").write_bytes(b"no parquet")
    with pytest.raises(RecordError, match=r"b0/predictions\.parquet can't be read .*run its cell again"):
        build_site(tmp_path / "runs", tmp_path / "site")
    assert tree(tmp_path / "site") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def folder_with(name: str) -> Callable[[Path], None]:
    def prepare(path: Path) -> None:
        path.mkdir()
        (path / name).touch()

    return prepare


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (Path.touch, "is not a folder"),
        (folder_with("thesis.docx"), "is not a site of adbench: it holds thesis.docx"),
        (lambda path: path.symlink_to(path.parent), "is not a folder"),
    ],
)
def test_what_is_no_site_is_not_replaced(
    make_record, build_site, tmp_path: Path, prepare: Callable[[Path], None], told: str
) -> None:
    make_record(tmp_path / "runs", "a0")
    prepare(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdbenchError, match=told) as error:
        build_site(tmp_path / "runs", tmp_path / "out")
    assert "--html" in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["CNAME", "cells/notes.md", "pictures/a0/mine/scan.png"])
def test_what_somebody_put_into_a_site_is_not_lost(make_record, build_site, tmp_path: Path, name: str) -> None:
    make_record(tmp_path / "runs", "a0")
    build_site(tmp_path / "runs", tmp_path / "site")
    (tmp_path / "site" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "site" / name).write_text("x")
    with pytest.raises(AdbenchError, match=rf"holds {name}, which .* would be lost"):
        build_site(tmp_path / "runs", tmp_path / "site")
    assert (tmp_path / "site" / name).read_text() == "x"


def test_a_file_that_comes_while_the_site_is_built_is_not_lost(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    page = build_site(tmp_path / "runs", tmp_path / "site")

    class Figures(tuple[str, ...]):
        """Metrics; as they are read for the first table, somebody saves a file in the site."""

        def __iter__(self):
            (page.parent / "late.txt").touch()
            return super().__iter__()

    records = leaderboard.collect([tmp_path / "runs"]).records
    with pytest.raises(AdbenchError, match=r"holds late\.txt"):
        write(records, leaderboard.table(records), tmp_path / "site", Figures(leaderboard.FIGURES))
    assert page.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def test_what_a_file_browser_leaves_is_no_hindrance(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    (tmp_path / "site").mkdir()
    for name in (".DS_Store", "Thumbs.db", "cells/.DS_Store"):
        (tmp_path / "site" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "site" / name).touch()
        build_site(tmp_path / "runs", tmp_path / "site")
    assert not (tmp_path / "site" / "cells" / ".DS_Store").exists()


def test_a_site_may_stand_among_records(make_record, adbench, tmp_path: Path) -> None:
    make_record(tmp_path, "a0")
    for _ in range(2):
        answer = adbench("leaderboard", tmp_path, "--html", tmp_path / "board")
        assert answer.code == 0, answer.err
    assert (tmp_path / "board" / "cells" / "a0.html").is_file()
    (tmp_path / "board" / SITE).unlink()
    assert "board is not a record" in adbench("leaderboard", tmp_path).err


@pytest.mark.parametrize(
    ("option", "told"),
    [("--csv", "file with --csv FILE"), ("--json", "file with --json FILE"), ("--html", "--html DIR")],
)
def test_what_cannot_be_written_names_the_option(adbench, runs: Path, tmp_path: Path, option: str, told: str) -> None:
    (tmp_path / "file").touch()
    answer = adbench("leaderboard", runs, option, tmp_path / "file" / "board")
    assert answer.code == 2
    assert re.search(
        rf"cannot write {tmp_path}/file\S*: .* choose another (folder with )?{told}\.$", answer.err.strip()
    )


def test_an_empty_folder_is_taken(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    (tmp_path / "site").mkdir()
    assert build_site(tmp_path / "runs", tmp_path / "site").is_file()


def test_what_a_killed_build_left_is_mended(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0")
    build_site(tmp_path / "runs", tmp_path / "site")
    nobody = 2**22 + 1  # beyond the largest process id
    (tmp_path / "site").rename(tmp_path / f".site.{HOST}.{nobody}.abcd.old")
    (tmp_path / f".site.{HOST}.{nobody}.abcd.tmp").mkdir()
    with replacing(tmp_path / "site", "folder"):
        assert (tmp_path / "site" / "index.html").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "site"]


def test_a_site_that_is_built_among_records_hinders_no_cell(tmp_path: Path) -> None:
    with replacing(tmp_path / "board.v1.2", "folder") as site:
        (site / "index.html").touch()
        (tmp_path / f".short.{HOST}.tmp").mkdir()  # not a name of ours
        with record.writing(tmp_path, "cell") as folder:
            (folder / "record.json").write_text("{}")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"board.v1.2", "cell", f".short.{HOST}.tmp"}
    assert (tmp_path / "board.v1.2" / "index.html").is_file()
