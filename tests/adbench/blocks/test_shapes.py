from __future__ import annotations

import math

import numpy as np
import pytest

from adbench.blocks.shapes import Convex, any_convex, any_noise, gradient_noise

I = np.eye(2)  # noqa: E741


def test_gradient_noise_by_hand() -> None:
    # The gradients of the first row of corners point down, those of the second up: at the centre, half a cell away
    # from all of them, each product is 1/2.
    angles = np.array([[0.0, 0.0], [math.pi, math.pi]])
    noise = gradient_noise(angles, 0.0, (8, 6))
    assert noise[4, 3] == pytest.approx(math.sqrt(2) / 2)
    assert noise[0, 0] == 0
    # A quarter down: v (1 - f) + (1 - v) f with f = fade(1/4), whatever the column
    f = 6 / 4**5 - 15 / 4**4 + 10 / 4**3
    assert noise[2] == pytest.approx(np.full(6, math.sqrt(2) * (0.25 * (1 - f) + 0.75 * f)))


def test_turned_noise_is_zero_outside_its_cell() -> None:
    angles = np.array([[0.0, 0.0], [math.pi, math.pi]])
    turned = gradient_noise(angles, math.pi / 4, (40, 40))
    assert (turned[[0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    assert turned[20, 20] > 0.6
    quarter = gradient_noise(angles, math.pi / 2, (41, 41))
    assert quarter == pytest.approx(gradient_noise(angles, 0.0, (41, 41))[::-1].T)


def test_noise_shapes_keep_their_bounds() -> None:
    masks = [any_noise(np.random.default_rng(i), (100, 60), (0.1, 0.6)) for i in range(300)]
    heights, widths = zip(*(m.shape for m in masks), strict=True)
    assert (min(heights), max(heights)) == (10, 59)
    assert (min(widths), max(widths)) == (6, 35)
    assert min(m.mean() for m in masks) >= 0.2


def test_noise_shapes_have_the_coverage_known_of_the_authors_code() -> None:
    masks = [any_noise(np.random.default_rng(i), (100, 100), (0.5, 0.52)) for i in range(300)]
    assert np.mean([m.mean() for m in masks]) == pytest.approx(0.39, abs=0.02)


def test_an_ellipse_and_a_rectangle_by_hand() -> None:
    assert Convex(False, np.array([2.5, 1.5]), I).mask().tolist() == [[True] * 3] * 5
    cross = [[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]]
    assert Convex(True, np.array([2.2, 2.2]), I).mask().astype(int).tolist() == cross
    quarter_turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert Convex(False, np.array([2.5, 1.5]), quarter_turn).mask().shape == (3, 5)


def test_the_way_to_the_outline_by_hand() -> None:
    down_up_right = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    circle = Convex(True, np.array([10.0, 10.0]), I)
    assert circle.reach(np.array([3.0, 0.0]), down_up_right) == pytest.approx([7, 13, math.sqrt(91)])
    box = Convex(False, np.array([10.0, 4.0]), I)
    assert box.reach(np.array([3.0, 1.0]), down_up_right) == pytest.approx([7, 13, 3])
    assert box.reach(np.zeros(2), np.array([[1.0], [1.0]])) == pytest.approx([4])
    larger = Convex(True, np.array([10.0, 10.0]), 2 * I)
    assert larger.reach(np.zeros(2), 2 * down_up_right) == pytest.approx([10, 10, 10])


def test_the_middle_is_pushed_outwards_by_hand() -> None:
    circle = Convex(True, np.array([8.0, 8.0]), I)
    y, x = circle.pushed(np.array([8, 8]), 2.0)
    assert (y[8, 8], x[8, 8]) == (8, 8)
    assert (y[8, 12], x[8, 12]) == pytest.approx((8, 8 + 4 * 4 / 8))  # r = 1/2 looks at r^2 = 1/4
    assert (y[2, 8], x[2, 8]) == pytest.approx((8 - 6 * 6 / 8, 8))
    assert (y[0, 0], x[0, 0]) == (0, 0)  # outside: where it is
    # Off the middle, the way to the outline counts: 4 pixels of 12 to the left
    y, x = circle.pushed(np.array([8, 12]), 2.0)
    assert (y[8, 8], x[8, 8]) == pytest.approx((8, 12 - 12 / 9))


def test_random_convex_shapes_fit_and_vary() -> None:
    shapes = [any_convex(np.random.default_rng(i), (100, 100), (0.2, 0.6)) for i in range(200)]
    sizes = np.array([shape.mask().shape for shape in shapes])
    assert sizes.max() <= 61
    assert sizes.min() >= 15
    assert 0.4 < np.mean([shape.ellipse for shape in shapes]) < 0.6
    for shape in shapes:
        mask = shape.mask()
        y, x = shape.extent
        assert mask[y, x]  # the centre
        assert shape.ellipse or (mask[:, :2].any() and mask[:2].any())  # the box is tight
        area = np.prod(2 * shape.half) * np.linalg.det(shape.matrix) * (math.pi / 4 if shape.ellipse else 1)
        assert mask.sum() == pytest.approx(area, rel=0.1)
