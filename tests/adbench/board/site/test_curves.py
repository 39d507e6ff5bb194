"""Curves of the site: what they enclose, how they are thinned."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.board.site import curves
from adbench.errors import AdbenchError
from adbench.metrics import Histogram, average_precision, pixel_metrics, roc_auc


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 5000)
    return rng.normal(labels, 1.5).round(2), labels


def test_curves_enclose_the_recorded_figures(scored) -> None:
    counts = curves.of_images(*scored)
    x, y = curves.roc(counts)
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(*scored), abs=1e-12)
    recall, precision = curves.precision_recall(counts)
    steps = np.sum(np.diff(recall, prepend=0) * precision)
    assert steps == pytest.approx(average_precision(*scored), abs=1e-12)


def test_pixel_curves_are_read_from_the_histogram(scored) -> None:
    scores, labels = scored
    hist = Histogram()
    hist.update(scores.astype(np.float32).reshape(50, 100), labels.reshape(50, 100).astype(bool))
    counts = curves.of_pixels(hist.to_arrays())
    assert np.all(np.diff(counts.scores) < 0)
    assert counts.scores[0] == np.float32(scores.max())
    x, y = curves.roc(counts)
    assert np.trapezoid(y, x) == pytest.approx(pixel_metrics(hist)["pixel_auroc"].value, abs=1e-9)


def test_thinning_keeps_ends_and_area(scored) -> None:
    x, y = curves.roc(curves.of_images(*scored))
    fewer_x, fewer_y = curves.thin(x, y, 100)
    assert len(fewer_x) <= 102 < len(x)
    assert (fewer_x[0], fewer_y[0], fewer_x[-1], fewer_y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(fewer_y, fewer_x) == pytest.approx(np.trapezoid(y, x), abs=1e-3)


def test_distributions_are_shares_of_each_class(scored) -> None:
    counts = curves.of_images(*scored)
    edges, normal, abnormal = curves.distribution(counts, bins=20)
    assert normal.sum() == pytest.approx(1)
    assert abnormal.sum() == pytest.approx(1)
    scores, labels = scored
    assert normal == pytest.approx(np.histogram(scores[labels == 0], edges)[0] / (labels == 0).sum())
    narrow, cut_normal, _ = curves.distribution(counts, bins=20, cut=0.05)
    assert narrow[0] > edges[0]
    assert narrow[-1] < edges[-1]
    assert cut_normal.sum() == pytest.approx(1)


def test_one_class_is_refused() -> None:
    with pytest.raises(AdbenchError, match="images"):
        curves.of_images([0.1, 0.2], [0, 0])


def test_one_single_score_can_be_drawn() -> None:
    edges, normal, _ = curves.distribution(curves.of_images([0.5, 0.5], [0, 1]))
    assert edges[0] < 0.5 < edges[-1]
    assert normal.sum() == 1
