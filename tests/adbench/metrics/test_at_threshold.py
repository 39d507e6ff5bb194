"""Figures at a pixel threshold: against counting, and bounds that hold on coarse histograms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench.errors import AdbenchError
from adbench.metrics import Histogram
from adbench.metrics.at_threshold import pixels_at

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(4, 20, 20)).astype(np.float32)
MASKS = RNG.random((4, 20, 20)) < 0.2


def counted(threshold: float) -> tuple[float, float, float]:
    called = np.float32(threshold) <= SCORES
    dice = 2 * (called & MASKS).sum() / (called.sum() + MASKS.sum())
    return called[MASKS].mean(), 1 - called[~MASKS].mean(), dice


@pytest.mark.parametrize("threshold", [-9.0, -0.5, 0.0, float(SCORES[0, 0, 0]), 1.25, 9.0])
def test_a_fine_histogram_counts_exactly(threshold: float) -> None:
    hist = Histogram()
    hist.update(SCORES, MASKS)
    found = pixels_at(hist, threshold)
    assert [one.value for one in found] == pytest.approx(counted(threshold), abs=1e-12)
    assert [one.half_width for one in found] == [0, 0, 0]


@given(st.floats(-3, 3, width=32), st.sampled_from([4, 16, 64]))
def test_the_bounds_of_a_coarse_one_hold(threshold: float, bins: int) -> None:
    hist = Histogram(max_distinct=0, bins=bins)
    hist.update(SCORES, MASKS)
    for found, right in zip(pixels_at(hist, threshold), counted(threshold), strict=True):
        assert found.value - found.half_width - 1e-12 <= right <= found.value + found.half_width + 1e-12


def test_what_gives_no_figure() -> None:
    hist = Histogram()
    hist.update([[0.5, 1.0]], [[0, 0]])
    with pytest.raises(AdbenchError, match="needs abnormal and normal pixels"):
        pixels_at(hist, 0.5)
    with pytest.raises(AdbenchError, match="must be finite"):
        pixels_at(hist, float("inf"))
