"""The first page: averages, effect of the number of shots, and all records, separately for each kind of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adbench.board.figure import metric_title
from adbench.board.leaderboard import with_leaks
from adbench.board.sections import sections
from adbench.board.site.records import SiteRecord, dataset_page
from adbench.board.site.shots import WHISKERS, Key, LineStyle, chart, has_intervals, legend
from adbench.board.site.tables import FILTERS, listing, matrix, owners
from adbench.records.standing import caveat

NOTES = {
    "phantom": "Phantoms are synthetic images. They show how code behaves and say nothing about patients.",
    "published": "Figures printed in the papers, obtained with other code.",
}


def page(
    entries: Sequence[SiteRecord],
    long: pd.DataFrame,
    styles: Mapping[str, dict[Key, LineStyle]],
    figures: Sequence[str],
) -> dict[str, Any]:
    """Return the template's variables; `styles` holds the line styles of each kind of data."""
    members = owners(entries)
    parts = []
    for section in sections(long, figures):
        here = [e for e in entries if (e.line["data"], e.line["standing"]) == (section.data, section.standing)]
        clean = long[(long["data"] == section.data) & (long["standing"] == section.standing)]
        drawn = []
        if section.standing == "clean" and here:
            names = sorted({entry.line["dataset"] for entry in here})
            drawn = [chart(clean, name, figures[0], styles[section.data], 190) for name in names]
        plots = [plot for plot in drawn if plot is not None]
        named = {entry.line["dataset"]: f"datasets/{dataset_page(entry.line)}.html" for entry in here}
        parts.append({
            "name": f"{section.data}-{section.standing}".replace(" ", "-"),
            "title": section.name,
            "caveat": caveat(section.standing),
            "note": NOTES.get(section.data) if section.standing in ("clean", "as published") else None,
            "datasets": sorted(named.items()),
            "table": matrix(section, members, ""),
            "plots": plots,
            "legend": legend(plots),
            "papers": any(plot["papers"] for plot in plots),
            "records": listing(here, "") if here else None,
        })  # fmt: skip
    kinds = sorted({entry.content["data"] for entry in entries})
    return {
        "title": "Leaderboard",
        "counts": _counts(entries),
        "whiskers": WHISKERS[has_intervals(long)],
        "kinds": kinds,
        "filters": _filters(entries, long),
        "metrics": [(metric, metric_title(metric)) for metric in with_leaks(figures) if metric in set(long["metric"])],
        "parts": parts,
    }


def _counts(entries: Sequence[SiteRecord]) -> list[tuple[int, str]]:
    methods, datasets = ({entry.line[key] for entry in entries} for key in ("method", "dataset"))
    kinds = ((len(entries), "record"), (len(methods), "method"), (len(datasets), "dataset"))
    return [(count, word if count == 1 else f"{word}s") for count, word in kinds]


def _filters(entries: Sequence[SiteRecord], long: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return (key, values) of each filter."""
    values = {key: {entry.line[key] for entry in entries} | set(long[key].astype(str)) for key in FILTERS}
    return [(key, sorted(texts - {""}, key=_numbers_first)) for key, texts in values.items()]


def _numbers_first(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
