"""The summary of several draws of one row: each draw's figures, and their mean for new patients and new draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from adbench.board.samples import Samples, over_draws
from adbench.board.site.records import SiteRecord
from adbench.errors import AdbenchError
from adbench.report.figures import NAMES, has_patients, metric
from adbench.statistics import images, on_logit, pixels
from adbench.statistics.figures import LEAST_PATIENTS, Figure


class SummaryRow(NamedTuple):
    """One metric: its figure in each draw, and the mean over draws with an interval for new patients and new draws."""

    name: str
    each: tuple[Figure, ...]
    mean: Figure


def summary(entries: Sequence[SiteRecord], samples: Samples, level: float) -> list[SummaryRow]:
    """Return the metrics of all draws, as in `adbench compare`; those alone that every draw has."""
    first = entries[0].record
    names = [*images.METRICS[:3], *(["patient_auroc"] if has_patients(first, samples) else [])]
    names += list(pixels.METRICS) if first.content["histogram"] is not None else []
    found = []
    for name in names:
        each = tuple(metric(entry.record, name, samples, level) for entry in entries)
        if all(one.value is not None for one in each):
            found.append(SummaryRow(NAMES[name], each, _mean(name, entries, samples, level)))
    return found


def _mean(name: str, entries: Sequence[SiteRecord], samples: Samples, level: float) -> Figure:
    records = [entry.record for entry in entries]
    each = [samples.of(record, name) for record in records]
    counts = samples.images(entries[0].record).classes(name)
    value = float(np.mean([one.figure for one in each]))
    if min(counts) < LEAST_PATIENTS:
        return Figure(value, why=f"no interval: fewer than {LEAST_PATIENTS} patients of a class", patients=sum(counts))
    try:
        low, high = on_logit(over_draws(records, name, samples, level), level)
    except AdbenchError as error:
        return Figure(value, why=f"no interval: {str(error).rstrip('.')}", patients=sum(counts))
    return Figure(value, low, high, patients=len(each[0].without))
