"""Cost estimates: time, disk and memory of a cell, from the earlier records that are most like it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adbench.config.schema import RunConfig
from adbench.errors import RecordError
from adbench.records import record
from adbench.sweeps import known
from adbench.sweeps.known import MATCHED

SAMPLE = 5  # folders whose size is measured, of records with equal values of all of them


@dataclass(frozen=True)
class Cost:
    """What n records cost: median wall seconds and bytes on disk, largest resident memory in bytes.

    `matched` is the last of `MATCHED` in which they equal the cell, "" where not even the method is the same.
    """

    seconds: float
    disk: float
    memory: int
    n: int
    matched: str


CostTable = Mapping[tuple[Any, ...], Cost]


def costs(runs: Path, read: Iterable[record.Record] = (), entries: known.Entries = MappingProxyType({})) -> CostTable:
    """Return the costs of the records in `runs` by the values of the first n of `MATCHED`, for each n.

    `read` are records that have been read already; `entries`: what is remembered of others (`known.recalled`).
    """
    there = {one.path.name: one for one in read}
    samples: dict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
    sizes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for path in record.folders(runs):
        try:
            found = there.get(path.name) or known.find(runs, path.name, entries) or record.read(path)
        except RecordError:  # a failed cell, or a damaged record
            continue
        brief = known.brief_of(found)
        values = brief.values
        for n in range(len(MATCHED) + 1):
            samples[values[:n]].append((brief.seconds, brief.memory))
        if len(sizes[values]) < SAMPLE:
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            for n in range(len(MATCHED) + 1):
                sizes[values[:n]].append(size)
    table = {}
    for values, rows in samples.items():
        seconds, memory = zip(*rows, strict=True)
        matched = MATCHED[len(values) - 1] if values else ""
        disk = statistics.median(sizes[values])
        table[values] = Cost(statistics.median(seconds), disk, max(memory), len(rows), matched)
    return table


def cost_of(config: RunConfig, table: CostTable) -> Cost | None:
    """Return the estimate for a cell from the records that are most like it; None where there are no records."""
    values = tuple(getattr(config, name) for name in MATCHED)
    return next((table[values[:n]] for n in range(len(MATCHED), -1, -1) if values[:n] in table), None)
