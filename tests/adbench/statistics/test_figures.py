"""Shares, predictive values and Dice: by hand, against the plain jackknife, and where there is no interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.errors import AdbenchError
from adbench.metrics import Estimate
from adbench.statistics.figures import dice, pixel_share, predictive_values, share
from adbench.statistics.jackknife import covariance, without_each
from adbench.statistics.mrmc import interval, on_logit

Z = 1.959963984540054


def test_one_image_a_patient_gives_the_interval_of_a_proportion_on_the_logit_scale() -> None:
    hits = np.arange(50) % 5 > 0  # 40 of 50
    found = share(hits, np.arange(50))
    half = Z * math.sqrt(1 / (49 * 0.8 * 0.2))  # the jackknife variance of a mean is s² / n
    centre = math.log(4)
    assert found.value == 0.8
    assert found.low == pytest.approx(1 / (1 + math.exp(half - centre)), abs=1e-12)
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - centre)), abs=1e-12)


def test_images_of_a_patient_count_together() -> None:
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(20), 6)
    hits = np.repeat(rng.random(20) < 0.7, 6)  # the images of a patient say the same
    found = share(hits, owner)
    without = without_each(lambda keep: float(hits[keep].mean()), owner)
    expected = on_logit(interval(float(hits.mean()), float(covariance(without[:, None])[0, 0]), 0.0, math.inf))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    alone = share(hits, np.arange(120))
    assert found.high - found.low > 2 * (alone.high - alone.low)
    assert found.patients == 20


def test_a_patient_without_such_an_image_does_not_come_in() -> None:
    hits, owner = np.arange(12) % 3 > 0, np.arange(12) * 5 + 2  # numbers with gaps, as those of one class have
    assert share(hits, owner) == share(hits, np.arange(12))


@pytest.mark.parametrize(
    ("hits", "why"),
    [
        (np.ones(30, bool), "no interval: no patient contradicts 1"),
        (np.zeros(30, bool), "no interval: no patient contradicts 0"),
        (np.arange(9) > 3, "9 patients are too few for an interval; 10 are needed"),
        (np.ones(1, bool), "1 patient is too few for an interval; 10 are needed"),
    ],
)
def test_no_interval_is_a_sentence(hits: np.ndarray, why: str) -> None:
    found = share(hits, np.arange(len(hits)))
    assert found.value == hits.mean()
    assert (found.low, found.high, found.why) == (None, None, why)


def test_no_image_gives_no_figure() -> None:
    found = share(np.empty(0, bool), np.empty(0, np.intp))
    assert (found.value, found.why) == (None, "it does not exist on these images")


def test_predictive_values_by_hand_and_by_the_plain_jackknife() -> None:
    # 20 abnormal images, 16 called; 20 normal ones, 2 called: Se 0.8, Sp 0.9
    labels = np.arange(40) < 20
    called = np.where(labels, np.arange(40) >= 4, np.arange(40) >= 38)
    owner = np.arange(40) // 2
    ppv, npv = predictive_values(called, labels, owner, prevalence=0.1)
    assert ppv.value == pytest.approx(0.08 / (0.08 + 0.09), abs=1e-15)
    assert npv.value == pytest.approx(0.81 / (0.81 + 0.02), abs=1e-15)

    def of(keep: np.ndarray) -> float:
        se, sp = called[keep & labels].mean(), 1 - called[keep & ~labels].mean()
        return float(se * 0.1 / (se * 0.1 + (1 - sp) * 0.9))

    spread = float(covariance(without_each(of, owner)[:, None])[0, 0])
    expected = on_logit(interval(ppv.value, spread, 0.0, math.inf))
    assert (ppv.low, ppv.high) == pytest.approx(expected, abs=1e-12)


def test_without_a_called_image_there_is_no_ppv() -> None:
    labels = np.arange(40) < 20
    ppv, npv = predictive_values(np.zeros(40, bool), labels, np.arange(40), prevalence=0.3)
    assert (ppv.value, ppv.why) == (None, "it does not exist on these images")
    assert npv.value == pytest.approx(0.7, abs=1e-15)


def test_predictive_values_need_patients_of_both_classes_for_an_interval() -> None:
    labels = np.arange(40) < 5
    ppv, _ = predictive_values(np.arange(40) % 2 == 0, labels, np.arange(40), prevalence=0.3)
    assert ppv.low is None
    assert ppv.why == "no interval: a class has 5 patients, and 10 are needed"
    with pytest.raises(AdbenchError, match="prevalence=0 is not possible"):
        predictive_values(labels, labels, np.arange(40), prevalence=0)


def test_dice_by_hand_and_with_a_finer_figure() -> None:
    tp, fp, positive = np.full(12, 6.0), np.full(12, 2.0), np.full(12, 8.0)
    tp[0] = 2.0
    found = dice(tp, fp, positive)
    assert found.value == pytest.approx(2 * 68 / (96 + 68 + 24), abs=1e-15)
    assert found.low < found.value < found.high
    finer = dice(tp, fp, positive, Estimate(0.7, 0.01))
    assert (finer.value, finer.half_width) == (0.7, 0.01)


def test_a_share_of_pixels_leaves_patients_without_such_a_pixel_out() -> None:
    hits, pixels = np.array([3.0, 0.0, *np.ones(9)]), np.array([4.0, 0.0, *np.full(9, 2.0)])
    found = pixel_share(hits, pixels)
    assert found.value == pytest.approx(12 / 22, abs=1e-15)
    assert found.patients == 10
