"""Prediction intervals: where one more figure of the same cell would lie."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adbench.errors import AdbenchError
from adbench.statistics.mrmc import quantile


def prediction_interval(figures: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval for one more figure, mean ± t s sqrt(1 + 1/n) with n - 1 degrees of freedom.

    figures: n of them, independent and normally distributed, as of n seeds. Whitmore, Am. Stat. 40:141 (1986).
    Raises AdbenchError for fewer than two.

    >>> [round(end, 3) for end in prediction_interval([1.0, 2.0, 3.0])]
    [-2.968, 6.968]
    """
    n = len(figures)
    if n < 2:
        raise AdbenchError(f"{n} figure has no prediction interval; two are needed.")
    mean, spread = float(np.mean(figures)), float(np.std(figures, ddof=1))
    half = quantile(level, n - 1) * spread * math.sqrt(1 + 1 / n)
    return mean - half, mean + half
