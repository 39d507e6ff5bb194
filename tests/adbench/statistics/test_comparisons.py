"""Holm, verdicts, ranks and power against cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.statistics import (
    Design,
    compare_pair,
    design,
    detectable,
    draws_needed,
    holm,
    interval,
    patients_needed,
    rank_intervals,
    verdict,
)


def test_holm_is_monotone_and_keeps_what_cannot_be_tested() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    corrected = holm([0.02, math.nan])
    assert corrected[0] == pytest.approx(0.04), "a comparison that was asked for counts"
    assert math.isnan(corrected[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_verdicts_in_their_order() -> None:
    narrow = interval(0.005, 1e-8, 0.0, math.inf)
    assert verdict(narrow, 0.0, margin=0.01) == "equivalent", "before better: the interval lies inside the margin"
    assert verdict(narrow, 1e-6, margin=0.005) == "better"
    assert verdict(interval(-0.05, 1e-6, 0.0, math.inf), 1e-6, margin=0.01) == "worse"
    assert verdict(interval(0.05, 1e-2, 0.0, math.inf), 0.6, margin=0.01) == "undecided"
    assert verdict(interval(0.05, 1e-6, 0.0, math.inf), math.nan, margin=0.01) == "undecided"


def test_rank_intervals() -> None:
    better = np.zeros((3, 3), bool)
    assert rank_intervals(better) == [(1, 3)] * 3
    better[0, 2] = True
    assert rank_intervals(better) == [(1, 2), (1, 3), (2, 3)]


def test_power_by_hand() -> None:
    assert detectable(0.01) == pytest.approx(2.8016 * 0.1, abs=1e-4)
    plan = Design(interaction=0.0004, noise=0.0002, shared=0.0001, draws=3, patients=60)
    assert plan.variance(3, 60) == pytest.approx(2 / 3 * 0.0006 + 0.0002)
    assert plan.variance(math.inf, 60) == pytest.approx(0.0002)
    assert plan.variance(3, 120) == pytest.approx(2 / 3 * (0.0004 + 0.0001) + 0.0001)
    least = detectable(plan.variance(math.inf, 60))
    assert draws_needed(plan, least * 0.99) is None, "no number of draws shows less on these patients"
    need = draws_needed(plan, 0.06)
    assert need is not None
    assert detectable(plan.variance(need, 60)) <= 0.06 < detectable(plan.variance(need - 1, 60))
    more = patients_needed(plan, 0.06)
    assert more is not None
    assert detectable(plan.variance(3, more)) <= 0.06 < detectable(plan.variance(3, more - 1))
    assert patients_needed(plan, 0.01) is None, "three draws alone vary more"


def test_the_design_reproduces_the_variance_of_the_comparison() -> None:
    rng = np.random.default_rng(0)
    figures = 0.8 + rng.normal(size=(2, 4)) * 0.05
    root = rng.normal(size=(8, 8)) * 0.005 + 0.01
    over = root @ root.T
    plan, pair = design(figures, over, patients=40), compare_pair(figures, over)
    if plan.interaction > 0:
        assert plan.variance(4, 40) == pytest.approx(pair.se**2)
    one = design(figures[:, :1], over[np.ix_([0, 4], [0, 4])], patients=40)
    assert one.variance(1, 40) == pytest.approx(compare_pair(figures[:, :1], over[np.ix_([0, 4], [0, 4])]).se ** 2)
    assert draws_needed(one, 0.001) is None, "of draws nothing is known"
