"""Figures by number of shots: the order of places, spread, levels, published figures."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from adbench.board import leaderboard
from adbench.board.site import shots


def lines(**columns: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    blank = dict.fromkeys([*leaderboard.ROW, "dataset", "metric"], "x") | {"std": float("nan")}
    return frame.assign(**{key: value for key, value in blank.items() if key not in frame})


def test_shots_are_ordered_by_number_and_spread_is_drawn() -> None:
    rows = lines(method=["a"] * 3, shots=["16", "full", "2"], mean=[80.0, 90.0, 70.0], std=[1.0, 2.0, float("nan")])
    found = shots.chart(rows, "x", "x", shots.line_styles(rows))
    assert found is not None
    svg = str(found["svg"])
    assert re.findall(r'<text class="x"[^>]*>([^<]+)<', svg) == ["2", "16", "full"]
    assert svg.count('class="bar"') == 2 * 3, "a whisker has two caps"
    assert svg.count('class="mark"') == 3
    assert "a: 70.0 at 2, 80.0 (79.0 to 81.0) at 16, 90.0 (88.0 to 92.0) at full" in svg


def test_a_method_without_shots_is_a_level_and_papers_are_hollow() -> None:
    rows = lines(method=["a", "a", "z"], shots=["2", "4", "0"], mean=[80.0, 90.0, 70.0], published=[85.0, 95.0, None])
    rows = rows.assign(difference=[-5.0, None, None])  # the second is of another backbone
    found = shots.chart(rows, "x", "x", shots.line_styles(rows))
    assert found is not None
    assert str(found["svg"]).count("line level") == 1
    assert str(found["svg"]).count("mark hollow") == 1
    assert found["papers"]


def test_a_method_with_shots_is_no_level() -> None:
    rows = lines(method=["a", "a", "z"], shots=["2", "4", "2"], mean=[80.0, 90.0, 70.0])
    found = shots.chart(rows, "x", "x", shots.line_styles(rows))
    assert found is not None
    assert "level" not in str(found["svg"])


def test_one_number_of_shots_makes_no_chart() -> None:
    rows = lines(method=["a", "b"], shots=["2", "2"], mean=[80.0, 90.0])
    assert shots.chart(rows, "x", "x", shots.line_styles(rows)) is None


def test_whiskers_are_the_intervals_where_there_are_some() -> None:
    ends = {"ci_low": [75.0, float("nan")], "ci_high": [84.0, float("nan")]}
    rows = lines(method=["a"] * 2, shots=["2", "4"], mean=[80.0, 90.0], std=[1.0, 2.0], **ends)
    found = shots.chart(rows, "x", "x", shots.line_styles(rows))
    assert found is not None
    assert str(found["svg"]).count('class="bar"') == 3, "one whisker with its caps, none without an interval"
    assert "a: 80.0 (75.0 to 84.0) at 2, 90.0 at 4" in str(found["svg"])
    assert "95 % interval" in shots.WHISKERS[shots.has_intervals(rows)]
