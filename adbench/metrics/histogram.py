"""A mergeable, constant-memory summary of pixel scores from which every pixel metric can be read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError
from adbench.metrics.arrays import Bools, as_booleans, as_float32, as_scores, to_numpy
from adbench.metrics.keys import to_keys
from adbench.metrics.regions import check_regions, region_weights
from adbench.metrics.table import Table, combine, empty_table, starts
from adbench.metrics.window import Window

MOST_BINS = 2**24  # half of it is the distance of the lowest key from the lowest int32
CHUNK = 2**18  # pixels at a time: the temporaries stay in the processor's cache
Keys = npt.NDArray[np.int32]

COLUMNS = ("keys", "shift", "positive", "negative", "region_weight", "mixed", "n_regions")


class Histogram:
    """Counts of normal, abnormal and region-weighted abnormal pixels per score.

    Up to `max_distinct` different scores are kept exactly. Beyond that the scores fall into at most `bins` bins, the
    finest that cover the range seen; each bin knows whether it holds one single value. The state depends only on the
    pixels, not on batches or merge order (region weights: up to float64 rounding). Scores are compared as float32;
    float64 scores that float32 cannot hold make their bin `mixed`, so the certificates stay true.

    >>> hist = Histogram()
    >>> hist.update([[0.1, 0.9], [0.2, 0.4]], [[0, 1], [0, 0]])
    >>> hist.n_positive, hist.n_negative, hist.n_regions
    (1, 3, 1)
    """

    def __init__(self, max_distinct: int = 2**16, bins: int = 2**20) -> None:
        if max_distinct < 0 or not 2 <= bins <= MOST_BINS:
            raise AdbenchError(
                f"Histogram needs max_distinct >= 0 and bins from 2 to {MOST_BINS}, got {max_distinct} and {bins}"
            )
        self.max_distinct = max_distinct
        self.bins = bins
        self.n_regions = 0
        self._table = empty_table()
        self._window: Window | None = None

    def update(self, scores: Any, masks: Any, regions: Any = None) -> None:
        """Add score maps.

        Args:
            scores: (N, H, W) or (H, W), finite; higher is more abnormal.
            masks: the same shape, boolean or 0/1; true where abnormal.
            regions: the same shape, integer labels, unique within an image, 0 outside the mask; by default the
                8-connected components of each mask.

        Raises:
            AdbenchError: wrong shape, or a mask that is not binary.
            NumericalError: a score is NaN or infinite. Nothing has been added then.

        """
        maps, truth = as_scores(scores), as_booleans(masks, "masks")
        if maps.shape != truth.shape or maps.ndim not in (2, 3):
            raise AdbenchError(
                f"scores have shape {maps.shape} and masks {truth.shape}; both must be the same (N, H, W) or (H, W)"
            )
        labels = None
        if regions is not None:
            labels = to_numpy(regions)
            check_regions(labels, truth)
        if maps.ndim == 2:
            maps, truth, labels = maps[None], truth[None], None if labels is None else labels[None]
        if not maps.size:
            return
        step = max(1, CHUNK // maps[0].size)
        for i in range(0, len(maps), step):
            part = slice(i, i + step)
            values, inexact = as_float32(maps[part])
            weights, count = region_weights(truth[part], None if labels is None else labels[part])
            self._add(
                to_keys(values).ravel(),
                None if inexact is None else inexact.ravel(),
                np.flatnonzero(truth[part]),
                weights,
            )
            self.n_regions += count

    def merge(self, other: "Histogram") -> "Histogram":
        """Return a new histogram of both sets of pixels, as if one had seen them all; the smaller limits hold.

        >>> a, b = Histogram(), Histogram()
        >>> a.update([[0.1, 0.9]], [[0, 1]])
        >>> b.update([[0.3, 0.8]], [[0, 1]])
        >>> a.merge(b).n_positive
        2
        """
        merged = Histogram(min(self.max_distinct, other.max_distinct), min(self.bins, other.bins))
        merged.n_regions = self.n_regions + other.n_regions
        mine, theirs = self.table(), other.table()
        merged._hold(combine(max(mine.shift, theirs.shift), mine, theirs))
        return merged

    def table(self) -> Table:
        """Return the non-empty bins in ascending order of score."""
        return self._table if self._window is None else self._window.table()

    @property
    def n_positive(self) -> int:
        """Abnormal pixels seen."""
        return int((self._table if self._window is None else self._window).positive.sum())

    @property
    def n_negative(self) -> int:
        """Normal pixels seen."""
        return int((self._table if self._window is None else self._window).total.sum()) - self.n_positive

    @property
    def nbytes(self) -> int:
        """Bytes of state; at most 29 per bin (30 MB by default) or 29 per distinct score."""
        if self._window is not None:
            return self._window.nbytes
        return sum(column.nbytes for column in self._table[1:])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the state as arrays, one row per non-empty bin, for a record.

        `keys` (uint32) rise with the score: the value itself where `mixed` is false, else the left edge of a bin of
        2**`shift` keys. `positive`, `negative` (int64) and `region_weight` (float64) are sums; `n_regions` a number.

        >>> hist = Histogram()
        >>> hist.update([[0.5, 0.5, 2.0]], [[0, 1, 1]])
        >>> arrays = hist.to_arrays()
        >>> arrays["positive"], arrays["region_weight"], int(arrays["n_regions"])
        (array([1, 1]), array([0.5, 0.5]), 1)
        """
        table = self.table()
        return {
            "keys": table.keys.view(np.uint32) ^ np.uint32(0x80000000),
            "shift": np.array(table.shift, np.int64),
            "positive": table.positive.copy(),
            "negative": table.total - table.positive,
            "region_weight": table.weight.copy(),
            "mixed": table.mixed.copy(),
            "n_regions": np.array(self.n_regions, np.int64),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], max_distinct: int = 2**16, bins: int = 2**20
    ) -> "Histogram":
        """Rebuild a histogram from `to_arrays`; a missing column is an `AdbenchError`.

        >>> hist = Histogram()
        >>> hist.update([[0.5, 2.0]], [[0, 1]])
        >>> Histogram.from_arrays(hist.to_arrays()).n_positive
        1
        """
        missing = [name for name in COLUMNS if name not in arrays]
        if missing:
            raise AdbenchError(f"a stored histogram lacks {', '.join(missing)}; it must hold {', '.join(COLUMNS)}")
        hist = cls(max_distinct, bins)
        hist.n_regions = int(arrays["n_regions"])
        positive = np.array(arrays["positive"], np.int64)
        hist._hold(
            Table(
                int(arrays["shift"]),
                (np.asarray(arrays["keys"], np.uint32) ^ np.uint32(0x80000000)).view(np.int32),
                positive + np.array(arrays["negative"], np.int64),
                positive,
                np.array(arrays["region_weight"], np.float64),
                np.array(arrays["mixed"], np.bool_),
            )
        )
        return hist

    def _hold(self, table: Table) -> None:
        if table.shift == 0 and table.keys.size <= self.max_distinct:
            self._table = table
        else:
            self._window = Window(table, self.bins, int(table.keys[0]), int(table.keys[-1]))
            self._table = empty_table()

    def _add(
        self,
        keys: Keys,
        inexact: Bools | None,
        positive: npt.NDArray[np.intp],
        weights: npt.NDArray[np.float64],
    ) -> None:
        if self._window is None:
            distinct, total = _tally(keys)
            if distinct.size <= self.max_distinct:
                order = np.argsort(keys[positive])  # sorted needles are found several times faster
                at, weights = np.searchsorted(distinct, keys[positive][order]), weights[order]
                mixed = np.zeros(distinct.size, np.bool_)
                if inexact is not None:
                    mixed[np.searchsorted(distinct, keys[inexact])] = True
                hits = np.bincount(at, minlength=distinct.size)
                weight = np.bincount(at, weights, minlength=distinct.size).astype(np.float64)
                self._hold(combine(0, self._table, Table(0, distinct, total, hits, weight, mixed)))
                return
        low, high = int(keys.min()), int(keys.max())
        if self._window is None or not self._window.holds(low, high):
            self._window = Window(self.table(), self.bins, low, high)
            self._table = empty_table()
        self._window.add(keys, inexact)
        self._window.add_positive(keys[positive], weights)


def _tally(keys: Keys) -> tuple[Keys, npt.NDArray[np.int64]]:
    low = int(keys.min())
    if int(keys.max()) - low < keys.size:  # counting beats sorting
        total = np.bincount(keys - np.int32(low))
        at = np.flatnonzero(total)
        return (at + low).astype(np.int32), total[at]
    ordered = np.sort(keys)
    start = starts(ordered)
    return ordered[start], np.diff(start, append=ordered.size)
