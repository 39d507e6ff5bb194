"""CSV tables and JSON lines that describe images; every error names the file and the row."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from adbench.errors import DataError
from adbench.system.reading import read_text


@dataclass(frozen=True)
class Row:
    """One row of a table: its values by column, its file and its number. The header is row 1."""

    file: Path
    number: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")

    @property
    def where(self) -> str:
        """The file and the row, for error messages."""
        return f"{self.file} row {self.number}"


def read_table(file: Path, needed: Collection[str], known: Collection[str] = ()) -> list[Row]:
    """Read a comma-separated table in UTF-8 whose first row names the columns.

    Raises DataError for a missing column of `needed`, a column whose name is nearly one of `needed` and `known` (it
    would be ignored), a row with more or fewer values than columns, and a table without rows.
    """
    text = _text(file)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for values in reader:
            if not values:
                continue
            if not header:
                header = [value.strip() for value in values]
                _check_header(file, header, needed, known)
            elif len(values) != len(header):
                raise DataError(
                    f"{file} row {reader.line_num} has {len(values)} values for {len(header)} columns. Quote what "
                    "holds a comma."
                )
            else:
                stripped = (value.strip() for value in values)
                rows.append(Row(file, reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
        raise DataError(f"{file} row {reader.line_num} is not readable CSV: {error}.") from error
    if not rows:
        raise DataError(f"{file} has no rows; expected one for each image with the columns {', '.join(needed)}.")
    return rows


def read_lines(file: Path, needed: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (`FILE line N`, object) for a file with one JSON object a line; empty lines are skipped."""
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where} is not a JSON object: {error.msg} at character {error.pos + 1}.") from error
        if not isinstance(content, dict):
            raise DataError(
                f"{where} is a JSON {type(content).__name__}; an object with {', '.join(needed)} is needed."
            )
        missing = [key for key in needed if key not in content]
        if missing:
            raise DataError(
                f"{where} has no {missing[0]!r}; it needs {', '.join(needed)} and has {', '.join(content)}."
            )
        yield where, content


def file_below(base: Path, text: str, where: str, absolute: bool = False) -> Path:
    """Return the file that a row names, which must exist below `base`; with `absolute` it may lie anywhere."""
    path = Path(text)
    if not text:
        raise DataError(f"{where}: the path is empty.")
    if path.is_absolute() or PureWindowsPath(text).drive:
        if not absolute:
            raise DataError(
                f"{where}: {text} is an absolute path; paths are given from {base}. To allow it: "
                "dataset.allow_absolute_paths=true"
            )
    elif os.path.normpath(path).startswith(".."):
        raise DataError(f"{where}: {text} climbs out of {base}; only files below it are read.")
    file = base / path
    if not file.is_file():
        raise DataError(f"{where}: there is no file {text} in {base}.")
    return file


def _text(file: Path) -> str:
    try:
        return read_text(file, "utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}.") from error


def _check_header(file: Path, header: list[str], needed: Collection[str], known: Collection[str]) -> None:
    missing = [name for name in needed if name not in header]
    if missing:
        has = ", ".join(name or "(unnamed)" for name in header)
        raise DataError(f"{file} has no column {', '.join(missing)}; its columns are {has}.")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise DataError(f"{file} has two columns called {sorted(twice)[0]}. Keep one.")
    for name in set(header) - {*needed, *known} if known else ():
        near = difflib.get_close_matches(name.lower(), [*needed, *known], n=1, cutoff=0.75)
        if near:
            raise DataError(f"{file} has a column {name!r}; is it meant to be {near[0]!r}? Rename it to be sure.")
