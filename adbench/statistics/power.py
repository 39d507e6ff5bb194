"""Power: the difference that a design would detect, and the draws and patients that a difference needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.statistics.mrmc import components, interaction


@dataclass(frozen=True)
class Design:
    """What a comparison of two methods varies by, from r draws and I patients.

    interaction: the variance of method x draw without patients' noise, max(MS(TR) - noise, 0).
    noise: of one figure over patients, variance - cov1 - cov2 + cov3.
    shared: max(cov2 - cov3, 0), the patients' part that no number of draws shrinks.
    """

    interaction: float
    noise: float
    shared: float
    draws: int
    patients: int

    def variance(self, draws: float, patients: float) -> float:
        """Return the variance of a difference with so many draws and patients; infinite numbers are allowed.

        2 / r' (interaction + noise I / I') + 2 shared I / I'.
        """
        shrink = self.patients / patients
        return 2 / draws * (self.interaction + self.noise * shrink) + 2 * self.shared * shrink


def design(figures: NDArray[np.float64], covariance: NDArray[np.float64], patients: int) -> Design:
    """Return the design of a pair: `figures` (2, r), `covariance` (2 r, 2 r) over so many patients."""
    t, r = figures.shape
    part = components(covariance, t, r)
    if r == 1:  # nothing is known about draws: all the noise is the patients'
        return Design(0.0, 0.0, max(part.variance - part.cov1, 0.0), 1, patients)
    noise = max(part.variance - part.cov1 - part.cov2 + part.cov3, 0.0)
    return Design(max(interaction(figures) - noise, 0.0), noise, max(part.cov2 - part.cov3, 0.0), r, patients)


def detectable(variance: float, power: float = 0.8, level: float = 0.95) -> float:
    """Return the smallest true difference that is found with this power; 2.8 standard errors at 80 and 95 %.

    >>> round(detectable(1.0), 4)
    2.8016
    """
    from scipy import stats

    return float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power)) * math.sqrt(variance)


def draws_needed(plan: Design, difference: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Return the draws, with the patients of the design, that show a difference; None where no number would."""
    room = (difference / detectable(1.0, power, level)) ** 2 - 2 * plan.shared
    spread = 2 * (plan.interaction + plan.noise)
    if spread == 0:
        return plan.draws if room >= 0 else None
    return max(2, math.ceil(spread / room - 1e-9)) if room > 0 else None


def patients_needed(plan: Design, difference: float, power: float = 0.8, level: float = 0.95) -> int | None:
    """Return the patients, with the draws of the design, that show a difference; None where no number would.

    By the variance alone: that an interval needs ten patients of each class is not asked here.
    """
    room = (difference / detectable(1.0, power, level)) ** 2 - 2 * plan.interaction / plan.draws
    spread = plan.patients * (2 * plan.noise / plan.draws + 2 * plan.shared)
    if spread == 0:
        return plan.patients if room >= 0 else None
    return math.ceil(spread / room - 1e-9) if room > 0 else None
