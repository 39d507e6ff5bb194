"""Where a score stands among the scores of a record, and where the sliders start."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.records.held_out import held_out, thresholds
from adbench.serve.distribution import Known, known, starting_points


def test_figures_at_a_threshold() -> None:
    scores = np.arange(40, dtype=np.float32)
    labels = scores >= 20
    found = Known("test", scores, labels, np.arange(40)).at(25)
    assert found["sensitivity"]["value"] == pytest.approx(15 / 20)
    assert found["specificity"]["value"] == 1
    assert 0 < found["sensitivity"]["low"] < 0.75 < found["sensitivity"]["high"] < 1
    assert found["specificity"]["low"] is None
    assert "no patient contradicts" in found["specificity"]["why"]


def test_scores_of_both_classes_go_to_the_browser() -> None:
    found = Known("test", np.float32([1, 2, 3]), np.array([False, True, False]), np.arange(3)).json()
    assert found == {"name": "test", "normal": [1, 3], "abnormal": [2], "why": ""}


def test_sliders_start_where_the_held_out_images_fix_them(served_records) -> None:
    for record in served_records.values():
        fixed, start = thresholds(held_out(record)), starting_points(record)
        assert start["image"]["value"] == fixed.image.value
        assert start["pixel"]["value"] == fixed.pixel.value
        low, high = start["scale"]
        assert low < high == pytest.approx(record.held_out()["map_max"].max())
        names = {one.name: len(one.scores) for one in known(record)}
        assert names == {"held-out": record.content["held_out"]["images"], "test": record.content["test_images"]}
