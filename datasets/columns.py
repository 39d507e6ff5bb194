"""The names of a table's columns: those that are read, and others that were meant to be."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from adbench.errors import DataError

ABOUT = frozenset({"path", "file", "filename", "name", "id", "ids", "no", "nr", "num", "number", "code", "key", "uid",
                   "data", "dataset", "set", "image", "img", "type", "col", "column"})  # fmt: skip
OTHER_NAMES: Mapping[str, frozenset[str]] = {  # by column; as other tables call it, without words of `ABOUT`
    "patient": frozenset({"subject", "subjects", "participant", "participants", "mrn", "pid", "case", "person"}),
    "split": frozenset({"set", "subset", "partition"}),
    "mask": frozenset({"segmentation", "seg", "annotation", "ground truth", "groundtruth", "gt", "lesion mask",
                       "label path", "label file", "label filename", "label image"}),
    "slice": frozenset({"slice", "slice index", "slice idx", "frame", "frame index", "frame idx", "page"}),
}  # fmt: skip


def header_of(
    file: Path, names: list[str], needed: Collection[str], known: Collection[str], numbers: Collection[str] = ()
) -> list[str]:
    """Return the names of the columns, those that are read as they are spelled in `needed`, `known` and `numbers`.

    Raises DataError for a missing column of `needed`, for a name that is there twice, and for one that is nearly one of
    `needed` and `known`.
    """
    spelling = {name.casefold(): name for name in (*numbers, *known, *needed)}
    header = [spelling.get(name.casefold(), name) for name in names]
    missing = [name for name in needed if name not in header]
    if missing:
        has = ", ".join(name or "(unnamed)" for name in header)
        raise DataError(f"{file} has no column {', '.join(missing)}; its columns are {has}.")
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise DataError(f"{file} has two columns called {sorted(twice)[0]}. Keep one.")
    for name in sorted(set(header) - {*needed, *known, *numbers, ""}) if known else ():
        near = difflib.get_close_matches(name.lower(), [*needed, *known], n=1, cutoff=0.75)
        near = near or [one for one in known if one not in header and _is_about(name, one)]
        if near:
            raise DataError(f"{file} has a column {name!r}; is it meant to be {near[0]!r}? Rename it to be sure.")
    return header


def meant(file: Path, header: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """Return a note for each column that may hold what a column of `wanted`, which the table lacks, would give.

    >>> meant(Path("t.csv"), ["path", "label", "Subject ID", "age"], ["patient"])
    ["t.csv has a column 'Subject ID', which is not read. If it holds patients, call it patient."]
    """
    return [
        f"{file.name} has a column {name!r}, which is not read. If it holds {_plural(column)}, call it {column}."
        for column in wanted
        for name in header
        if {_text(_words(name)), _text(_telling(name))} & OTHER_NAMES[column]
    ]


def _is_about(name: str, known: str) -> bool:
    """Whether the name of a column is a known one with a word that says nothing more, as in `mask_path`.

    >>> _is_about("Mask path", "mask"), _is_about("data_split", "split"), _is_about("patient_weight", "patient")
    (True, True, False)
    """
    parts = _words(name)
    return known in parts and set(parts) <= {known, *ABOUT}


def _words(name: str) -> list[str]:
    return [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]


def _telling(name: str) -> list[str]:
    """Return the words of a column's name that say something, also of `subjectId`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in _words(parted) if word not in ABOUT]


def _text(words: Iterable[str]) -> str:
    return " ".join(words)


def _plural(column: str) -> str:
    return "numbers of slices" if column == "slice" else f"{column}s"
