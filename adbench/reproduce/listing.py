"""Every published figure with the command that repeats it, or why there is none. Nothing here imports torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from types import MappingProxyType

import pandas as pd

from adbench.board.papers import Figure, Repetition, Words, repetition
from adbench.system.text import inert

NOTHING: Words = MappingProxyType({})
Repeat = tuple[str, ...]  # the words of one repeat: a cell, or several whose mean the figure is


def texts(words: Words) -> Repeat:
    """Return words as they are typed, `key=value`."""
    return tuple(f"{key}={value}" for key, value in words.items())


def command(words: Words, keys: Words = NOTHING) -> str:
    """Return what to type for a cell, with some keys of the request.

    >>> command({"method": "mvfa", "dataset.category": "*"}, {"data_root": "/data"})
    "adbench run method=mvfa 'dataset.category=*' data_root=/data"
    """
    return shlex.join(["adbench", "run", *texts({**words, **keys})])


def listed(figures: Sequence[Figure], keys: Words) -> pd.DataFrame:
    """Return one row per figure: its columns in the paper, and command, clean_command, reason and note.

    keys: of the request, which each command has too.
    """
    return pd.DataFrame([one._asdict() | _commands(repetition(one), keys) for one in figures])


def _commands(found: Repetition, keys: Words) -> dict[str, str]:
    runs = not found.reason
    return {
        "command": command(found.published, keys) if runs else "",
        "clean_command": command(found.cell, keys) if runs else "",
        "reason": found.reason,
        "note": found.note,
    }


def lines(figures: Sequence[Figure], table: pd.DataFrame) -> list[str]:
    """Return a line for each figure: paper, table, method, dataset, shots, metric, value, and command or reason.

    table: what `listed` returns of the figures.
    """
    rows = []
    for one, row in zip(figures, table.to_dict("records"), strict=True):
        texts = [one.source, f"Table {one.table}", one.method, tested(one), one.shots, one.metric, f"{one.value:g}"]
        rows.append([*texts, row["command"] or row["reason"]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def tested(one: Figure) -> str:
    """Name the dataset of a figure, and where it is another one, the training set.

    >>> tested(Figure("madclip", "3", "cross_dataset", "16", "mvfa", "resc", "octdl", "image_auroc", 90.0, None))
    'octdl from resc'
    """
    other = one.train_dataset not in ("", one.test_dataset) and not one.train_dataset.startswith("all_but_")
    return f"{one.test_dataset} from {one.train_dataset}" if other else one.test_dataset or "-"


def frame_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV whose texts no spreadsheet runs; figures have four decimals at most."""
    safe = frame.apply(lambda column: column if pd.api.types.is_numeric_dtype(column) else column.map(inert))
    return str(safe.round(4).to_csv(index=False, lineterminator="\n"))
