"""Multi-reader multi-case analysis: methods compared over random draws (readers) and random patients (cases).

`figures` is (t, r): the metric of each of t methods on each of r draws, the same draws for all methods. `covariance` is
that of the t r figures over patients, in the order of `figures.ravel()`.

Model: figure = mean + method + draw + method x draw + error; the errors have a variance and three covariances.
Sources: Obuchowski & Rockette, Commun. Stat. Simul. 24:285 (1995); Hillis, Stat. Med. 26:596 (2007); Hillis, Berbaum &
Metz, Acad. Radiol. 15:647 (2008).

>>> from adbench.statistics import auroc_without_each, covariance, placements
>>> from adbench.statistics.example import van_dyke
>>> ratings, ill = van_dyke()  # 2 modalities, 5 readers, 114 patients
>>> flat, patients = ratings.reshape(10, 114), np.arange(114)
>>> figures = np.array([placements(row, ill)[ill].mean() for row in flat]).reshape(2, 5)  # AUROC
>>> over = covariance(np.stack([auroc_without_each(row, ill, patients) for row in flat], axis=1))
>>> difference = compare_pair(figures, over)
>>> f"{difference.estimate:.7f} ± {difference.se:.8f}, df {difference.df:.5f}, p {difference.p:.8f}"
'-0.0438003 ± 0.02074862, df 15.25967, p 0.05166569'
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.jackknife import ROUNDING

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Variance components of the figures over patients.

    variance: of one figure. cov1: same draw, another method. cov2: same method, another draw. cov3: both other.
    A covariance that the design does not have (one method, one draw) is NaN.
    """

    variance: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its standard error and interval; `df` is infinite where the normal distribution applies.

    p: of the hypothesis that the true value is 0.
    patients, draws: the two parts of the squared standard error: what more draws, and what more patients, can't shrink.
    """

    estimate: float
    se: float
    df: float
    low: float
    high: float
    p: float
    patients: float
    draws: float


@dataclass(frozen=True)
class FTest:
    """The test that all methods are equal."""

    f: float
    df1: float
    df2: float
    p: float


def components(covariance: Floats, t: int, r: int) -> Components:
    """Average the entries of a (t r, t r) covariance matrix by kind."""
    matrix = np.asarray(covariance, float).reshape(t, r, t, r)
    method, draw = np.eye(t, dtype=bool)[:, None, :, None], np.eye(r, dtype=bool)[None, :, None, :]
    method, draw = np.broadcast_to(method, matrix.shape), np.broadcast_to(draw, matrix.shape)

    def mean(where: NDArray[np.bool_]) -> float:
        return float(matrix[where].mean()) if where.any() else math.nan

    return Components(mean(method & draw), mean(~method & draw), mean(method & ~draw), mean(~method & ~draw))


def interaction(figures: Floats) -> float:
    """MS(TR): the mean square of method x draw, (t - 1)(r - 1) degrees of freedom."""
    t, r = figures.shape
    left = figures - figures.mean(axis=1, keepdims=True) - figures.mean(axis=0) + figures.mean()
    if np.abs(left).max() <= ROUNDING * np.abs(figures).max():
        return 0.0
    return float((left**2).sum() / ((t - 1) * (r - 1)))


def f_test(figures: Floats, covariance: Floats) -> FTest:
    """Test whether all methods are equal in draws and patients like these; needs two methods and two draws.

    Raises AdbenchError for fewer, and where neither draws nor patients vary.
    """
    from scipy import stats  # half a second, which a run that reads no board is spared

    t, r = figures.shape
    if t < 2 or r < 2:
        raise AdbenchError(f"{t} methods and {r} draws: the test of all methods needs two of each.")
    part = components(covariance, t, r)
    ms_t = float(r / (t - 1) * ((figures.mean(axis=1) - figures.mean()) ** 2).sum())
    ms_tr = interaction(figures)
    spread = ms_tr + max(r * (part.cov2 - part.cov3), 0.0)
    if spread <= 0:
        raise AdbenchError("neither draws nor patients make these figures vary, so no test is possible.")
    df2 = _hillis(spread, ms_tr, (t - 1) * (r - 1))
    f = ms_t / spread
    p = stats.f.sf(f, t - 1, df2) if math.isfinite(df2) else stats.chi2.sf(f * (t - 1), t - 1)
    return FTest(f, t - 1, df2, float(p))


def compare_pair(figures: Floats, covariance: Floats, level: float = 0.95) -> Interval:
    """Return the difference of two methods, first minus second, with its interval for new draws and new patients.

    With one draw the interval is for this draw and new patients. A method without draws (zero-shot) has the same figure
    in every draw; two such methods are compared as with one draw.

    figures: (2, r); covariance: (2 r, 2 r), of the pair alone.
    Raises AdbenchError for another number of methods.
    """
    t, r = figures.shape
    if t != 2:
        raise AdbenchError(f"{t} methods are given; a pair is needed.")
    estimate = float(figures[0].mean() - figures[1].mean())
    part = components(covariance, t, r)
    if r == 1:
        return interval(estimate, max(2 * (part.variance - part.cov1), 0.0), 0.0, math.inf, level)
    ms_tr = interaction(figures)
    patients = max(r * (part.cov2 - part.cov3), 0.0)
    df = _hillis(ms_tr + patients, ms_tr, r - 1)
    return interval(estimate, 2 * patients / r, 2 * ms_tr / r, df, level)


def single(figures: Floats, covariance: Floats, level: float = 0.95) -> Interval:
    """Return one method's mean over draws with its interval for new draws and new patients.

    figures: (r,); covariance: (r, r). With one draw the interval is for this draw and new patients.
    """
    r = len(figures)
    part = components(covariance, 1, r)
    if r == 1:
        return interval(float(figures[0]), max(part.variance, 0.0), 0.0, math.inf, level)
    spread = float(np.ptp(figures)) > ROUNDING * float(np.abs(figures).max())
    ms_r, patients = float(figures.var(ddof=1)) if spread else 0.0, max(part.cov2, 0.0)
    df = _hillis(ms_r + r * patients, ms_r, r - 1)
    return interval(float(figures.mean()), patients, ms_r / r, df, level)


def interval(estimate: float, patients: float, draws: float, df: float, level: float = 0.95) -> Interval:
    """Return an interval from the two parts of the variance and the degrees of freedom.

    Without any variance the interval is the estimate, and p is 1 for an estimate of 0 and NaN otherwise: identical
    figures are equal, and different ones that nothing makes vary can't be tested.
    """
    from scipy import stats

    se = math.sqrt(patients + draws)
    half = float(quantile(level, df)) * se
    if se > 0:
        p = float(2 * (stats.t.sf(abs(estimate) / se, df) if math.isfinite(df) else stats.norm.sf(abs(estimate) / se)))
    else:
        p = 1.0 if estimate == 0 else math.nan
    return Interval(estimate, se, df, estimate - half, estimate + half, p, patients, draws)


def quantile(level: float, df: float) -> float:
    """Return the two-sided quantile of t, or of the normal distribution for infinite degrees of freedom."""
    from scipy import stats

    tail = (1 + level) / 2
    return float(stats.t.ppf(tail, df) if math.isfinite(df) else stats.norm.ppf(tail))


def mean_of(intervals: list[Interval], level: float = 0.95) -> Interval:
    """Return the mean over datasets, which are fixed and whose patients are independent; Satterthwaite's df."""
    g = len(intervals)
    variances = [one.se**2 for one in intervals]
    below = sum(v**2 / one.df for v, one in zip(variances, intervals, strict=True))
    df = sum(variances) ** 2 / below if below > 0 else math.inf
    patients, draws = sum(one.patients for one in intervals) / g**2, sum(one.draws for one in intervals) / g**2
    return interval(sum(one.estimate for one in intervals) / g, patients, draws, df, level)


def on_logit(one: Interval, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of a figure between 0 and 1, taken on the logit scale; it never leaves (0, 1).

    Raises AdbenchError for an estimate of 0 or 1, which has no logit.
    """
    if not 0 < one.estimate < 1:
        raise AdbenchError(f"a figure of {one.estimate:g} has no interval: no patient contradicts it.")
    from scipy.special import expit, logit

    half = quantile(level, one.df) * one.se / (one.estimate * (1 - one.estimate))
    return float(expit(logit(one.estimate) - half)), float(expit(logit(one.estimate) + half))


def _hillis(total: float, ms: float, df: float) -> float:
    return df * total**2 / ms**2 if ms > 0 else math.inf
