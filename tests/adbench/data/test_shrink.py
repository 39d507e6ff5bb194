"""Resizing masks: nearest neighbour, but no lesion region is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from adbench.data.shrink import EIGHT, resized, taken


def nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)) > 0


@given(st.integers(1, 700), st.integers(1, 300), st.integers(1, 40))
def test_rows_and_columns_are_those_of_pillow(length: int, size: int, other: int) -> None:
    values = np.random.default_rng(length).integers(0, 256, (other, length), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(values).resize((size, other), Image.Resampling.NEAREST))
    assert np.array_equal(values[:, taken(length, size)], wanted)
    assert np.array_equal(values.T[taken(length, size)], wanted.T)


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)), st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.floats(0, 0.2), st.integers(0, 10**6),
)  # fmt: skip
def test_no_region_is_lost_and_nothing_else_changes(
    shape: tuple[int, int], size: tuple[int, int], density: float, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < density
    small, kept = resized(mask, *size)
    plain = nearest(mask, *size)
    assert small.shape == size
    assert small[plain].all(), "what nearest neighbour takes stays"
    regions, count = ndimage.label(mask, EIGHT)
    rows, columns = taken(shape[0], size[0]), taken(shape[1], size[1])
    seen = set(np.unique(regions[np.ix_(rows, columns)])) - {0}
    assert kept == count - len(seen)
    assert (small & ~plain).sum() <= kept
    if not kept:
        assert np.array_equal(small, plain)
    for region in set(range(1, count + 1)) - seen:
        y, x = np.nonzero(regions == region)
        cells = (2 * y + 1) * size[0] // (2 * shape[0]), (2 * x + 1) * size[1] // (2 * shape[1])
        assert small[cells].any(), "a pixel that covers a part of the region"


def test_a_lost_region_keeps_the_pixel_that_covers_most_of_it() -> None:
    mask = np.zeros((12, 12), bool)
    mask[3, 3:5] = mask[4, 4] = True  # one pixel of it in each of three cells of 4 x 4, of which the last has two
    mask[3, 4], mask[4, 5] = False, True
    small, kept = resized(mask, 3, 3)
    assert (kept, small.astype(int).tolist()) == (1, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    mask = np.zeros((12, 12), bool)
    mask[3, 3] = mask[4, 4] = True  # one pixel in each of two cells: the first in reading order
    assert resized(mask, 3, 3)[0].astype(int).tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_two_regions_in_one_pixel_are_counted_and_share_it() -> None:
    mask = np.zeros((40, 40), bool)
    mask[0, 0] = mask[0, 4] = True
    small, kept = resized(mask, 4, 4)
    assert (kept, small.sum()) == (2, 1)


@pytest.mark.parametrize("shape", [(8, 8), (5, 8), (8, 3)])
def test_enlarging_loses_nothing(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    small, kept = resized(mask, 8, 8)
    assert kept == 0
    assert np.array_equal(small, nearest(mask, 8, 8))


def test_small_lesions_of_a_large_image_are_all_there() -> None:
    mask = np.zeros((1200, 1200), bool)
    spots = [(101, 203), (333, 717), (1198, 2), (500, 500)]
    for y, x in spots:
        mask[y : y + 2, x : x + 2] = True
    small, _ = resized(mask, 240, 240)
    assert ndimage.label(small, EIGHT)[1] == len(spots)
