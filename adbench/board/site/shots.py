"""What more shots bring: figures by the number of support images, a line per method, with the spread over draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.leaderboard import ROW
from adbench.board.site import charts
from adbench.board.site.tables import metric_title

KEYS = [key for key in ROW if key not in ("data", "standing", "shots")]
Key = tuple[str, ...]


class Look(NamedTuple):
    """The name of a line and the number of its colour, shape and dash."""

    name: str
    number: int


def looks(long: pd.DataFrame) -> dict[Key, Look]:
    """Name every line of the rows of one kind of data, the same on all pages: the method, and what tells it apart.

    >>> told = [("a", "k=1"), ("a", "k=2"), ("b", "")]
    >>> rows = [dict.fromkeys(ROW, "x") | {"method": method, "variant": variant} for method, variant in told]
    >>> [look.name for look in looks(pd.DataFrame(rows)).values()]
    ['a, k=1', 'a, k=2', 'b']
    """
    found = long[KEYS].astype(str).drop_duplicates().sort_values(KEYS).to_dict("records")
    names = [row["method"] for row in found]
    for key in KEYS:  # a word only where it tells rows apart that had the same name so far
        values: dict[str, set[str]] = {}
        for name, row in zip(names, found, strict=True):
            values.setdefault(name, set()).add(row[key])
        names = [
            f"{name}, {row[key]}" if row[key] and len(values[name]) > 1 else name
            for name, row in zip(names, found, strict=True)
        ]
    return {
        tuple(row[key] for key in KEYS): Look(name, i) for i, (row, name) in enumerate(zip(found, names, strict=True))
    }


def chart(
    long: pd.DataFrame, dataset: str, metric: str, look: dict[Key, Look], height: float = charts.HEIGHT
) -> dict[str, Any] | None:
    """Draw one metric on one dataset, or nothing where all rows have the same number of shots.

    `long` holds clean rows of one kind of data; where they have `published` figures, those are drawn hollow. Returns
    title, svg and the looks used.
    """
    part = long[(long["dataset"] == dataset) & (long["metric"] == metric)]
    places = sorted(set(part["shots"].astype(str)), key=lambda text: (not text.isdecimal(), text.zfill(9)))
    if len(places) < 2:
        return None
    series, told = [], []
    for key, rows in sorted(part.groupby(KEYS), key=lambda item: look[tuple(map(str, item[0]))].number):
        own = look[tuple(map(str, key))]
        rows = rows.assign(place=[places.index(str(shots)) for shots in rows["shots"]]).sort_values("place")
        points = list(zip(rows["place"], rows["mean"], rows["std"], strict=True))
        papers = rows[["place", "published"]].dropna() if "published" in rows else rows.iloc[:0]
        beside = [(place, mean) for place, mean, *_ in papers.to_numpy().tolist()] if len(papers) else []
        level = set(rows["shots"].astype(str)) == {"0"}
        series.append(charts.Series(own.name, own.number, points, beside, level))
        told.append(f"{own.name}: " + ", ".join(f"{mean:.1f} at {places[at]}" for at, mean, _ in points))
    name = metric_title(metric)
    svg = charts.shots(
        f"shots-{dataset}-{metric}".replace(" ", "-"), f"{name} on {dataset} by number of shots, in per cent",
        "; ".join(told) + ".", series, places, height,
    )  # fmt: skip
    used = [Look(one.name, one.look) for one in series]
    return {"title": dataset, "metric": name, "svg": svg, "looks": used, "papers": any(one.published for one in series)}


def legend(drawn: Sequence[dict[str, Any]]) -> list[tuple[Any, str]]:
    """Return (sample, name) of every line in some charts."""
    used = sorted({look for one in drawn for look in one["looks"]}, key=lambda look: look.number)
    return [(charts.swatch(look.number), look.name) for look in used]
