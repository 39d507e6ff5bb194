"""Charts of figures by number of shots: a line per method, with the spread over draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.figure import metric_title
from adbench.board.leaderboard import ROW
from adbench.board.site import charts

LINE_KEYS = [key for key in ROW if key not in ("data", "standing", "shots")]
WHISKERS = {
    True: "whiskers: 95 % interval for new patients and new draws",
    False: "whiskers: ± one standard deviation over draws and seeds",
}
Key = tuple[str, ...]


class LineStyle(NamedTuple):
    """The name of a line in a chart, and the number of its colour, shape and dash."""

    name: str
    number: int


def line_styles(long: pd.DataFrame) -> dict[Key, LineStyle]:
    """Return a style for every line of one kind of data, the same on all pages.

    A line is named after its method, with the settings that distinguish it from others.


    >>> lines = [("a", "k=1"), ("a", "k=2"), ("b", "")]
    >>> rows = [dict.fromkeys(ROW, "x") | {"method": method, "variant": variant} for method, variant in lines]
    >>> [style.name for style in line_styles(pd.DataFrame(rows)).values()]
    ['a, k=1', 'a, k=2', 'b']
    """
    rows = long[LINE_KEYS].astype(str).drop_duplicates().sort_values(LINE_KEYS).to_dict("records")
    names = [row["method"] for row in rows]
    for key in LINE_KEYS:  # a word is added only where it distinguishes rows of one name
        values: dict[str, set[str]] = {}
        for name, row in zip(names, rows, strict=True):
            values.setdefault(name, set()).add(row[key])
        names = [
            f"{name}, {row[key]}" if row[key] and len(values[name]) > 1 else name
            for name, row in zip(names, rows, strict=True)
        ]
    return {
        tuple(row[key] for key in LINE_KEYS): LineStyle(name, i)
        for i, (row, name) in enumerate(zip(rows, names, strict=True))
    }


def chart(
    long: pd.DataFrame, dataset: str, metric: str, styles: dict[Key, LineStyle], height: float = charts.HEIGHT
) -> dict[str, Any] | None:
    """Draw one metric on one dataset; None where all rows have the same number of shots.

    `long` holds clean rows of one kind of data; `published` figures are drawn hollow. Whiskers are the intervals where
    `long` has some, else ± one standard deviation. Returns title, metric, svg, the styles used, and whether a published
    figure is drawn.
    """
    part = long[(long["dataset"] == dataset) & (long["metric"] == metric) & long["mean"].notna()]
    places = sorted(set(part["shots"].astype(str)), key=lambda text: (not text.isdecimal(), text.zfill(9)))
    if len(places) < 2:
        return None
    series, descriptions = [], []
    for key, rows in sorted(part.groupby(LINE_KEYS), key=lambda item: styles[tuple(map(str, item[0]))].number):
        style = styles[tuple(map(str, key))]
        rows = rows.assign(place=[places.index(str(shots)) for shots in rows["shots"]]).sort_values("place")
        points = list(zip(rows["place"], rows["mean"], *whiskers(rows), strict=True))
        # Of another backbone's figure there is no difference, and no mark.
        compared = rows[rows["difference"].notna()] if "difference" in rows else rows.iloc[:0]
        papers = compared[["place", "published"]] if len(compared) else compared
        references = [(place, mean) for place, mean, *_ in papers.to_numpy().tolist()] if len(papers) else []
        level = set(rows["shots"].astype(str)) == {"0"}
        series.append(charts.Series(style.name, style.number, points, references, level))
        texts = [f"{mean:.1f}{_between(low, high)} at {places[at]}" for at, mean, low, high in points]
        descriptions.append(f"{style.name}: {', '.join(texts)}")
    name = metric_title(metric)
    svg = charts.shots(
        f"shots-{dataset}-{metric}".replace(" ", "-"), f"{name} on {dataset} by number of shots, in per cent",
        "; ".join(descriptions) + ".", series, places, height,
    )  # fmt: skip
    used = [LineStyle(line.name, line.look) for line in series]
    papers_drawn = any(line.published for line in series)
    return {"title": dataset, "metric": name, "svg": svg, "styles": used, "papers": papers_drawn}


def whiskers(rows: pd.DataFrame) -> tuple[pd.Series[float], pd.Series[float]]:
    """Return the lower and upper ends of whiskers: the interval where it was computed, else ± a standard deviation."""
    if has_intervals(rows):
        return rows["ci_low"].astype(float), rows["ci_high"].astype(float)
    return rows["mean"] - rows["std"], rows["mean"] + rows["std"]


def has_intervals(rows: pd.DataFrame) -> bool:
    """Whether intervals were computed for a leaderboard."""
    return "ci_low" in rows


def _between(low: float, high: float) -> str:
    return f" ({low:.1f} to {high:.1f})" if high > low else ""


def legend(drawn: Sequence[dict[str, Any]]) -> list[tuple[Any, str]]:
    """Return (sample, name) of every line in some charts."""
    used = sorted({style for plot in drawn for style in plot["styles"]}, key=lambda style: style.number)
    return [(charts.swatch(style.number), style.name) for style in used]
