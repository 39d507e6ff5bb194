"""What cells will cost, told from the records that are most like them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.config.schema import RunConfig
from adbench.records import record

# A record speaks for cells with the same values of all of these; where there is none, of all but the last, and so on.
KEYS = ("method", "backbone", "schedule", "dataset", "shots")
SAMPLE = 5  # folders measured of records that are alike in all of them


@dataclass(frozen=True)
class Cost:
    """What n records cost: median wall seconds and bytes on disk, largest resident memory in bytes.

    `like` is the last of `KEYS` in which they and the cell are alike, `any` for none.
    """

    seconds: float
    disk: float
    memory: int
    n: int
    like: str


Known = Mapping[tuple[Any, ...], Cost]


def costs(runs: Path, read: Iterable[record.Record] = ()) -> Known:
    """Return the costs by the first of `KEYS`, of any number, from the records in `runs`; `read` are read already."""
    contents = {one.path.name: one.content for one in read}
    found: dict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
    sizes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for path in record.folders(runs):
        content = contents.get(path.name) or record.peek(path) or {}
        try:
            if content["status"] != "complete":
                continue
            key = tuple(content["resolved"][name] for name in KEYS)
            cost = float(sum(content["seconds"].values())), int(content["peak_memory"]["host_bytes"])
        except (KeyError, TypeError, AttributeError):
            continue  # an estimate needs no whole record
        for n in range(len(KEYS) + 1):
            found[key[:n]].append(cost)
        if len(sizes[key]) < SAMPLE:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            for n in range(len(KEYS) + 1):
                sizes[key[:n]].append(size)
    known = {}
    for key, rows in found.items():
        seconds, memory = zip(*rows, strict=True)
        like = KEYS[len(key) - 1] if key else "any"
        known[key] = Cost(statistics.median(seconds), statistics.median(sizes[key]), max(memory), len(rows), like)
    return known


def cost_of(config: RunConfig, known: Known) -> Cost | None:
    """Return what a cell will cost by the records that are most like it, none without any record."""
    key = tuple(getattr(config, name) for name in KEYS)
    return next((known[key[:n]] for n in range(len(KEYS), -1, -1) if key[:n] in known), None)
