"""AUPIMO against thresholds tried one by one, hand-computed cases, and the rule for too few normal pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.errors import AdbenchError, NumericalError
from adbench.metrics import PerImageOverlap, aupimo
from adbench.metrics.overlap import LOOSE, STRICT, too_few


def brute_force(maps: np.ndarray, masks: np.ndarray, normal: np.ndarray, low: float, high: float) -> list[float]:
    """The area under each image's curve, by trying every normal score as the threshold: a step between two of them."""
    scores = np.unique(maps[normal])[::-1]
    rates = [float((maps[normal] >= one).mean(axis=(1, 2)).mean()) for one in scores]  # the mean over normal images
    areas = []
    for own, mask in zip(maps, masks, strict=True):
        if not mask.any():
            areas.append(math.nan)
            continue
        area, before = 0.0, 0.0
        for threshold, rate in zip(scores, rates, strict=True):  # from the highest: pixels above it are abnormal
            recall = float(np.mean(own[mask] > threshold))
            left, right = max(before, low), min(rate, high)
            if right > left:
                area += recall * math.log(right / left)
            before = rate
        areas.append(area / math.log(high / low))
    return areas


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, 1000]), st.sampled_from([(0.02, 0.4), (0.1, 0.3)]))
def test_it_is_the_area_under_the_curve_of_each_image(seed: int, values: int, rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    masks = np.zeros((16, 5, 5), bool)
    masks[11:, :2, :3] = rng.random((5, 2, 3)) < 0.7
    normal = ~masks.any(axis=(1, 2)) & (np.arange(16) < 12)
    maps = (rng.integers(0, values, masks.shape) + masks * rng.integers(0, values, masks.shape)).astype(np.float32)
    if normal.sum() < 10 or normal.sum() * 25 < 10 / rates[0]:
        with pytest.raises(AdbenchError, match="AUPIMO from"):
            aupimo(maps, masks, normal, *rates)
        return
    found = aupimo(maps, masks, normal, *rates)
    np.testing.assert_allclose(found, brute_force(maps, masks, normal, *rates), atol=1e-12)


def normal_maps(images: int = 10) -> np.ndarray:
    """Pixels of 100 x 100 with the scores 0 to 9999, a million of them in 100 images."""
    return np.tile(np.arange(10_000, dtype=np.float32).reshape(1, 100, 100), (images, 1, 1))


def one_more(maps: np.ndarray, scores: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Add an image with one abnormal pixel for each score."""
    masks = np.zeros((len(maps) + 1, 100, 100), bool)
    masks[-1].flat[: len(scores)] = True
    last = np.zeros((1, 100, 100), np.float32)
    last.flat[: len(scores)] = scores
    return np.concatenate([maps, last]), masks


@pytest.mark.parametrize(
    ("score", "area"),
    [
        (10_000.0, 1.0),  # above all normal pixels
        (9999.0, 1.0),  # no higher than 1 in 10,000: found from a rate of 1e-4 on, where the range begins
        (9990.0, 0.5),  # 10 in 10,000, 1e-3, is half way from 1e-4 to 1e-2
        (9901.0, math.log(100 / 99) / math.log(100)),
        (9900.0, 0.0),  # 100 in 10,000: where the range ends
        (0.0, 0.0),
    ],
)
def test_an_abnormal_pixel_counts_from_the_rate_on_at_which_it_is_found(score: float, area: float) -> None:
    found = aupimo(*one_more(normal_maps(), [score]), low=LOOSE[0], high=LOOSE[1])
    assert found[-1] == pytest.approx(area, abs=1e-12)
    assert np.isnan(found[:-1]).all()


def test_an_image_is_the_mean_of_its_abnormal_pixels() -> None:
    found = aupimo(*one_more(normal_maps(), [10_000.0, 9990.0, 0.0, 0.0]), low=1e-4, high=1e-2)
    assert found[-1] == pytest.approx((1 + 0.5) / 4)


def test_equal_scores_are_no_overlap() -> None:
    assert aupimo(*one_more(np.ones((10, 100, 100), np.float32), [1.0]), low=1e-4, high=1e-2)[-1] == 0


@pytest.mark.parametrize("order", [np.arange(40), np.arange(40)[::-1], np.random.default_rng(3).permutation(40)])
def test_batches_processes_and_their_order_change_nothing(order: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adbench.metrics.overlap.SPARE", 8)  # so that what is too low is dropped many times
    rng = np.random.default_rng(5)
    masks = np.zeros((40, 30, 30), bool)
    masks[20:, 4:9, 4:9] = True
    maps = (rng.normal(size=masks.shape) + 2 * masks).astype(np.float32)
    normal = ~masks.any(axis=(1, 2))
    whole = aupimo(maps, masks, low=1e-3, high=1e-2)
    parts = [PerImageOverlap(int(normal.sum()) * 900) for _ in range(2)]
    for number in order:
        one = slice(number, number + 1)
        parts[number % 2].update(int(number), maps[one], masks[one], normal[one])
    parts[0].merge(parts[1])
    assert parts[0].values(1e-3, 1e-2).tobytes() == whole.tobytes()
    assert sum(part.size for part in parts[0].tail) <= int(0.01 * 20 * 900) + 1, "the highest normal pixels alone"
    assert sum(part.size for part in parts[0].above.values()) < 20 * 25, "and abnormal ones that may lie above them"


def test_too_few_normal_pixels_are_refused_with_the_range_that_works() -> None:
    maps, masks = one_more(normal_maps(), [1.0])
    with pytest.raises(AdbenchError, match=r"needs 10 normal images and 1,000,000 .* 10 and 100,000. Use 0.0001 to"):
        aupimo(maps, masks)
    assert np.isfinite(aupimo(maps, masks, low=LOOSE[0], high=LOOSE[1])[-1])
    assert too_few(18, 18 * 240**2, STRICT[0]) == ""
    assert "Use" not in too_few(9, 10**9, STRICT[0]), "another range is of no use with nine images"


def test_what_can_not_be_computed_is_an_error() -> None:
    maps, masks = one_more(normal_maps(), [1.0])
    for low, high in ((0, 0.1), (0.1, 0.1), (0.1, 2)):
        with pytest.raises(AdbenchError, match="false positive rates 0 < low < high <= 1"):
            aupimo(maps, masks, low=low, high=high)
    with pytest.raises(AdbenchError, match="one value for each of 11 images"):
        aupimo(maps, masks, [True])
    with pytest.raises(AdbenchError, match="must be the same"):
        aupimo(maps[:, :4], masks)
    with pytest.raises(NumericalError):
        aupimo(np.where(maps > 5, np.nan, maps), masks)
    collected = PerImageOverlap(10_000, high=0.01)
    with pytest.raises(AdbenchError, match="0 normal pixels were added, not 10,000"):
        collected.values(1e-4, 1e-2)
    with pytest.raises(AdbenchError, match="up to a false positive rate of 0.01, not 0.1"):
        collected.values(1e-4, 0.1)
