"""Cost estimates: time, disk and memory of a cell, from the earlier records that are most like it."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.config.schema import RunConfig
from adbench.errors import RecordError
from adbench.records import record

# An estimate comes from the records with equal values of all these keys; without any, of all but the last, and so on.
MATCHED = ("method", "backbone", "schedule", "dataset", "shots")
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


def costs(runs: Path, read: Iterable[record.Record] = ()) -> CostTable:
    """Return the costs of the records in `runs` by the values of the first n of `MATCHED`, for each n.

    `read` are records that have been read already.
    """
    contents = {known.path.name: known.content for known in read}
    samples: dict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
    sizes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for path in record.folders(runs):
        try:
            content = contents.get(path.name) or record.read(path).content
        except RecordError:  # a failed cell, or a damaged record
            continue
        values = tuple(content["resolved"][name] for name in MATCHED)
        sample = float(sum(content["seconds"].values())), int(content["peak_memory"]["host_bytes"])
        for n in range(len(MATCHED) + 1):
            samples[values[:n]].append(sample)
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
