"""A fixed number of adjacent bins, counted into directly: the constant-memory stage of the histogram."""

from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.metrics.keys import EMPTY
from adbench.metrics.table import Table, combine, fitting_shift


class Window:
    """`bins` bins of width 2**shift keys, from bin `base` on; 29 bytes per bin.

    Each bin keeps the first key it met, `only`; the first other key makes the bin `mixed` for good. While a bin is not
    mixed all its pixels hold one value, so its ties are true ties.
    """

    def __init__(self, table: Table, bins: int, low: int, high: int) -> None:
        """Hold `table` and room for keys `low` to `high` (its own included), with the finest bins that fit."""
        if table.keys.size:
            low = min(low, int(table.keys[0]))
            # the top bin may be mixed and so known by its left edge only; any key of the bin does
            high = max(high, int(table.keys[-1]))
        self.shift = fitting_shift(low, high, bins, table.shift)
        low, high = low >> self.shift, high >> self.shift
        # Spare room on both sides, so that the window seldom moves; an int32 for any number of bins allowed.
        self.base = low - (bins - 1 - (high - low)) // 2
        self.bins = bins
        self.total = np.zeros(bins, np.int64)
        self.positive = np.zeros(bins, np.int64)
        self.weight = np.zeros(bins, np.float64)
        self.only = np.full(bins, EMPTY, np.int32)
        self.mixed = np.zeros(bins, np.bool_)
        if table.keys.size:
            table = combine(self.shift, table)
            at = self._bins(table.keys)
            self.total[at], self.positive[at], self.weight[at] = table.total, table.positive, table.weight
            self.only[at], self.mixed[at] = table.keys, table.mixed

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(a.nbytes for a in (self.total, self.positive, self.weight, self.only, self.mixed))

    def holds(self, low: int, high: int) -> bool:
        """Say whether keys `low` to `high` fall inside."""
        return self.base <= low >> self.shift and high >> self.shift < self.base + self.bins

    def add(self, keys: npt.NDArray[np.int32], inexact: npt.NDArray[np.bool_] | None) -> None:
        """Count pixels; `inexact` marks those whose key stands for a neighbouring double."""
        at = self._bins(keys)
        np.add.at(self.total, at, 1)
        if inexact is not None:
            self.mixed[at[inexact]] = True
        if self.shift == 0:
            return
        # Most pixels fall into bins already known to be mixed: only the others need a second look.
        unsure = np.flatnonzero(~self.mixed.take(at, mode="clip"))
        if unsure.size:
            at, keys = at[unsure], keys[unsure]
            held = self.only[at]
            fresh = held == EMPTY
            if fresh.any():
                self.only[at[fresh]] = keys[fresh]
                held = self.only[at]
            self.mixed[at[held != keys]] = True

    def add_positive(self, keys: npt.NDArray[np.int32], weights: npt.NDArray[np.float64]) -> None:
        """Note that these pixels, already counted by `add`, are abnormal, and their region weights."""
        at = self._bins(keys)
        np.add.at(self.positive, at, 1)
        np.add.at(self.weight, at, weights)

    def table(self) -> Table:
        """Return the non-empty bins."""
        at = np.flatnonzero(self.total)
        mixed = self.mixed[at]
        edges = ((at + self.base) << self.shift).astype(np.int32)
        keys = edges if self.shift == 0 else np.where(mixed, edges, self.only[at])
        return Table(self.shift, keys, self.total[at], self.positive[at], self.weight[at], mixed)

    def _bins(self, keys: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        at = keys >> self.shift
        at -= self.base
        return at.astype(np.intp)
