"""Where one more figure of a cell would lie."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.errors import AdbenchError
from adbench.statistics import prediction_interval


def test_it_is_mean_plus_t_s_root_one_plus_one_over_n() -> None:
    low, high = prediction_interval([89.0, 90.0, 91.0, 90.5, 89.5])
    half = 2.776445 * math.sqrt(0.625) * math.sqrt(1.2)  # t with 4 degrees of freedom, s squared, 1 + 1/5
    assert (low, high) == pytest.approx((90 - half, 90 + half), abs=1e-5)
    assert prediction_interval([90.0] * 5) == (90.0, 90.0)


def test_one_figure_has_none() -> None:
    with pytest.raises(AdbenchError, match="1 figure has no prediction interval"):
        prediction_interval([1.0])


def test_it_holds_one_more_figure_as_often_as_its_level_says() -> None:
    figures = np.random.default_rng(0).normal(size=(1500, 6))
    inside = [low <= row[5] <= high for row in figures for low, high in [prediction_interval(row[:5], level=0.9)]]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.025)
