"""Bins of equal keys as sorted columns: the form in which histograms are merged, coarsened, stored and read off."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Table(NamedTuple):
    """Non-empty bins in ascending order of score; bin = key >> shift.

    A bin that holds one single value keeps that value's full key, any other one is `mixed` and keeps its left edge.
    """

    shift: int
    keys: npt.NDArray[np.int32]
    total: npt.NDArray[np.int64]
    positive: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    mixed: npt.NDArray[np.bool_]

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest bin."""
        return int(self.keys[0]) >> self.shift, int(self.keys[-1]) >> self.shift


def empty_table() -> Table:
    """Return a table without bins."""
    none = np.empty(0, np.int64)
    return Table(0, np.empty(0, np.int32), none, none, np.empty(0), np.empty(0, np.bool_))


def combine(shift: int, *tables: Table) -> Table:
    """Add tables, none coarser than `shift`, into one with that shift.

    >>> one = np.ones(2, np.int64)
    >>> a = Table(0, np.array([4, 6], np.int32), one, one, np.ones(2), np.zeros(2, bool))
    >>> combine(1, a, a).keys.tolist(), combine(1, a, a).mixed.tolist()
    ([4, 6], [False, False])
    >>> combine(2, a, a).keys.tolist(), combine(2, a, a).mixed.tolist(), combine(2, a, a).total.tolist()
    ([4], [True], [4])
    """
    keys, total, positive, weight, mixed = (
        np.concatenate([table[column] for table in tables]) for column in range(1, len(Table._fields))
    )
    if not keys.size:
        return tables[0]._replace(shift=shift)
    if len(tables) > 1:
        order = np.argsort(keys, kind="stable")  # merges sorted runs
        keys, total, positive, weight, mixed = (column[order] for column in (keys, total, positive, weight, mixed))
    start = starts(keys >> shift)
    first = keys[start]
    last = keys[np.append(start[1:], keys.size) - 1]
    mixed = np.logical_or.reduceat(mixed, start) | (first != last)
    return Table(
        shift,
        np.where(mixed, (first >> shift) << shift, first),
        np.add.reduceat(total, start),
        np.add.reduceat(positive, start),
        np.add.reduceat(weight, start),
        mixed,
    )


def starts(ordered: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return where each run of equal values begins in a sorted, non-empty array."""
    new = np.empty(ordered.size, np.bool_)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def fitting_shift(low: int, high: int, bins: int, shift: int = 0) -> int:
    """Return the smallest shift, at least `shift`, at which keys `low` to `high` need no more than `bins` bins.

    >>> fitting_shift(0, 1023, bins=16)
    6
    """
    while (high >> shift) - (low >> shift) >= bins:
        shift += 1
    return shift
