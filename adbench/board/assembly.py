"""A leaderboard as it is shown: the rows of records, the papers' rows, averages, intervals and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from adbench.board import published as papers
from adbench.board.averages import completed
from adbench.board.leaderboard import COSTS, FEW, FIGURES, matching, with_leaks
from adbench.config.schema import cache_folder
from adbench.records.record import Record

if TYPE_CHECKING:
    from adbench.board.intervals import Measured


class Board(NamedTuple):
    """A leaderboard's rows in long form, with averages, and their intervals; None where it has none."""

    long: pd.DataFrame
    measured: Measured | None


def assembled(
    records: Sequence[Record],
    rows: pd.DataFrame,
    *,
    method: str | None = None,
    published: bool = False,
    metrics: Sequence[str] | None = None,
    intervals: bool | None = None,
    measured: Sequence[str] = FIGURES,
) -> Board:
    """Return the leaderboard of some records, whose own rows are `leaderboard.table(records)`.

    published: add the papers' rows, of `method` alone where that is given, written as for `leaderboard.matching`.
    metrics: keep these alone, with their leaks, and costs. intervals: whether there are some, and ranks; None: for at
    most `FEW` records. measured: the metrics that have intervals.
    """
    long = papers.added(rows) if published else rows
    if published and method is not None:
        long = long[long["method"].isin(matching("method", method, long["method"]))]
    rows, long = _of(rows, metrics), _of(long, metrics)
    if not (len(records) <= FEW if intervals is None else intervals):
        return Board(completed(long), None)
    from adbench.board.intervals import judged
    from adbench.board.kept import intervals_of

    found = intervals_of(records, rows, measured, cache_folder())
    return Board(judged(long, found), found)


def _of(long: pd.DataFrame, metrics: Sequence[str] | None) -> pd.DataFrame:
    return long if metrics is None else long[long["metric"].isin([*with_leaks(metrics), *COSTS])]
