"""Write the site: read every record once, fill the templates, let the folder take its place when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from adbench.board import render
from adbench.board.latex import to_latex
from adbench.board.leaderboard import COSTS, plain
from adbench.board.site import cellpage, datasetpage, indexpage
from adbench.board.site.entries import Entry, Picture, dataset_name, entries
from adbench.board.site.shots import looks
from adbench.board.site.tables import owners
from adbench.errors import AdbenchError
from adbench.records.record import SITE, Record
from adbench.system.files import replacing
from adbench.system.progress import counting
from adbench.system.session import Session

PAGES = ("cells", "datasets", "pictures")
MARK = "This folder is written by `adbench leaderboard --html` and replaced as a whole by the next one. Its files:"
LITTER = (".DS_Store", "Thumbs.db")  # left by whoever looks into a folder
INSTEAD = "folder with --html DIR"


def write(records: Sequence[Record], long: pd.DataFrame, folder: Path, figures: Sequence[str]) -> Path:
    """Write the site of some records and of their leaderboard, and return its first page.

    Args:
        records: what has a page of its own.
        long: the leaderboard's rows, as the other formats write them; with published figures, where asked for.
        folder: the site; new, empty or a site of adbench, which is replaced when the new one is whole.
        figures: the metrics of the tables; the first one ranks.

    Raises:
        AdbenchError: the folder holds anything else, or can't be written.
        RecordError: a record's files can't be read.

    """
    check(folder)
    given, folder = folder, folder.resolve()
    found = entries(records)
    fill = _filler()
    sets: dict[str, list[Entry]] = {}
    for entry in found:
        sets.setdefault(dataset_name(entry.line), []).append(entry)
    kinds = sorted({entry.line["data"] for entry in found})
    look = {kind: looks(long[long["data"] == kind]) for kind in kinds}
    own = owners(found)
    total, session = len(found) + len(sets) + 1, Session()
    with replacing(folder, INSTEAD) as new, counting("writing the site", total) as count:
        for name in PAGES:
            (new / name).mkdir()
        done = 0
        for entry in found:
            told, pictures = cellpage.page(entry, own[entry.group, entry.line["dataset"]], session)
            _copy(pictures, new / "pictures" / entry.name)
            _text(new / "cells" / f"{entry.name}.html", fill("cell.html", told, "../"))
            done += 1
            count(done)
        for name, members in sorted(sets.items()):
            told = datasetpage.page(members, _rows(long, members[0]), look[members[0].line["data"]], figures)
            if told["csv"] is not None:
                _text(new / "datasets" / f"{name}.csv", told["csv"])
            _text(new / "datasets" / f"{name}.html", fill("dataset.html", told | {"name": name}, "../"))
            done += 1
            count(done)
        _text(new / "index.html", fill("index.html", indexpage.page(found, long, look, figures), ""))
        for name in ("style.css", "script.js"):
            _text(new / name, files("adbench.board.site.templates").joinpath(name).read_text(encoding="utf-8"))
        printed = [name for name in figures if name in (*render.HEADLINE, *COSTS)]
        _text(new / "leaderboard.csv", render.to_csv(long))
        _text(new / "leaderboard.json", render.to_json(long))
        _text(new / "leaderboard.tex", to_latex(long, printed))
        _text(new / SITE, "\n".join([MARK, *sorted(_files(new))]) + "\n")
        count(done + 1)
        check(folder)  # minutes may have passed
    return given / "index.html"


def check(folder: Path) -> None:
    """Raise AdbenchError where a site may not take the place of `folder`: it is a file, or holds anything else."""
    another = "Give --html a folder that is new, empty or a site of adbench."
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise AdbenchError(f"{folder} is no folder. {another}")
    if not folder.is_dir():
        return
    found = sorted(path.name for path in folder.iterdir() if path.name not in LITTER)
    if found and not (folder / SITE).is_file():
        raise AdbenchError(
            f"{folder} is not a site of adbench: it holds {found[0]} and no {SITE}, and would be replaced as a whole. "
            f"{another}"
        )
    own = {SITE, *(folder / SITE).read_text(encoding="utf-8", errors="replace").splitlines()} if found else set()
    if strange := sorted(set(_files(folder)) - own):
        raise AdbenchError(
            f"{folder} holds {strange[0]}, which is no part of the site and would be lost. Move it elsewhere, or give "
            "--html another folder."
        )


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, and of links to folders, but for litter."""
    for path in folder.rglob("*"):
        if path.name not in LITTER and (path.is_symlink() or not path.is_dir()):
            yield path.relative_to(folder).as_posix()


def _filler() -> Callable[[str, dict[str, Any], str], str]:
    """Return a function that fills a template: (name, what it needs, path to the site's root) to text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adbench.board.site", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return lambda name, told, root: environment.get_template(name).render(told, root=root)


def _rows(long: pd.DataFrame, entry: Entry) -> pd.DataFrame:
    """Return the leaderboard's rows for one dataset's page; the papers' ones stand beside real data only."""
    kind, dataset = entry.line["data"], entry.line["dataset"]
    own = (long["data"] == kind) & (long["dataset"] == dataset)
    papers = (long["data"] == "published") & (long["dataset"] == plain(dataset))
    return long[own | papers] if kind == "real" else long[own]


def _copy(pictures: Sequence[Picture], folder: Path) -> None:
    """Bring pictures into the site: by a hard link where the disk allows it, which costs no space, else by a copy."""
    if pictures:
        folder.mkdir()
    for picture in pictures:
        target = folder / picture.file.name
        try:
            os.link(picture.file, target)
        except OSError:
            shutil.copyfile(picture.file, target)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
