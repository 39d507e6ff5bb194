"""What a comparison of rows has no line for, in sentences: rows without a record on a dataset, pairs without a mean."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.board.compare import MEAN, Comparison
from adbench.board.samples import Row


def absent(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each dataset, or several, on which some rows have no record and others do."""
    where: dict[str, set[str]] = {}
    for row in rows:
        where.setdefault(row.name, set()).add(row.dataset)
    lacking: dict[str, list[str]] = {}
    for name, there in where.items():
        if missing := dict.fromkeys(row.dataset for row in rows if row.dataset not in there):
            lacking.setdefault(", ".join(missing), []).append(name)
    return [
        f"{'; '.join(names)} {'has' if len(names) == 1 else 'have'} no record on {datasets}."
        for datasets, names in lacking.items()
    ]


def without_mean(compared: Sequence[Comparison]) -> list[str]:
    """Return a sentence for the pairs of one metric that have an interval on some datasets, and not on all."""
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for one in compared:
        if not one.dataset.startswith(MEAN):
            pairs.setdefault((one.first, one.second), []).append(one)
    datasets = {one.dataset for some in pairs.values() for one in some}
    lacking: dict[str, list[str]] = {}
    for (first, second), some in pairs.items():
        missing = [one.dataset for one in some if one.difference is None]
        if 0 < len(missing) < len(some):
            lacking.setdefault(", ".join(missing), []).append(f"{first} and {second}")
    return [
        f"{'; '.join(names)}: no {MEAN} {len(datasets)} by {compared[0].metric}, as there is no interval on {missing}."
        for missing, names in lacking.items()
    ]
