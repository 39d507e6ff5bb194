"""The first page: averages, what shots bring and all cells, for each kind of data apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adbench.board.leaderboard import meaning, with_leaks
from adbench.board.render import sections
from adbench.board.site.entries import Entry, dataset_name
from adbench.board.site.shots import Key, Look, chart, legend
from adbench.board.site.tables import FILTERS, listing, matrix, metric_title, owners

NOTES = {
    "phantom": "Phantoms are drawn by adbench. They show how code behaves and say nothing about patients.",
    "published": "Figures of the papers, reached on other code.",
}


def page(
    entries: Sequence[Entry], long: pd.DataFrame, look: Mapping[str, dict[Key, Look]], figures: Sequence[str]
) -> dict[str, Any]:
    """Return what the template needs; `look` holds the lines of each kind of data."""
    own = owners(entries)
    parts = []
    for section in sections(long, figures):
        here = [e for e in entries if (e.line["data"], e.line["standing"]) == (section.data, section.standing)]
        clean = long[(long["data"] == section.data) & (long["standing"] == section.standing)]
        drawn = []
        if section.standing == "clean" and here:
            names = sorted({entry.line["dataset"] for entry in here})
            drawn = [chart(clean, name, figures[0], look[section.data], 190) for name in names]
        plots = [one for one in drawn if one is not None]
        named = {entry.line["dataset"]: f"datasets/{dataset_name(entry.line)}.html" for entry in here}
        parts.append({
            "name": f"{section.data}-{section.standing}".replace(" ", "-"),
            "title": section.name,
            "marked": meaning(section.standing),
            "note": NOTES.get(section.data) if section.standing in ("clean", "as published") else None,
            "datasets": sorted(named.items()),
            "table": matrix(section, own, ""),
            "plots": plots,
            "legend": legend(plots),
            "papers": any(one["papers"] for one in plots),
            "cells": listing(here, "") if here else None,
        })  # fmt: skip
    kinds = sorted({entry.content["data"] for entry in entries})
    return {
        "title": "Leaderboard",
        "counts": _counts(entries),
        "kinds": kinds,
        "filters": _filters(entries, long),
        "metrics": [(metric, metric_title(metric)) for metric in with_leaks(figures) if metric in set(long["metric"])],
        "parts": parts,
    }


def _counts(entries: Sequence[Entry]) -> list[tuple[int, str]]:
    methods, datasets = ({entry.line[key] for entry in entries} for key in ("method", "dataset"))
    kinds = ((len(entries), "record"), (len(methods), "method"), (len(datasets), "dataset"))
    return [(count, word if count == 1 else f"{word}s") for count, word in kinds]


def _filters(entries: Sequence[Entry], long: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Return (key, values) of each filter."""
    found = {key: {entry.line[key] for entry in entries} | set(long[key].astype(str)) for key in FILTERS}
    return [(key, sorted(values - {""}, key=_numbers_first)) for key, values in found.items()]


def _numbers_first(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)
