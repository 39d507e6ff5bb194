"""The certificate, and that the state depends on the pixels alone: property tests against the sorted pixel list."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adbench.errors import AdbenchError, NumericalError
from adbench.metrics import Histogram, exact_pixel, pixel_auroc, pixel_metrics
from adbench.metrics.keys import to_floats, to_keys

KINDS = {
    "continuous": lambda rng, n: rng.random(n),
    "near 0": lambda rng, n: rng.random(n) ** 20 * 1e-3,
    "near 1": lambda rng, n: 1 - rng.random(n) * 1e-6,
    "narrow": lambda rng, n: 0.5 + 1e-3 * rng.random(n),
    "huge": lambda rng, n: rng.normal(size=n) * 1e30,
    "negative": lambda rng, n: -np.exp(rng.normal(size=n) * 5),
    "mixed sign": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(-2, 3, n) / 4,
    "an atom at 0": lambda rng, n: np.maximum(rng.normal(size=n), 0),
    "both zeros": lambda rng, n: rng.choice([0.0, -0.0, 1e-45, -1e-45], n),
    "constant": lambda rng, n: np.full(n, 0.1),
    "whole range": lambda rng, n: rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-44, 38, n),
}
DTYPES = {
    "float16": lambda x: np.clip(x, -6e4, 6e4).astype(np.float16),
    "bfloat16": lambda x: torch.from_numpy(x).to(torch.bfloat16),
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
}
limits = st.fixed_dictionaries(
    {"max_distinct": st.sampled_from([0, 3, 40, 10**6]), "bins": st.sampled_from([2, 7, 64, 500])}
)


@st.composite
def pixels(draw, dtypes=tuple(DTYPES)):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(1, 1, 7), (3, 4, 5), (6, 9, 8)]))
    scores = KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, int(np.prod(shape))).reshape(shape)
    masks = rng.random(shape) < draw(st.sampled_from([0.05, 0.5, 0.9]))
    if draw(st.booleans()):  # abnormal pixels stand out
        scores = np.where(masks, np.abs(scores), scores)
    assume(masks.any() and not masks.all())
    return DTYPES[draw(st.sampled_from(dtypes))](scores), masks


def histogram(scores, masks, limits, cuts=()):
    hist = Histogram(**limits)
    edges = [0, *sorted(cuts), len(scores)]
    for start, stop in pairwise(edges):
        hist.update(scores[start:stop], masks[start:stop])
    return hist


def assert_same(a, b):
    a, b = a.to_arrays(), b.to_arrays()
    assert list(a) == list(b)
    for name in a:
        if name == "region_weight":
            np.testing.assert_allclose(a[name], b[name], atol=1e-9)
        else:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
            assert a[name].dtype == b[name].dtype


@settings(max_examples=500)
@given(pixels(), limits)
def test_the_certificate_holds(data, limits):
    scores, masks = data
    exact = exact_pixel(scores, masks)
    for name, (value, half_width) in pixel_metrics(histogram(scores, masks, limits)).items():
        assert abs(value - exact[name]) <= half_width + 1e-9, name
        assert 0 <= value <= 1


@settings(max_examples=100)
@given(pixels(dtypes=("float16", "bfloat16", "float32")))
def test_exact_while_scores_are_few(data):
    assert all(half_width == 0 for _, half_width in pixel_metrics(histogram(*data, {})).values())


@settings(max_examples=200)
@given(pixels(), limits, st.lists(st.integers(0, 6), max_size=4))
def test_batches_do_not_matter(data, limits, cuts):
    cuts = [min(cut, len(data[0])) for cut in cuts]
    assert_same(histogram(*data, limits), histogram(*data, limits, cuts))


@settings(max_examples=200)
@given(st.lists(st.tuples(pixels(), limits), min_size=2, max_size=4), st.randoms())
def test_merging_is_like_seeing_everything_in_any_order(parts, random):
    hists = [histogram(*data, limits) for data, limits in parts]
    smallest = {name: min(limits[name] for _, limits in parts) for name in ("max_distinct", "bins")}
    whole = Histogram(**smallest)
    for (scores, masks), _ in parts:
        whole.update(scores, masks)
    before = [hist.to_arrays() for hist in hists]
    assert_same(reduce(Histogram.merge, hists), whole)
    assert_same(hists[0].merge(reduce(Histogram.merge, hists[1:])), whole)
    shuffled = hists.copy()
    random.shuffle(shuffled)
    assert_same(reduce(Histogram.merge, shuffled), whole)
    for hist, arrays in zip(hists, before, strict=True):  # merging changed none of them
        for name in arrays:
            np.testing.assert_array_equal(hist.to_arrays()[name], arrays[name])


@settings(max_examples=100)
@given(pixels(), pixels(), limits)
def test_stored_and_read_back(data, more, limits):
    hist = histogram(*data, limits)
    again = Histogram.from_arrays(hist.to_arrays(), **limits)
    assert_same(hist, again)
    assert pixel_metrics(hist) == pixel_metrics(again)
    for one in (hist, again):  # and it goes on as before
        one.update(*more)
    assert_same(hist, again)


@settings(max_examples=100)
@given(pixels(dtypes=("float32",)), limits)
def test_doubling_every_score_changes_nothing(data, limits):
    scores, masks = data
    assume(np.abs(scores).max() < 1e37 and np.abs(scores[scores != 0]).min(initial=1) > 1e-37)
    plain, doubled = (pixel_metrics(histogram(s, masks, {})) for s in (scores, scores * np.float32(2)))
    assert plain == doubled
    exact = exact_pixel(scores, masks)
    for name, (value, half_width) in pixel_metrics(histogram(scores * np.float32(2), masks, limits)).items():
        assert abs(value - exact[name]) <= half_width + 1e-9


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_keys_keep_the_order_and_come_back(values):
    values = np.array(values, np.float32)
    keys = to_keys(values)
    np.testing.assert_array_equal(to_floats(keys), values)
    np.testing.assert_array_equal(keys[:, None] < keys, values[:, None] < values)


def test_edges_beyond_the_finite_numbers_are_the_last_finite_ones():
    assert to_floats(np.array([-(2**31), 2**31 - 1])).tolist() == [np.finfo("f").min, np.finfo("f").max]


def test_lowest_scores_fit_the_widest_window():
    lowest = np.full((1, 1, 2), np.finfo("f").min)
    hist = histogram(lowest, np.array([[[0, 1]]]), {"max_distinct": 0, "bins": 2**24})
    assert pixel_auroc(hist) == (0.5, 0)


@pytest.mark.parametrize("limits", [{}, {"max_distinct": 0, "bins": 4}])
def test_constant_scores(limits):
    masks = np.arange(12).reshape(1, 3, 4) % 3 == 0
    hist = histogram(np.full((1, 3, 4), 0.1, np.float32), masks, limits)
    assert pixel_auroc(hist) == (0.5, 0)


def test_an_atom_stays_exact_in_a_full_window():
    # half of all pixels are exactly 0, beside bins far too wide for the rest: the tie is known to be one
    rng = np.random.default_rng(0)
    scores = np.maximum(rng.normal(size=(4, 50, 50)), 0).astype(np.float32)
    masks = rng.random(scores.shape) < 0.5
    hist = histogram(scores, masks, {"max_distinct": 10, "bins": 4096})
    arrays = hist.to_arrays()
    assert arrays["shift"] > 0
    assert not arrays["mixed"][0]
    assert arrays["positive"][0] + arrays["negative"][0] == (scores == 0).sum()
    tie_alone = arrays["positive"][0] * arrays["negative"][0] / 2 / (hist.n_positive * hist.n_negative)
    assert pixel_auroc(hist).half_width < tie_alone / 50


def test_doubles_that_float32_cannot_tell_apart():
    scores = np.array([[[1.0, 1.0 + 1e-12]]])
    value, half_width = pixel_auroc(histogram(scores, np.array([[[0, 1]]]), {}))
    assert (value, half_width) == (0.5, pytest.approx(0.5))
    far = np.array([[[1e300, 1e301, -1e300, 1e-300]]])
    assert pixel_auroc(histogram(far, np.array([[[0, 1, 0, 0]]]), {})).half_width > 0


def test_integer_scores():
    scores = np.array([[[0, 255, 3, 7]]], np.uint8)
    assert pixel_auroc(histogram(scores, np.array([[[0, 1, 0, 1]]]), {})) == (1, 0)
    big = np.array([[[2**24, 2**24 + 1]]])  # the same float32
    assert pixel_auroc(histogram(big, np.array([[[0, 1]]]), {})).half_width > 0


def test_memory_is_bounded_and_the_window_follows_the_scores():
    rng = np.random.default_rng(0)
    hist = Histogram(max_distinct=100, bins=1024)
    shifts = []
    for scale in (1.0, 1e-3, 1e-9, 1e9, -1e9):
        hist.update((rng.random((2, 64, 64)) * scale).astype(np.float32), rng.random((2, 64, 64)) < 0.1)
        shifts.append(int(hist.to_arrays()["shift"]))
        assert hist.nbytes == 1024 * 29
    assert shifts == sorted(shifts)
    assert len(set(shifts)) >= 4
    assert hist.n_positive + hist.n_negative == 5 * 2 * 64 * 64
    assert Histogram().nbytes == 0


def test_half_width_shrinks_with_more_bins():
    rng = np.random.default_rng(0)
    scores, masks = rng.random((4, 64, 64), np.float32), rng.random((4, 64, 64)) < 0.2
    widths = [
        [e.half_width for e in pixel_metrics(histogram(scores, masks, {"max_distinct": 9, "bins": b})).values()]
        for b in (64, 1024, 16384)
    ]
    assert all(a > 4 * b > 16 * c for a, b, c in zip(*widths, strict=True))


@pytest.mark.parametrize("limits", [{}, {"max_distinct": 0, "bins": 4}])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite_and_nothing_added(limits, bad, dtype):
    hist = histogram(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4)), limits)
    scores = np.zeros((5, 3, 4), dtype)
    scores[3, 1, 2] = scores[4, 0, 0] = bad
    with pytest.raises(NumericalError, match=r"2 of 60 values .* index \(3, 1, 2\)"):
        hist.update(scores, np.zeros((5, 3, 4)))
    assert hist.n_negative == 24


@pytest.mark.parametrize(
    ("scores", "masks", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"\(2, 3\) and masks \(3, 2\)"),
        (np.zeros(3), np.zeros(3), r"\(3,\)"),
        (np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 2, 2)), r"\(1, 1, 2, 2\)"),
        (np.zeros((2, 2)), np.full((2, 2), 255), "0 or 1, got 255"),
        (np.zeros((2, 2), complex), np.zeros((2, 2)), "real numbers"),
    ],
)
def test_wrong_input(scores, masks, message):
    with pytest.raises(AdbenchError, match=message):
        Histogram().update(scores, masks)


def test_wrong_limits_and_columns():
    for bins in (1, 2**24 + 1):
        with pytest.raises(AdbenchError, match="bins from 2 to 16777216"):
            Histogram(bins=bins)
    arrays = Histogram().to_arrays()
    del arrays["mixed"], arrays["shift"]
    with pytest.raises(AdbenchError, match="lacks shift, mixed"):
        Histogram.from_arrays(arrays)


def test_empty_updates_and_merges():
    hist = Histogram()
    hist.update(np.zeros((0, 4, 4)), np.zeros((0, 4, 4)))
    assert_same(hist.merge(Histogram()), Histogram())
    one = histogram(np.eye(3)[None], np.eye(3)[None], {})
    assert_same(one.merge(hist), one)
    assert_same(hist.merge(one), one)
    assert_same(Histogram.from_arrays(hist.to_arrays()), hist)
