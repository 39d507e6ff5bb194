"""Whether the histogram of an image can be that of its map, if no score moved by more than a tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adbench.metrics.keys import to_floats
from adbench.metrics.per_image import Contributions
from adbench.metrics.regions import region_weights
from adbench.metrics.table import Table

Column = npt.NDArray[np.float64]
ROUNDING = 1e-9  # of sums of region weights

WORDS = {"negative": "normal pixels", "positive": "abnormal pixels", "region_weight": "of the weight of its regions"}


class Moved(NamedTuple):
    """A threshold at which a histogram is none of the map's.

    column: of the histogram. edge: the lower edge of a bin. kept: what the histogram has at or above it.
    least, most: what the map has there with scores that are lower and higher by the tolerance.
    """

    column: str
    edge: float
    kept: float
    least: float
    most: float

    def __str__(self) -> str:
        between = f"{self.least:.6g}" + (f" to {self.most:.6g}" if self.most > self.least else "")
        return f"{self.kept:.6g} {WORDS[self.column]} score at least {self.edge:.6g}, and {between} do in its map"


def moved(
    kept: Contributions, scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], tolerance: float, share: float
) -> Moved | None:
    """Return where the histogram of an image can't be that of its map (H, W); None where it can.

    Cumulative counts are compared at the edges of bins, where a histogram says exactly how many scores lie above.

    Args:
        kept: the histogram of this one image.
        scores: its map.
        mask: of the same shape, true where abnormal.
        tolerance: by which each score may differ.
        share: of the pixels of each class, from 0 to 1, that may differ by more.

    >>> from adbench.metrics.per_image import ImageHistograms
    >>> scores, mask = np.array([[0.2, 0.5], [0.5, 0.9]], np.float32), np.array([[0, 0], [1, 1]], bool)
    >>> collected = ImageHistograms()
    >>> collected.update(0, scores[None], mask[None])
    >>> moved(collected.total(), scores + np.float32(0.01), mask, 0.02, 0)
    >>> print(moved(collected.total(), scores + np.float32(0.1), mask, 0.02, 0))
    1 normal pixels score at least 0.200073, and 2 do in its map

    """
    low, high = (to_floats((kept.bin.astype(np.int64) + side) << kept.shift) for side in (0, 1))
    edges = np.concatenate([low, high]).astype(np.float64)
    for name, values, weights in _columns(scores, mask):
        own = getattr(kept, name).astype(np.float64)
        above = np.cumsum(own[::-1])[::-1]
        stated = np.concatenate([above, above - own])
        order = np.argsort(values)
        ordered, rest = values[order].astype(np.float64), np.append(np.cumsum(weights[order][::-1])[::-1], 0)
        least, most = (rest[np.searchsorted(ordered, edges + side * tolerance)] for side in (1, -1))
        slack = share * float(weights.sum()) + ROUNDING * max(1.0, float(weights.sum()))
        beyond = np.maximum(least - stated, stated - most)
        if (worst := int(np.argmax(beyond))) >= 0 and beyond[worst] > slack:
            return Moved(name, *(float(column[worst]) for column in (edges, stated, least, most)))
    return None


def _columns(
    scores: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, npt.NDArray[np.float32], Column]]:
    """Yield the columns of a histogram with the scores that they count, and what each of them adds."""
    normal, abnormal = scores[~mask], scores[mask]
    yield "negative", normal, np.ones(normal.size)
    yield "positive", abnormal, np.ones(abnormal.size)
    yield "region_weight", abnormal, region_weights(mask[None])[0]


def tied_pairs(table: Table, rounding: float) -> float:
    """Return which share of the pairs of an abnormal and a normal pixel have the same score up to rounding.

    rounding: as a share of the largest score, without its sign. Of such pairs another machine may have another order.

    >>> one = np.ones(3, np.int64)
    >>> from adbench.metrics.keys import to_keys
    >>> keys = to_keys(np.array([0.5, 0.5000001, 1], np.float32))
    >>> tied_pairs(Table(0, keys, 2 * one, one, np.ones(3), one == 0), 1e-3)
    0.5555555555555556
    """
    scores = to_floats(table.keys).astype(np.float64)
    step = float(np.abs(scores).max()) * rounding or 1.0
    negative = np.append(0, np.cumsum(table.total - table.positive))
    first, last = np.searchsorted(scores, scores - step, "left"), np.searchsorted(scores, scores + step, "right")
    near = (negative[last] - negative[first]).astype(np.float64)
    return float((table.positive * near).sum() / (float(table.positive.sum()) * float(negative[-1])))
