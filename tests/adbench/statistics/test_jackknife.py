"""Figures without each patient equal figures computed anew; the covariance of one image a patient is DeLong's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.errors import AdbenchError
from adbench.metrics import Histogram, average_precision, f1_max, roc_auc
from adbench.metrics.per_image import ImageHistograms, from_columns, to_columns
from adbench.metrics.table import combine
from adbench.statistics import (
    auroc_without_each,
    clustered_covariance,
    covariance,
    group,
    image_figures_without_each,
    pixel_figures,
    pixel_figures_without_each,
    without_each,
)

FIGURES = {"image_auroc": roc_auc, "image_ap": average_precision, "image_f1_max": f1_max}


@st.composite
def studies(draw):
    size = draw(st.integers(3, 25))
    scores = draw(st.lists(st.integers(0, 6), min_size=size, max_size=size))  # with ties
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(lambda some: len(set(some)) == 2))
    patients = draw(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=size, max_size=size))
    return np.array(scores, float), np.array(labels), group(patients)


@settings(max_examples=60, deadline=None)
@given(studies())
def test_image_figures_without_each_patient(study) -> None:
    scores, labels, groups = study
    got = image_figures_without_each(scores, labels, groups, tuple(FIGURES))
    for patient in range(groups.max() + 1):
        keep = groups != patient
        for k, figure in enumerate(FIGURES.values()):
            if labels[keep].any() and not labels[keep].all():
                assert got[patient, k] == pytest.approx(figure(scores[keep], labels[keep]), abs=1e-12)
            else:
                assert np.isnan(got[patient, k])


def test_accuracy_without_each_patient_and_its_threshold() -> None:
    scores, labels = np.array([0.1, 0.6, 0.7]), np.array([False, False, True])
    got = image_figures_without_each(scores, labels, group([1, 2, 3]), ("image_accuracy",), 0.5)
    assert got[:, 0].tolist() == [0.5, 1.0, 0.5]
    with pytest.raises(AdbenchError, match="needs a threshold"):
        image_figures_without_each(scores, labels, group([1, 2, 3]), ("image_accuracy",))
    with pytest.raises(AdbenchError, match="image_dice is no image metric"):
        image_figures_without_each(scores, labels, group([1, 2, 3]), ("image_dice",))


def test_one_image_a_patient_is_delong() -> None:
    # DeLong et al. (1988), written out: the covariances of V10 and V01 over m and n.
    rng = np.random.default_rng(0)
    labels = rng.random(60) < 0.4
    scores = rng.normal(size=(3, 60)).round(1) + labels
    psi = lambda x, y: (x[:, None] > y) + (x[:, None] == y) / 2  # noqa: E731
    tables = [psi(row[labels], row[~labels]) for row in scores]
    v10, v01 = np.stack([t.mean(1) for t in tables]), np.stack([t.mean(0) for t in tables])
    expected = np.cov(v10) / labels.sum() + np.cov(v01) / (~labels).sum()
    got = clustered_covariance(scores, labels, np.arange(60))
    assert np.abs(got - expected).max() < 1e-12


def test_unknown_patients_stand_alone() -> None:
    assert group(["p", None, "p", float("nan"), "", "q"]).tolist() == [0, 1, 0, 2, 3, 4]
    with pytest.raises(AdbenchError, match="2 patients are given for 3 images"):
        group(["a", "b"], 3)


def test_a_class_that_one_patient_alone_has() -> None:
    scores, labels, groups = np.arange(4.0), np.array([False, False, True, True]), group(["a", "b", "c", "c"])
    without = auroc_without_each(scores, labels, groups)
    assert np.isnan(without[2])
    with pytest.raises(AdbenchError, match="without patient 2 of 3 the figure does not exist"):
        covariance(without[:, None])
    with pytest.raises(AdbenchError, match="1 patients have an abnormal image and 2 a normal one"):
        clustered_covariance(scores[None], labels, groups)
    with pytest.raises(AdbenchError, match="too few for a jackknife"):
        covariance(np.ones((1, 2)))


def test_constant_scores_and_perfect_ones_have_no_variance() -> None:
    labels, groups = np.array([False] * 6 + [True] * 6), np.arange(12)
    for scores, auroc in ((np.zeros(12), 0.5), (labels.astype(float), 1.0)):
        without = auroc_without_each(scores, labels, groups)
        assert set(without) == {auroc}
        assert covariance(without[:, None]) == 0


def maps(seed: int, images: int = 9, side: int = 24):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(images, side, side)).astype(np.float32)
    masks = np.zeros((images, side, side), bool)
    for i in range(0, images, 2):
        y, x = rng.integers(0, side - 8, 2)
        masks[i, y : y + 5, x : x + 6] = True
        masks[i, 0, 0] = True
    return scores + masks, masks


def collected(scores, masks, batch: int = 4) -> ImageHistograms:
    some = ImageHistograms()
    for first in range(0, len(scores), batch):
        some.update(first, scores[first : first + batch], masks[first : first + batch])
    return some


def test_contributions_add_up_to_the_coarsened_histogram() -> None:
    scores, masks = maps(0)
    whole, hist = collected(scores, masks).total(), Histogram()
    hist.update(scores, masks)
    coarse = combine(whole.shift, hist.table())
    bins, at = np.unique(whole.bin, return_inverse=True)
    assert np.array_equal(bins, coarse.keys >> whole.shift)
    assert len(bins) <= 4096
    assert np.array_equal(np.bincount(at, whole.positive), coarse.positive)
    assert np.array_equal(np.bincount(at, whole.positive + whole.negative), coarse.total)
    assert np.bincount(at, whole.region_weight) == pytest.approx(coarse.weight, abs=1e-9)
    assert whole.regions.sum() == hist.n_regions


def test_batches_processes_and_files_change_nothing() -> None:
    scores, masks = maps(1)
    scores[3] *= 1000  # another range
    whole = collected(scores, masks, 9).total()
    first, second = ImageHistograms(), ImageHistograms()
    second.update(5, scores[5:], masks[5:])
    first.update(0, scores[:5], masks[:5])
    second.merge(first)
    table = to_columns(second.total())
    back = from_columns(table, second.total().shift, len(scores))
    for name in ("image", "bin", "positive", "negative", "region_weight", "regions"):
        assert np.array_equal(getattr(whole, name), getattr(back, name)), name
    assert back.shift == whole.shift
    with pytest.raises(AdbenchError, match="lack bin"):
        from_columns({name: column for name, column in table.items() if name != "bin"}, 0, 9)
    with pytest.raises(AdbenchError, match="the images 0 to 8 of 5"):
        from_columns(table, back.shift, 5)
    with pytest.raises(AdbenchError, match="numbers 0 to 3"):
        late = ImageHistograms()
        late.update(5, scores[5:], masks[5:])
        late.total()


def test_pixel_figures_without_each_patient_equal_recomputing() -> None:
    scores, masks = maps(2)
    groups = group(["a", "a", "b", "c", "b", None, "d", "c", None])
    whole = collected(scores, masks).total()
    got = pixel_figures_without_each(whole, groups)
    edges = (whole.bin.min(), whole.bin.max())
    for patient in range(groups.max() + 1):
        keep = np.flatnonzero(groups != patient)
        rows = np.isin(whole.image, keep)
        part = type(whole)(
            whole.shift, np.searchsorted(keep, whole.image[rows]).astype(np.int32),
            *(getattr(whole, name)[rows] for name in ("bin", "positive", "negative", "region_weight")),
            whole.regions[keep],
        )  # fmt: skip
        assert edges[0] <= part.bin.min() <= part.bin.max() <= edges[1]
        assert got[patient] == pytest.approx(pixel_figures(part), abs=1e-12)


def test_pixel_figures_are_near_the_exact_ones() -> None:
    from adbench.metrics import exact_pixel

    scores, masks = maps(3)
    exact = exact_pixel(scores, masks)
    for name, got in zip(exact, pixel_figures(collected(scores, masks).total(), tuple(exact)), strict=True):
        assert got == pytest.approx(exact[name], abs=0.02 if name == "pixel_aupro_05" else 0.01), name
    assert exact["pixel_aupro_05"] == exact_pixel(scores, masks, limit=0.05)["pixel_aupro"]


def test_pixel_figures_that_do_not_exist() -> None:
    scores, masks = maps(4, images=4)
    masks[2] = False  # image 0 alone has a lesion
    whole = collected(scores, masks).total()
    got = pixel_figures_without_each(whole, group([1, 2, 3, 4]))
    assert np.isnan(got[0]).all()
    assert np.isfinite(got[1:]).all()
    with pytest.raises(AdbenchError, match="3 patients are given for 4 images"):
        pixel_figures_without_each(whole, group([1, 2, 3]))
    with pytest.raises(AdbenchError, match="pixel_dice is no pixel metric"):
        pixel_figures(whole, ("pixel_dice",))


def test_the_general_jackknife() -> None:
    values = np.array([1.0, 2.0, 4.0])
    got = without_each(lambda keep: float(values[keep].sum()), np.array([0, 1, 1]))
    assert got.tolist() == [6.0, 1.0]


def test_a_figure_that_no_patient_changes_has_no_variance_though_it_is_rounded() -> None:
    same = np.full(9, 2 / 3) + np.array([0, 1, -1, 0, 2, 0, 0, 1, 0]) * np.spacing(2 / 3)
    moves = np.linspace(0.6, 0.7, 9)
    found = covariance(np.stack([same, moves], axis=1))
    assert found[0].tolist() == [0, 0]
    assert found[1, 1] == pytest.approx(8 * np.var(moves))
