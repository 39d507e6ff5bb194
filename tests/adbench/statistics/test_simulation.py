"""Two equally good methods are called different as seldom as the level says, with few draws and clustered images."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.statistics import auroc_without_each, compare_pair, covariance, placements

# Patients, images of each, draws, standard deviation of the draw effect.
DESIGNS = [
    (60, 8, 3, 0.05), (60, 8, 3, 0.3), (60, 8, 5, 0.05), (60, 8, 5, 0.3), (60, 8, 10, 0.3), (23, 12, 3, 0.1),
    (23, 12, 5, 0.3),
]  # fmt: skip
REPETITIONS = 600


def study(rng: np.random.Generator, patients: int, each: int, draws: int, spread: float):
    """Return scores (2, draws, images) of equal methods, labels, and patients; None with too few of a class.

    60 % of the patients are ill, half of their images abnormal. A score is its signal, a patient effect and an image
    effect that methods share, and effects of the method and the draw on the patient; draws change the signal, half of
    the change for both methods alike.
    """
    owner = np.repeat(np.arange(patients), each)
    labels = (rng.random(patients) < 0.6)[owner] & (rng.random(len(owner)) < 0.5)
    if min(labels.sum(), (~labels).sum()) < 5:
        return None
    shared = rng.normal(size=patients)[owner] * np.sqrt(0.6) + rng.normal(size=len(owner)) * np.sqrt(0.4)
    common = rng.normal(size=draws) * spread * np.sqrt(0.5)
    signal = 1 + common + rng.normal(size=(2, draws)) * spread * np.sqrt(0.5)
    own = 0.5 * rng.normal(size=(2, 1, patients)) + 0.3 * rng.normal(size=(2, draws, patients))
    noise = 0.5 * rng.normal(size=(2, draws, len(owner)))
    return signal[..., None] * labels + shared + own[..., owner] + noise, labels, owner


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("plan", DESIGNS, ids=str)
def test_five_percent_are_about_five_percent(plan) -> None:
    rng = np.random.default_rng([11, DESIGNS.index(plan)])
    rejected = done = 0
    while done < REPETITIONS:
        drawn = study(rng, *plan)
        if drawn is None:
            continue
        scores, labels, owner = drawn
        flat = scores.reshape(-1, scores.shape[-1])
        figures = np.array([placements(row, labels)[labels].mean() for row in flat]).reshape(scores.shape[:2])
        without = np.stack([auroc_without_each(row, labels, owner) for row in flat], axis=1)
        rejected += compare_pair(figures, covariance(without)).p < 0.05
        done += 1
    assert 0.02 <= rejected / REPETITIONS <= 0.09, f"{100 * rejected / REPETITIONS:.1f} %"
