"""CSV tables and JSON lines that describe images; every error names the file and the row."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from adbench.data.listing import check_file
from adbench.data.text import read_text
from adbench.errors import DataError
from adbench.system.text import folded

from .columns import header_of

MISSING = frozenset({  # as tools write it: pandas `<NA>`, databases `\N`
    "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "<null>", "(null)", "\\n", "none", "nil", "missing",
    "unknown", "-", "--", "?", ".",
})  # fmt: skip
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}


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


def read_table(
    file: Path,
    needed: Collection[str],
    known: Collection[str] = (),
    notes: list[str] | None = None,
    numbers: Collection[str] = (),
) -> list[Row]:
    """Read a table whose first row names the columns, in any letter case.

    Text is read as `read_text` does; values are separated by commas, semicolons, tabs or `|`, whichever makes the
    needed columns. Blank rows, and empty values beyond the last column, are passed over. Where `notes` is given, a
    sentence is added to it for what had to be guessed: the encoding of text that is not Unicode. `numbers`: columns
    that are known too, but whose names other columns may resemble, such as `slice` and `slide`.

    Raises DataError for a missing column of `needed`, a column whose name is nearly one of `needed` and `known` (it
    would be ignored), a row with more or fewer values than columns, and a table without rows.
    """
    text = _text(file, notes)
    first, text = _body(text)
    separator = _separator(text, needed)
    # Blanks before a quote are no part of the value.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator, skipinitialspace=True)
    rows: list[Row] = []
    header: list[str] = []
    named = 0  # the number of the last column that has a name
    try:
        for values in reader:
            stripped = [value.strip() for value in values]
            if not any(stripped):
                continue
            if not header:
                header = header_of(file, stripped, needed, known, numbers)
                named = max(number for number, value in enumerate(stripped, 1) if value)
                continue
            while not stripped[-1] and len(stripped) > len(header):
                stripped.pop()
            if len(stripped) >= named:
                stripped += [""] * (len(header) - len(stripped))
            if len(stripped) != len(header):
                raise DataError(
                    f"{file} row {first + reader.line_num} has {len(stripped)} values for {len(header)} columns. "
                    f"Quote what holds a {SEPARATORS[separator]}."
                )
            else:
                rows.append(Row(file, first + reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
        raise DataError(f"{file} row {first + reader.line_num} is not readable CSV: {error}.") from error
    if not rows:
        raise DataError(f"{file} has no rows; expected one for each image with the columns {', '.join(needed)}.")
    return rows


def known_values(row: Row, columns: Collection[str]) -> Row:
    """Return a row in which texts for a missing value in some columns, such as R's `NA` and pandas' `nan`, are empty.

    >>> known_values(Row(Path("t.csv"), 2, {"path": "NA", "patient": "NaN"}), ["patient"]).values
    {'path': 'NA', 'patient': ''}
    """
    missing = {name: "" for name in columns if row[name].lower() in MISSING}
    return replace(row, values=row.values | missing) if missing else row


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
    r"""Return the file that a row names, which must exist below `base`; with `absolute` it may lie anywhere.

    Backslashes of a table from Windows are read as slashes, unless a file's name has them.
    """
    if not text:
        raise DataError(f"{where}: the path is empty.")
    drive = PureWindowsPath(text).drive
    path = Path(text)
    if "\\" in text and not (drive or _is_file(base / path, where)):
        path = Path(text.replace("\\", "/"))
    if path.is_absolute() or drive:
        if not absolute:
            raise DataError(
                f"{where}: {text} is an absolute path; paths are given from {base}. To allow it: "
                "dataset.allow_absolute_paths=true"
            )
    elif os.path.normpath(path).startswith(".."):
        raise DataError(f"{where}: {text} climbs out of {base}; only files below it are read.")
    file = base / (os.path.normpath(path) if ".." in path.parts else path)
    if not _is_file(file, where):
        raise DataError(f"{where}: {_missing(file, text, base)}")
    return file


class NamedFiles:
    """The files that the rows of a table have named so far, whatever the spelling of the path."""

    def __init__(self) -> None:
        self._named: dict[tuple[int, int, int | None], tuple[Row, str]] = {}

    def add(self, file: Path, text: str, row: Row, number: int | None = None) -> None:
        """Add a file that a row names as `text`, or image `number` of it.

        Two names of one file are the same: `a.png` and `./a.png`, links, and on some disks `A.png`. Raises DataError
        where an earlier row names it too.
        """
        status = os.stat(file)
        other, earlier = self._named.setdefault((status.st_dev, status.st_ino, number), (row, text))
        if other is not row:
            spelling = "" if earlier == text else f", as {earlier}"
            raise DataError(f"{row.where} names {text} again, as row {other.number} did{spelling}. Remove one row.")


def _is_file(file: Path, where: str) -> bool:
    try:
        return file.is_file()
    except OSError as error:  # a name longer than the file system's
        raise DataError(f"{where}: {str(file)[:80]}... cannot be looked for: {error.strerror}.") from error


def _missing(file: Path, text: str, base: Path) -> str:
    """Say what is in the place of a file that a row names as `text`: nothing, a folder, a broken link or a pipe.

    Where there is nothing, a file is named whose name differs in letter case, or in how an accented letter is written.
    """
    if file.is_dir():
        return f"there is no file {text} in {base}: {text} is a folder. Name each of its images in a row of its own."
    if os.path.lexists(file):
        try:
            check_file(file)
        except DataError as error:
            return str(error)
    wanted = folded(file.name)
    names = os.listdir(file.parent) if file.parent.is_dir() else []
    near = sorted(name for name in names if folded(name) == wanted and name != file.name)
    hint = f"; there is {near[0]}, which is written differently" if near else ""
    return f"there is no file {text} in {base}{hint}."


def _text(file: Path, notes: list[str] | None = None) -> str:
    try:
        text = read_text(file)
    except FileNotFoundError as error:
        raise DataError(f"{file} does not exist.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    if text.encoding == "windows-1252" and notes is not None:
        notes.append(f"{file} is not Unicode; its letters were read as Windows-1252. To be sure, save it as UTF-8.")
    return text.content


def _body(text: str) -> tuple[int, str]:
    """Return a table without Excel's line `sep=;`, and how many lines that takes off."""
    line, end, rest = text.partition("\n")
    return (1, rest) if end and re.fullmatch(r'"?sep=.?"?', line.strip(), re.I) else (0, text)


def _separator(text: str, needed: Collection[str]) -> str:
    """Return the separator whose columns hold most of the needed ones; a comma where none does."""
    lines = (line for line in io.StringIO(text, newline=None) if line.strip(" \t\r\n,;|"))
    line = next(lines, "")
    wanted = {name.casefold() for name in needed}

    def found(separator: str) -> int:
        with contextlib.suppress(csv.Error):
            names = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
            return len(wanted & {name.strip().casefold() for name in names})
        return 0

    return max(SEPARATORS, key=found)
