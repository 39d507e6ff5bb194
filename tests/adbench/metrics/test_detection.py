"""Lesions and false positives as regions, on maps small enough to count."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.errors import AdbenchError
from adbench.metrics import false_positives, lesions
from adbench.metrics.detection import joined

MASK = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool)  # the first region hangs on a corner
MAP = np.array([[0.2, 0.9, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0, 0.0], [0.8, 0.0, 0.0, 0.0, 0.4]], np.float32)


def test_a_lesion_has_its_area_and_its_highest_score() -> None:
    found = lesions(np.stack([MAP, MAP]), np.stack([np.zeros_like(MASK), MASK]), first=5)
    assert found.image.tolist() == [6, 6]
    assert found.area.tolist() == [3, 1]
    assert found.score.tolist() == pytest.approx([0.9, 0.4])


def test_a_false_positive_holds_no_pixel_of_a_lesion() -> None:
    assert false_positives([MAP], [MASK], [0.05, 0.5, 0.85, 1.0]).tolist() == [[1, 1, 0, 0]], "0.8 lies alone"
    assert false_positives([MAP], [np.zeros_like(MASK)], [0.05, 0.5, 0.95]).tolist() == [[3, 2, 0]]
    assert false_positives([MAP], [MASK], [-1.0]).tolist() == [[0]], (
        "all pixels are one region, which the lesions are in"
    )


def test_parts_are_joined_in_the_order_of_their_images() -> None:
    parts = [lesions([MAP], [MASK], first) for first in (3, 0)]
    assert joined(parts).image.tolist() == [0, 0, 3, 3]
    assert joined([lesions([MAP], [np.zeros_like(MASK)])]).area.size == 0


def test_other_shapes_are_refused() -> None:
    for function in (lesions, lambda a, b: false_positives(a, b, [0.5])):
        with pytest.raises(AdbenchError, match="must be the same"):
            function([MAP], [MASK[:2]])
