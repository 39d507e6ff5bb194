"""The figures of a record, computed once more from its own tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from adbench.metrics import Histogram, image_metrics, pixel_metrics
from adbench.records.record import Record

CLOSE = 1e-9  # sums of 64-bit numbers may be added up in another order on another machine
IMAGE = ("image_auroc", "image_ap", "image_f1_max", "image_accuracy")
PIXEL = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro", "pixel_aupro_05")
OVERLAP = {"pixel_aupimo": "aupimo", "pixel_aupimo_loose": "aupimo_loose"}  # the mean of a column of the predictions
LATER = ("pixel_aupro_05", *OVERLAP)  # what records of older versions don't hold
KNOWN = (*IMAGE, *PIXEL, *OVERLAP)


def figures_of(
    record: Record, table: pd.DataFrame, arrays: dict[str, Any] | None
) -> tuple[dict[str, float | None], dict[str, float]]:
    """Return the figures that predictions and histogram give, and the half-widths of the pixel figures.

    Raises AdbenchError where they give none, as with one class alone.
    """
    threshold = record.content["capability"].get("threshold")
    found = image_metrics(table["score"].to_numpy(), table["label"].to_numpy(), threshold)
    pixel = {} if arrays is None else pixel_metrics(Histogram.from_arrays(arrays))
    found |= {name: one.value for name, one in pixel.items()}
    if arrays is not None:
        found |= {name: _mean(table[column]) for name, column in OVERLAP.items() if column in table}
    return found, {name: one.half_width for name, one in pixel.items()}


def check_figures(record: Record, found: Mapping[str, float | None], halves: Mapping[str, float]) -> Iterator[str]:
    """Yield a sentence for each figure and half-width that is not what the tables give."""
    content = record.content
    for place, stated, computed, source in (
        ("metrics", content["metrics"], found, "the tables give"),
        ("half_widths", content["half_widths"], halves, "histogram.parquet gives"),
    ):
        for name in dict.fromkeys([*(n for n in stated if n in KNOWN), *computed]):
            if name in LATER and name not in stated:
                continue
            mine, theirs = stated.get(name), computed.get(name)
            if not _same(mine, theirs):
                yield f"{place}.{name} is {_text(mine)}, and {source} {_text(theirs)}"


def unknown_figures(record: Record) -> list[str]:
    """Return the names of figures that no table of the record gives."""
    names = {*record.content["metrics"], *record.content["half_widths"]}
    return sorted(names - {*KNOWN})


def _mean(column: pd.Series) -> float | None:
    values = column.to_numpy(np.float64)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _same(first: float | None, second: float | None) -> bool:
    return first is second if first is None or second is None else abs(first - second) <= CLOSE


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.10g}"
