"""Van Dyke's study (5 readers, 2 modalities, 114 cases) against the published output of MRMCaov 0.3 and OR-DBM MRMC."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.errors import AdbenchError
from adbench.statistics import (
    auroc_without_each,
    clustered_covariance,
    compare_pair,
    components,
    covariance,
    f_test,
    interaction,
    interval,
    mean_of,
    on_logit,
    placements,
    single,
)
from adbench.statistics.example import van_dyke

RATINGS, ILL = van_dyke()
FLAT, CASES = RATINGS.reshape(10, -1), np.arange(114)
FIGURES = np.array([placements(row, ILL)[ILL].mean() for row in FLAT]).reshape(2, 5)
JACKKNIFE = covariance(np.stack([auroc_without_each(row, ILL, CASES) for row in FLAT], axis=1))
DELONG = clustered_covariance(FLAT, ILL, CASES)


def near(value: float, printed: str) -> None:
    digits = len(printed.partition(".")[2])
    assert round(value, digits) == float(printed), f"{value} is not {printed}"


def test_means_and_mean_squares() -> None:
    for value, printed in zip(FIGURES.mean(axis=1), ("0.8970370", "0.9408374"), strict=True):
        near(value, printed)
    near(FIGURES[0].mean() - FIGURES[1].mean(), "-0.0438003")
    near(5 * ((FIGURES.mean(axis=1) - FIGURES.mean()) ** 2).sum(), "0.0047961705")
    near(interaction(FIGURES), "0.0005510306")


@pytest.mark.parametrize(
    ("over", "printed"),
    [
        (JACKKNIFE, ("0.00080229", "0.00034661", "0.00034407", "0.00023903")),
        (DELONG, ("0.0007921325", "0.0003420090", "0.0003395265", "0.0002358497")),
    ],
)
def test_components(over, printed) -> None:
    part = components(over, 2, 5)
    for value, text in zip((part.variance, part.cov1, part.cov2, part.cov3), printed, strict=True):
        near(value, text)


@pytest.mark.parametrize(
    ("over", "f", "df", "p", "se"),
    [
        (JACKKNIFE, "4.456319", "15.25967", "0.05166569", "0.02074862"),
        (DELONG, "4.484854", "15.06611", "0.05123303", "0.0206825"),
    ],
)
def test_the_difference(over, f, df, p, se) -> None:
    whole, pair = f_test(FIGURES, over), compare_pair(FIGURES, over)
    near(whole.f, f)
    assert whole.df1 == 1
    for value, printed in ((whole.df2, df), (pair.df, df), (whole.p, p), (pair.p, p), (pair.se, se)):
        near(value, printed)
    assert pair.se**2 == pytest.approx(pair.patients + pair.draws)


def test_intervals() -> None:
    pair = compare_pair(FIGURES, DELONG)
    near(pair.low, "-0.0878671960")
    near(pair.high, "0.0002665519")
    own = DELONG.reshape(2, 5, 2, 5)
    expected = (
        ("0.03307642", "12.59597", "0.8253461", "0.9687280"),
        ("0.02150464", "12.56530", "0.8942155", "0.9874592"),
    )
    for k, printed in enumerate(expected):
        alone = single(FIGURES[k], own[k][:, k])
        for value, text in zip((alone.se, alone.df, alone.low, alone.high), printed, strict=True):
            near(value, text)


def test_sensitivity_is_over_the_ill_alone() -> None:
    hits = (FLAT[:, ILL] >= 3).astype(float)
    without = (hits.sum(axis=1, keepdims=True) - hits) / (hits.shape[1] - 1)
    figures, over = hits.mean(axis=1).reshape(2, 5), covariance(without.T)
    whole, pair = f_test(figures, over), compare_pair(figures, over)
    printed = ("0.8222222", "0.9200000", "6.689493", "15.71732", "0.02008822", "-0.1780371", "-0.0175185")
    values = (*figures.mean(axis=1), whole.f, whole.df2, whole.p, pair.low, pair.high)
    for value, text in zip(values, printed, strict=True):
        near(value, text)


def test_one_draw_is_for_that_draw() -> None:
    first = JACKKNIFE.reshape(2, 5, 2, 5)[:, 0, :, 0]
    pair = compare_pair(FIGURES[:, :1], first)
    assert pair.df == math.inf
    assert pair.draws == 0
    assert pair.se**2 == pytest.approx(first[0, 0] + first[1, 1] - 2 * first[0, 1])


def test_two_methods_without_draws_are_compared_as_with_one() -> None:
    first = JACKKNIFE.reshape(2, 5, 2, 5)[:, 0, :, 0]
    repeated = np.repeat(np.repeat(first, 3, axis=0), 3, axis=1)
    three = compare_pair(np.repeat(FIGURES[:, :1], 3, axis=1), repeated)
    one = compare_pair(FIGURES[:, :1], first)
    assert (three.se, three.df, three.p) == pytest.approx((one.se, one.df, one.p))


def test_a_method_without_draws_beside_one_with_draws() -> None:
    # By hand: Var = s²/r of the draws plus 2 (Cov2 - Cov3) of the patients.
    own = JACKKNIFE.reshape(2, 5, 2, 5)
    figures = np.stack([np.full(5, FIGURES[0, 0]), FIGURES[1]])
    over = np.empty((2, 5, 2, 5))
    over[0, :, 0, :] = own[0, 0, 0, 0]
    over[1, :, 1, :] = own[1, :, 1, :]
    over[0, :, 1, :] = own[0, 0, 1, :][None]
    over[1, :, 0, :] = over[0, :, 1, :].T
    pair = compare_pair(figures, over.reshape(10, 10))
    off = ~np.eye(5, dtype=bool)
    cov2 = (own[0, 0, 0, 0] + own[1, :, 1, :][off].mean()) / 2
    cov3 = over[0, :, 1, :][off].mean()
    assert pair.draws == pytest.approx(FIGURES[1].var(ddof=1) / 5)
    assert pair.patients == pytest.approx(2 * (cov2 - cov3))
    ms_tr = FIGURES[1].var(ddof=1) / 2
    assert pair.df == pytest.approx((ms_tr + 5 * (cov2 - cov3)) ** 2 / (ms_tr**2 / 4))


def test_nothing_varies() -> None:
    same, other = np.full((2, 3), 0.5), np.stack([np.full(3, 0.5), np.full(3, 0.6)])
    none = np.zeros((6, 6))
    assert compare_pair(same, none).p == 1
    assert math.isnan(compare_pair(other, none).p), "a difference that nothing makes vary can't be tested"
    with pytest.raises(AdbenchError, match="neither draws nor patients"):
        f_test(other, none)
    with pytest.raises(AdbenchError, match="two of each"):
        f_test(other[:, :1], none[:2, :2])
    with pytest.raises(AdbenchError, match="a pair is needed"):
        compare_pair(np.zeros((3, 2)), np.zeros((6, 6)))


def test_the_mean_over_datasets_by_hand() -> None:
    both = mean_of([interval(0.1, 0.0004, 0.0, 10.0), interval(0.3, 0.0001, 0.0004, 5.0)])
    assert both.estimate == pytest.approx(0.2)
    assert both.se == pytest.approx(math.sqrt(0.0004 + 0.0005) / 2)
    assert both.df == pytest.approx(0.0009**2 / (0.0004**2 / 10 + 0.0005**2 / 5))
    assert mean_of([interval(0.1, 0.0004, 0.0, math.inf)] * 2).df == math.inf


def test_an_interval_on_the_logit_scale_stays_inside() -> None:
    low, high = on_logit(interval(0.99, 0.0001, 0.0, math.inf))
    assert 0 < low < 0.99 < high < 1
    # By hand: logit(0.99) = 4.59512, half-width 1.95996 * 0.01 / 0.0099.
    assert low == pytest.approx(1 / (1 + math.exp(-(4.59512 - 1.97976))), abs=1e-5)
    with pytest.raises(AdbenchError, match="a figure of 1 has no interval"):
        on_logit(interval(1.0, 0.0, 0.0, math.inf))
