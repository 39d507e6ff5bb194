"""Every published figure with the command that repeats it, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from adbench.board.papers import Figure, Repetition, Words, repetition
from adbench.reproduce.cells import command


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
