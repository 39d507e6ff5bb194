"""Thresholds: what they promise on held-out normals, ties, and where there are too few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench.errors import AdbenchError
from adbench.statistics.patients import group
from adbench.statistics.thresholds import image_threshold, least_normals, pixel_threshold

FINITE = st.floats(-1e6, 1e6, width=32)


@given(st.lists(FINITE, min_size=20, max_size=60), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_it_is_the_lowest_threshold_that_keeps_the_promise(values: list[float], specificity: float) -> None:
    scores = np.array(values, np.float32)
    found = image_threshold(scores, np.arange(len(scores)), specificity)
    assert found.value is not None
    assert found.reached == np.mean(scores < found.value) >= specificity
    lower = np.nextafter(np.float32(found.value), np.float32(-np.inf))
    assert np.mean(scores < lower) < specificity


def test_the_order_of_the_images_does_not_matter() -> None:
    scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
    mixed = np.random.default_rng(1).permutation(50)
    assert image_threshold(scores, np.arange(50)) == image_threshold(scores[mixed], np.arange(50))


def test_by_hand() -> None:
    scores = np.arange(20, dtype=np.float32)  # 19 of 20 must lie below: all up to 18
    found = image_threshold(scores, np.arange(20), 0.95)
    assert found.value == np.nextafter(np.float32(18), np.float32(19))
    assert (found.reached, found.images, found.patients) == (0.95, 20, 20)


@pytest.mark.parametrize("scores", [[0.0] * 30, [0.0] * 10 + [1.0] * 20])
def test_ties_cost_no_specificity(scores: list[float]) -> None:
    found = image_threshold(np.array(scores, np.float32), np.arange(30), 0.9)
    assert found.value == np.nextafter(np.float32(max(scores)), np.float32(2))
    assert found.reached == 1


@pytest.mark.parametrize(
    ("specificity", "least"), [(0.95, 20), (0.9, 10), (0.8, 5), (0.99, 100), (0.5, 2), (2 / 3, 3), (0.975, 40)]
)
def test_how_many_normals_a_specificity_needs(specificity: float, least: int) -> None:
    assert least_normals(specificity) == least


def test_too_few_images_or_patients_are_a_sentence() -> None:
    few = image_threshold(np.zeros(19, np.float32), np.arange(19))
    assert (few.value, few.reached) == (None, None)
    assert few.why == "specificity 0.95 needs at least 20 held-out normal images; there are 19"
    alike = image_threshold(np.arange(100, dtype=np.float32), np.arange(100) % 9)
    assert alike.value is None
    assert alike.why == "a threshold needs held-out normal images of at least 10 patients; there are 9"
    unknown = image_threshold(np.arange(20, dtype=np.float32), group([None] * 20))
    assert unknown.patients == 20
    assert unknown.value is not None


def test_scores_as_large_as_they_can_be_leave_no_threshold() -> None:
    largest = np.full(30, np.finfo(np.float32).max, np.float32)
    assert "as large as scores can be" in image_threshold(largest, np.arange(30)).why


@pytest.mark.parametrize("value", [0, 1, -0.5, 1.5, float("nan"), "0.95"])
def test_a_specificity_is_a_share(value: object) -> None:
    with pytest.raises(AdbenchError, match=r"specificity=.* is not possible: a share between 0 and 1"):
        image_threshold(np.zeros(30, np.float32), np.arange(30), value)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_pixel_threshold_is_the_lowest_edge_that_keeps_the_promise(counts: list[int], specificity: float) -> None:
    upper, pixels = np.arange(1, len(counts) + 1) / 8, np.array(counts)
    found = pixel_threshold(upper, pixels, np.arange(20), specificity)
    below = pixels[upper <= found.value].sum() / pixels.sum()
    assert found.reached == pytest.approx(below, abs=0)
    assert below >= specificity
    assert pixels[upper < found.value].sum() / pixels.sum() < specificity


def test_pixels_are_many_but_their_images_may_be_few() -> None:
    found = pixel_threshold(np.array([1.0]), np.array([57600 * 5]), np.arange(5))
    assert "needs at least 20 held-out normal images; there are 5" in found.why
