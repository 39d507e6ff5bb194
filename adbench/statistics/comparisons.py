"""Several comparisons: Holm's correction, verdicts with a margin, rank intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adbench.statistics.mrmc import Interval

Verdict = Literal["equivalent", "better", "worse", "undecided"]


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for the number of comparisons; NaN stays NaN and counts as a comparison.

    Source: Holm, Scand. J. Stat. 6:65 (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda i: (math.isnan(p[i]), p[i]))
    corrected, highest = list(p), 0.0
    for rank, place in enumerate(order):
        if not math.isnan(p[place]):
            highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
            corrected[place] = highest
    return corrected


def verdict(difference: Interval, corrected_p: float, margin: float, level: float = 0.95) -> Verdict:
    """Say what a difference shows: *equivalent* if its interval lies inside ±`margin`, else by the corrected p."""
    if -margin < difference.low and difference.high < margin:
        return "equivalent"
    if corrected_p < 1 - level:
        return "better" if difference.estimate > 0 else "worse"
    return "undecided"


def rank_intervals(better: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return for each of n rows the lowest and highest rank that the comparisons allow.

    better: (n, n), true where the row is better than the column after correction. The best rank is one more than the
    number of rows that are better, the worst the number of rows that are not worse.

    >>> rank_intervals(np.array([[False, True, True], [False, False, False], [False, False, False]]))
    [(1, 1), (2, 3), (2, 3)]
    """
    n = len(better)
    return [(1 + int(better[:, i].sum()), n - int(better[i].sum())) for i in range(n)]
