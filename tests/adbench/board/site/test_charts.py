"""Curves and charts of the site: what they enclose, where they are drawn, and how lines are told apart."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, strategies

from adbench.board import leaderboard
from adbench.board.site import charts, curves, shots
from adbench.errors import AdbenchError
from adbench.metrics import Histogram, average_precision, pixel_metrics, roc_auc

ROOT = Path(__file__).resolve().parents[4]


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


def test_a_curve_is_drawn_where_its_axes_say() -> None:
    svg = str(charts.curve("n", "t", "d", np.array([0.0, 1.0]), np.array([0.0, 1.0]), ("x", "y"), "diagonal"))
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    floor, top = charts.HEIGHT - charts.BOTTOM, charts.TOP
    assert f'class="curve" d="M{left:.1f} {floor:.1f}L{right:.1f} {top:.1f}"' in svg


def test_precision_is_drawn_in_steps() -> None:
    svg = str(charts.curve("n", "t", "d", np.array([0.5, 1.0]), np.array([1.0, 0.5]), ("x", "y"), "0.5", steps=True))
    (path,) = re.findall(r'class="curve" d="M([^"]+)"', svg)
    points = [tuple(map(float, pair.split())) for pair in path.split("L")]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(points))
    assert points[0][0] == charts.LEFT


def lines(**columns: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    blank = dict.fromkeys([*leaderboard.ROW, "dataset", "metric"], "x") | {"std": float("nan")}
    return frame.assign(**{key: value for key, value in blank.items() if key not in frame})


def test_shots_are_ordered_by_number_and_spread_is_drawn() -> None:
    rows = lines(method=["a"] * 3, shots=["16", "full", "2"], mean=[80.0, 90.0, 70.0], std=[1.0, 2.0, float("nan")])
    found = shots.chart(rows, "x", "x", shots.looks(rows))
    assert found is not None
    svg = str(found["svg"])
    assert re.findall(r'<text class="x"[^>]*>([^<]+)<', svg) == ["2", "16", "full"]
    assert svg.count('class="bar"') == 2
    assert svg.count('class="mark"') == 3
    assert "a: 70.0 at 2, 80.0 at 16, 90.0 at full" in svg


def test_a_method_without_shots_is_a_level_and_papers_are_hollow() -> None:
    rows = lines(method=["a", "a", "z"], shots=["2", "4", "0"], mean=[80.0, 90.0, 70.0], published=[85.0, None, None])
    found = shots.chart(rows, "x", "x", shots.looks(rows))
    assert found is not None
    assert str(found["svg"]).count("line level") == 1
    assert str(found["svg"]).count("mark hollow") == 1
    assert found["papers"]


def test_a_method_with_shots_is_no_level() -> None:
    rows = lines(method=["a", "a", "z"], shots=["2", "4", "2"], mean=[80.0, 90.0, 70.0])
    found = shots.chart(rows, "x", "x", shots.looks(rows))
    assert found is not None
    assert "level" not in str(found["svg"])


@given(strategies.floats(-1e6, 1e6), strategies.floats(-9, 6))
@example(0.49995, -3.69897)
def test_labels_of_an_axis_differ_and_are_where_they_say(low: float, size: float) -> None:
    gap = max(10**size, abs(low) * 1e-7)  # scores are floats of 32 bits
    found = charts.ticks(low, low + gap)
    assert len(found) >= 2
    assert len({label for _, label in found}) == len(found)
    assert all(abs(float(label) - place) <= 0.01 * gap for place, label in found)


def test_numbers_that_differ_are_told_apart() -> None:
    assert charts.apart([0.5, 0.25]) == ["0.5", "0.25"]
    assert charts.apart([0.50001, 0.50002]) == ["0.50001", "0.50002"]
    assert charts.apart([0.5, 0.5]) == ["0.5", "0.5"]
    assert len(set(charts.apart([0.1, np.nextafter(0.1, 1)]))) == 2


def test_one_number_of_shots_makes_no_chart() -> None:
    rows = lines(method=["a", "b"], shots=["2", "2"], mean=[80.0, 90.0])
    assert shots.chart(rows, "x", "x", shots.looks(rows)) is None


def test_lines_differ_in_more_than_colour() -> None:
    looks = []
    for number in range(2 * charts.LOOKS):
        found = re.search(r'class="(s\d)".*dasharray="(.*?)".*class="mark" d="(.*?)"', str(charts.swatch(number)))
        assert found is not None
        looks.append(found.groups())
    colours, dashes, shapes = zip(*looks, strict=True)
    assert len(set(colours)) == charts.LOOKS
    for one, other in itertools.combinations((colours, dashes, shapes), 2):  # of every pair one is enough
        assert len(set(zip(one, other, strict=True))) == len(looks)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    bright, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_their_ground(scheme: int) -> None:
    style = (ROOT / "adbench" / "board" / "site" / "templates" / "style.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.S)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for text in ("ink", "soft", "link", "warn"):
        for ground in ("paper", "band", "field"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    drawn = [f"s{i}" for i in range(charts.LOOKS)] + ["normal", "abnormal"]
    for line in drawn:
        assert contrast(colours[line], colours["paper"]) >= 3, line
    assert len({colours[f"s{i}"] for i in range(charts.LOOKS)}) == charts.LOOKS
