"""Charts as SVG: where things are drawn, and how lines are told apart."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, strategies

from adbench.board.site import charts

ROOT = Path(__file__).resolve().parents[4]


HOSTILE = """<script>alert("m")</script>'&"""


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


def test_charts_escape_what_they_are_told() -> None:
    svg = str(
        charts.shots("n", HOSTILE, HOSTILE, [charts.Series("s", 0, [(0, 50, 49, 51), (1, 60, 59, 61)])], ["<2>", "4"])
    )
    assert "<script" not in svg
    assert "&lt;2&gt;" in svg


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
