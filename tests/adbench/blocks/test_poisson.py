from __future__ import annotations

import numpy as np
import pytest

from adbench.blocks.poisson import seamless

CORNER = np.array([2, 3])


def grey(value: float, *shape: int) -> np.ndarray:
    return np.full((1, *shape), value)


def test_one_pixel_by_hand() -> None:
    image = grey(100, 8, 8).astype(np.uint8)
    piece = grey(50, 3, 3)
    piece[0, 1, 1] = 90
    shape = np.zeros((3, 3), bool)
    shape[1, 1] = True
    out = seamless(image, piece, shape, CORNER)
    assert out[0, 3, 4] == 140  # as much above its neighbours as in the piece
    assert (out != image).sum() == 1


def test_two_pixels_by_hand() -> None:
    image = grey(100, 8, 8).astype(np.uint8)
    piece = grey(0, 3, 4)
    piece[0, 1, 1] = 60
    shape = np.zeros((3, 4), bool)
    shape[1, 1:3] = True
    # 4a - b = 3 * 100 + 4 * 60,  4b - a = 3 * 100 - 60
    a, b = np.linalg.solve([[4, -1], [-1, 4]], [540, 240])
    assert seamless(image, piece, shape, CORNER)[0, 3, 4:6].tolist() == [round(a), round(b)]


def test_only_gradients_are_pasted() -> None:
    g = np.random.default_rng(0)
    image = g.integers(50, 150, (3, 20, 20)).astype(np.uint8)
    shape = np.zeros((9, 9), bool)
    shape[1:8, 1:8] = g.random((7, 7)) > 0.3
    # A piece of the image itself, brighter throughout, changes nothing.
    assert np.array_equal(seamless(image, image[:, 2:11, 3:12] + 40.0, shape, CORNER), image)


@pytest.mark.parametrize("corner", [(0, 0), (0, 11), (11, 11)])
def test_at_the_image_border_the_inner_neighbours_decide(corner: tuple[int, int]) -> None:
    image = grey(80, 20, 20).astype(np.uint8)
    out = seamless(image, grey(200, 9, 9), np.ones((9, 9), bool), np.array(corner))
    assert np.array_equal(out, image)
