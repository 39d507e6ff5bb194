"""Figures of a record with intervals over patients: metrics, patient-level metrics, AUPIMO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from adbench.board.figure import TITLES
from adbench.board.samples import Samples
from adbench.errors import AdbenchError
from adbench.metrics import patient
from adbench.metrics.overlap import LOOSE, STRICT, too_few
from adbench.records.record import Record
from adbench.statistics import breakdown, images, pixels
from adbench.statistics.figures import LEAST_PATIENTS, Figure, figure, share

NAMES = TITLES | {
    "pixel_f1_max": "pixel F1-max", "pixel_aupro_05": "pixel AUPRO to 5 %",
    "patient_auroc": "patient AUROC", "patient_ap": "patient AP", "patient_f1_max": "patient F1-max",
}  # fmt: skip
OVERLAP = {"aupimo": STRICT, "aupimo_loose": LOOSE}


class Line(NamedTuple):
    """A line of a table: its name, the figure, and whether that is a share, shown in per cent."""

    name: str
    figure: Figure
    per_cent: bool = True


def metric(record: Record, name: str, samples: Samples, level: float) -> Figure:
    """Return a metric of `adbench compare` with its interval for new patients, or why there is none."""
    try:
        sample, counts = samples.of(record, name), samples.images(record).classes(name)
    except AdbenchError as error:
        return Figure(record.metrics.get(name), why=str(error).rstrip("."))
    if min(counts) < LEAST_PATIENTS:
        few = f"{counts[0]} patients are abnormal in it and {counts[1]} normal; {LEAST_PATIENTS} of each are needed"
        return Figure(sample.figure, why=f"no interval: {few}", patients=sum(counts))
    half_width = (record.content["half_widths"] or {}).get(name) or 0.0
    return figure(sample.figure, sample.without, level, half_width=half_width)


def image_lines(record: Record, samples: Samples, level: float) -> Iterator[Line]:
    """Yield the metrics of images, and of single patients' images taken together."""
    for name in images.METRICS[:3]:
        yield Line(NAMES[name], metric(record, name, samples, level))
    threshold = record.content["capability"].get("threshold")
    if threshold is not None:
        test = samples.images(record)
        labels, scores = test.table["label"].to_numpy() == 1, test.table["score"].to_numpy(np.float64)
        right = (scores >= threshold) == labels
        yield Line(f"image accuracy at the method's own threshold, {threshold:g}", share(right, test.groups, level))
    if has_patients(record, samples):
        found = {name: metric(record, name, samples, level) for name in patient.METRICS}
        if len({one.why for one in found.values() if one.value is None}) == 1:
            yield Line("patient AUROC, AP and F1-max", found[patient.METRICS[0]])
        else:
            yield from (Line(NAMES[name], one) for name, one in found.items())


def has_patients(record: Record, samples: Samples) -> bool:
    """Whether figures by patient say more than those by image: some patient has several images."""
    groups = samples.images(record).groups
    return len(np.unique(groups)) < len(groups)


def pixel_lines(record: Record, samples: Samples, level: float) -> Iterator[Line]:
    """Yield the metrics of pixels; nothing without masks or maps."""
    if record.content["histogram"] is None:
        return
    for name in pixels.METRICS:
        yield Line(NAMES[name], metric(record, name, samples, level))
    table, groups = samples.images(record).table, samples.images(record).groups
    for name, (low, high) in OVERLAP.items():
        title = f"AUPIMO, false positive rates {low:g} to {high:g}"
        if name not in table:
            yield Line(title, Figure(None, why="an older adbench wrote the record; run its cell again with force=true"))
            continue
        values = table[name].to_numpy(np.float64)
        kept = np.isfinite(values)
        if not kept.any():
            normal = int((table["label"] == 0).sum())
            why = too_few(normal, normal * eval_size(record) ** 2, low) or "no abnormal image has an abnormal pixel"
            yield Line(title, Figure(None, why=why.rstrip(".")))
            continue
        yield Line(title, breakdown.mean(values[kept], groups[kept], level))


def eval_size(record: Record) -> int:
    """Return the side of a map in pixels at which pixels were counted."""
    return int((record.content.get("masks") or {}).get("size") or record.content["facts"].get("eval_size") or 0)
