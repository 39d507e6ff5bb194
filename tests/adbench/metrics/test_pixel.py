"""Formulas by hand, and against implementations that share no code with ours."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from adbench.errors import AdbenchError
from adbench.metrics import (
    Histogram,
    exact_pixel,
    pixel_ap,
    pixel_aupro,
    pixel_auroc,
    pixel_f1_max,
    pixel_metrics,
    pixel_operating_point,
)


def histogram(scores, masks, **limits):
    hist = Histogram(**limits)
    hist.update(np.asarray(scores, np.float32), masks)
    return hist


def flood(mask):
    """8-connected regions as lists of pixels, by a plain search."""
    todo, regions = {(int(i), int(j)) for i, j in np.argwhere(mask)}, []
    while todo:
        stack, region = [todo.pop()], []
        while stack:
            i, j = stack.pop()
            region.append((i, j))
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & todo
            todo -= near
            stack += near
        regions.append(region)
    return regions


def brute_force_aupro(scores, masks, limit):
    regions = [(k, region) for k, mask in enumerate(masks) for region in flood(mask)]
    points = [(0.0, 0.0)]
    for t in sorted(set(scores.ravel().tolist()), reverse=True):
        overlap = np.mean([np.mean([scores[k][pixel] >= t for pixel in region]) for k, region in regions])
        points.append((float(np.mean(scores[~masks] >= t)), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


def smooth(rng, n=4, size=24, levels=None):
    masks = np.zeros((n, size, size), bool)
    for mask in masks[1:]:
        for _ in range(3):
            i, j = rng.integers(0, size - 6, 2)
            mask[i : i + rng.integers(1, 6), j : j + rng.integers(1, 6)] = True
    scores = rng.random((n, size, size)) + 0.4 * masks
    return (np.round(scores * levels) / levels if levels else scores).astype(np.float32) / 2, masks


def test_by_hand():
    # from the top, (abnormal, normal): (1, 0), (1, 1), (0, 1), (1, 0), (0, 1); regions of area 2 and 1
    scores = [[[0.9, 0.7, 0.5], [0.1, 0.2, 0.7]]]
    masks = [[[1, 1, 0], [0, 0, 0]]]
    masks = np.array(masks, bool)
    masks[0, 1, 1] = False
    hist = histogram(scores, masks)
    assert pixel_auroc(hist) == (pytest.approx((4 + 3.5) / 8), 0)
    assert pixel_ap(hist) == (pytest.approx(0.5 + 0.5 * 2 / 3), 0)
    assert pixel_f1_max(hist) == (pytest.approx(4 / 5), 0)
    # one region, up to FPR 0.25 a line from 0.5 to 1, then 1
    assert pixel_aupro(hist, 0.5) == (pytest.approx((0.25 * 0.75 + 0.25) / 0.5), 0)
    assert pixel_aupro(hist, 0.125) == (pytest.approx((0.5 + 0.75) / 2), 0)


def test_regions_of_different_size_weigh_the_same():
    masks = np.zeros((1, 4, 9), bool)
    masks[0, :, :3] = True
    masks[0, 0, 8] = True
    found_large, found_small = np.where(masks, -1.0, 0.0), np.where(masks, -1.0, 0.0)
    found_large[0, :, :3] = found_small[0, 0, 8] = 1
    assert pixel_aupro(histogram(found_large, masks)).value == pytest.approx(0.5 * 1)
    assert pixel_aupro(histogram(found_small, masks)).value == pytest.approx(0.5 * 1)
    assert histogram(found_small, masks).n_regions == 2


def test_diagonal_pixels_are_one_region_and_images_do_not_touch():
    masks = np.zeros((2, 3, 3), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 1, 1] = masks[1, 1, 2] = True
    assert histogram(np.zeros((2, 3, 3)), masks).n_regions == 2


def test_given_regions_replace_the_components():
    masks = np.array([[1, 1, 1, 0]], bool)
    hist = Histogram()
    hist.update(np.array([[3, 1, 1, 2]], np.float32), masks, regions=np.array([[7, 2, 2, 0]]))
    assert hist.n_regions == 2
    assert pixel_aupro(hist).value == pytest.approx(0.5)
    with pytest.raises(AdbenchError, match="positive where the mask"):
        hist.update(np.zeros((1, 4), np.float32), masks, regions=np.array([[7, 2, 0, 0]]))
    with pytest.raises(AdbenchError, match="integer"):
        hist.update(np.zeros((1, 4), np.float32), masks, regions=np.ones((1, 4)))


@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_against_brute_force(levels, limit):
    for seed in range(5):
        scores, masks = smooth(np.random.default_rng(seed), levels=levels)
        expected = brute_force_aupro(scores, masks, limit)
        assert pixel_aupro(histogram(scores, masks), limit) == (pytest.approx(expected, abs=1e-10), 0)
        assert exact_pixel(scores, masks, limit)["pixel_aupro"] == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("levels", [None, 5])
def test_against_scikit_learn_and_torchmetrics(levels):
    scores, masks = smooth(np.random.default_rng(0), levels=levels)
    hist = histogram(scores, masks)
    flat, truth = scores.ravel(), masks.ravel()
    assert pixel_auroc(hist) == (pytest.approx(roc_auc_score(truth, flat), abs=1e-12), 0)
    assert pixel_ap(hist) == (pytest.approx(average_precision_score(truth, flat), abs=1e-12), 0)
    as_torch = torch.from_numpy(flat), torch.from_numpy(truth).int()
    assert pixel_auroc(hist).value == pytest.approx(float(binary_auroc(*as_torch)), abs=1e-5)
    assert pixel_ap(hist).value == pytest.approx(float(binary_average_precision(*as_torch)), abs=1e-5)


def test_scores_outside_0_1_change_torchmetrics_but_not_us():
    scores, masks = smooth(np.random.default_rng(0))
    large = scores * 64  # exact, keeps the order
    theirs = [
        float(binary_auroc(torch.from_numpy(s.ravel()), torch.from_numpy(masks.ravel()).int())) for s in (scores, large)
    ]
    assert abs(theirs[0] - theirs[1]) > 0.01
    assert pixel_metrics(histogram(scores, masks)) == pixel_metrics(histogram(large, masks))


def test_operating_point():
    # from the top, (abnormal, normal): (1, 0), (1, 1), (0, 1), (1, 0), (0, 2)
    hist = histogram([[4, 3, 3, 2, 1, 0, 0]], [[1, 1, 0, 0, 1, 0, 0]])
    for specificity, threshold, sensitivity, actual in [
        (1.0, 4, 1 / 3, 1),
        (0.75, 3, 2 / 3, 0.75),
        (0.7, 3, 2 / 3, 0.75),
        (0.5, 1, 1, 0.5),
        (0.0, 0, 1, 0),
    ]:
        point = pixel_operating_point(hist, specificity)
        assert (point.threshold, point.specificity) == (threshold, actual)
        assert point.sensitivity == (pytest.approx(sensitivity), 0)
    nowhere = pixel_operating_point(histogram([[2, 1]], [[0, 1]]), 0.95)
    assert nowhere == (np.inf, (0, 0), 1)
    with pytest.raises(AdbenchError, match="specificity"):
        pixel_operating_point(hist, 95)


@pytest.mark.parametrize("limits", [{}, {"max_distinct": 4, "bins": 16}])
def test_the_threshold_gives_the_promised_rates(limits):
    scores, masks = smooth(np.random.default_rng(1))
    for wanted in (0.5, 0.9, 0.95):
        point = pixel_operating_point(histogram(scores, masks, **limits), wanted)
        called = scores >= point.threshold
        assert np.mean(~called[~masks]) == pytest.approx(point.specificity)
        assert point.specificity >= wanted
        own = point.sensitivity.value - point.sensitivity.half_width
        assert np.mean(called[masks]) == pytest.approx(own, abs=1e-9)
        allowed = np.quantile(scores[~masks], wanted, method="higher")
        assert np.mean(scores[masks] > allowed) <= point.sensitivity.value + point.sensitivity.half_width + 1e-9


@pytest.mark.parametrize("metric", [pixel_auroc, pixel_ap, pixel_f1_max, pixel_aupro, pixel_operating_point])
@pytest.mark.parametrize(("mask", "counts"), [(0, "0 abnormal and 4 normal"), (1, "4 abnormal and 0 normal")])
def test_one_class_missing(metric, mask, counts):
    with pytest.raises(AdbenchError, match=f"{metric.__name__} needs .*{counts}.*masks"):
        metric(histogram(np.zeros((2, 2)), np.full((2, 2), mask)))


def test_no_pixel_at_all():
    with pytest.raises(AdbenchError, match="0 abnormal and 0 normal"):
        pixel_metrics(Histogram())


@pytest.mark.parametrize("limit", [0, -0.1, 1.1])
def test_aupro_limit(limit):
    with pytest.raises(AdbenchError, match="limit"):
        pixel_aupro(histogram([[0, 1]], [[0, 1]]), limit)
