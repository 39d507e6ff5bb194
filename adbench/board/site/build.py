"""Writing the site: every record is read once, templates are filled, and the complete folder replaces the old one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from adbench.board import render
from adbench.board.averages import completed
from adbench.board.figure import HEADLINE
from adbench.board.latex import to_latex
from adbench.board.leaderboard import COSTS, plain
from adbench.board.site import cellpage, datasetpage, indexpage
from adbench.board.site.records import Picture, SiteRecord, dataset_page, site_records
from adbench.board.site.shots import line_styles
from adbench.board.site.tables import owners
from adbench.errors import AdbenchError
from adbench.records.record import SITE, Record
from adbench.system.files import replacing, write_text
from adbench.system.progress import counting
from adbench.system.session import Session
from adbench.system.text import printable

PAGES = ("cells", "datasets", "pictures")
MARK = "`adbench leaderboard --html` wrote this folder, and replaces it as a whole the next time. Its files:"
LITTER = (".DS_Store", "Thumbs.db")  # left by file browsers
INSTEAD = "folder with --html DIR"


def write(
    records: Sequence[Record],
    long: pd.DataFrame,
    folder: Path,
    figures: Sequence[str],
    alone: pd.DataFrame | None = None,
) -> Path:
    """Write the site of some records and of their leaderboard, and return its first page.

    Args:
        records: the records, each with a page of its own.
        long: the leaderboard's rows, with published figures where wanted.
        folder: a folder that is new, empty or a site of adbench, which is replaced when the new one is complete.
        figures: the metrics of the tables; the first one ranks.
        alone: the intervals of single records, as in `intervals.Measured`; None: none are shown.

    Raises:
        AdbenchError: the folder holds other files, or can't be written.
        RecordError: a record's files can't be read.

    """
    check(folder)
    given, folder = folder, folder.resolve()
    entries, long = site_records(records), completed(long)
    fill = filler()
    sets: dict[str, list[SiteRecord]] = {}
    for entry in entries:
        sets.setdefault(dataset_page(entry.line), []).append(entry)
    kinds = sorted({entry.line["data"] for entry in entries})
    styles = {kind: line_styles(long[long["data"] == kind]) for kind in kinds}
    members = owners(entries)
    by_record = None if alone is None else dict(list(alone.groupby("key")))
    total, session = len(entries) + len(sets) + 1, Session()
    with replacing(folder, INSTEAD) as new, counting("writing the site", total) as count:
        for name in PAGES:
            (new / name).mkdir()
        done = 0
        for entry in entries:
            own = None if by_record is None or alone is None else by_record.get(entry.record.key, alone.iloc[:0])
            content, pictures = cellpage.page(entry, members[entry.group, entry.line["dataset"]], session, own)
            _copy(pictures, new / "pictures" / entry.name)
            write_text(new / "cells" / f"{entry.name}.html", fill("cell.html", content, "../"))
            done += 1
            count(done)
        for name, tested in sorted(sets.items()):
            content = datasetpage.page(tested, _rows(long, tested[0]), styles[tested[0].line["data"]], figures)
            if content["csv"] is not None:
                write_text(new / "datasets" / f"{name}.csv", content["csv"])
            write_text(new / "datasets" / f"{name}.html", fill("dataset.html", content | {"name": name}, "../"))
            done += 1
            count(done)
        write_text(new / "index.html", fill("index.html", indexpage.page(entries, long, styles, figures), ""))
        for name in ("style.css", "script.js"):
            write_text(new / name, files("adbench.board.site.templates").joinpath(name).read_text(encoding="utf-8"))
        printed = [name for name in figures if name in (*HEADLINE, *COSTS)] or figures
        write_text(new / "leaderboard.csv", render.to_csv(long))
        write_text(new / "leaderboard.json", render.to_json(long))
        write_text(new / "leaderboard.tex", to_latex(long, printed))
        write_text(new / SITE, listing(new, MARK))
        count(done + 1)
        check(folder)  # minutes may have passed
    return given / "index.html"


def check(folder: Path, mark: str = MARK) -> None:
    """Raise AdbenchError where a site may not replace `folder`: it is a file, or holds files that are not of a site.

    mark: the first line of the list of files that says what wrote it.
    """
    another = "Give --html a folder that is new, empty or a site of adbench."
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise AdbenchError(f"{folder} is not a folder. {another}")
    if not folder.is_dir():
        return
    names = sorted(path.name for path in folder.iterdir() if path.name not in LITTER)
    if names and not (folder / SITE).is_file():
        raise AdbenchError(
            f"{folder} is not a site of adbench: it holds {names[0]} and no {SITE}, and would be replaced as a whole. "
            f"{another}"
        )
    if names and (folder / SITE).read_text(encoding="utf-8", errors="replace").split("\n", 1)[0] != mark:
        raise AdbenchError(f"{folder} was written by another command of adbench, and would be replaced. {another}")
    listed = {SITE, *(folder / SITE).read_text(encoding="utf-8", errors="replace").splitlines()} if names else set()
    if foreign := sorted(set(_files(folder)) - listed):
        raise AdbenchError(
            f"{folder} holds {foreign[0]}, which is not part of the site and would be lost. Move it elsewhere, or give "
            "--html another folder."
        )


def listing(folder: Path, mark: str) -> str:
    """Return the text of the file that marks a folder: the mark, and its files."""
    return "\n".join([mark, *sorted(_files(folder))]) + "\n"


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, and of links to folders, except `LITTER`."""
    for path in folder.rglob("*"):
        if path.name not in LITTER and (path.is_symlink() or not path.is_dir()):
            yield path.relative_to(folder).as_posix()


def filler(package: str = "adbench.board.site") -> Callable[[str, dict[str, Any], str], str]:
    """Return a function that fills a template of a package: (name, its variables, path to the root) to text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return lambda name, content, root: environment.get_template(name).render(content, root=root)


def _shown(value: Any) -> Any:
    """Return what a template prints: of texts, no control characters, and none that reverse what follows."""
    return printable(value, lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value


def _rows(long: pd.DataFrame, entry: SiteRecord) -> pd.DataFrame:
    """Return the leaderboard's rows for one dataset's page, for real data with the published ones."""
    kind, dataset = entry.line["data"], entry.line["dataset"]
    ours = (long["data"] == kind) & (long["dataset"] == dataset)
    papers = (long["data"] == "published") & (long["dataset"] == plain(dataset))
    found = long[ours | papers] if kind == "real" else long[ours]
    return found[found["n"] != 0]  # a row that never ran on it is on other pages


def _copy(pictures: Sequence[Picture], folder: Path) -> None:
    """Put pictures into the site: as hard links, which cost no space, where the disk allows them, else as copies."""
    if pictures:
        folder.mkdir()
    for picture in pictures:
        target = folder / picture.file.name
        try:
            os.link(picture.file, target)
        except OSError:
            shutil.copyfile(picture.file, target)
