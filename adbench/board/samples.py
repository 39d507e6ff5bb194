"""What a comparison needs of records: each row's figures by draw, and the figures without each patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import ROW, lines
from adbench.errors import AdbenchError
from adbench.metrics import patient
from adbench.records.record import Record
from adbench.statistics import (
    group,
    image_figures_without_each,
    images,
    pixel_figures,
    pixel_figures_without_each,
    pixels,
    placements,
)
from adbench.statistics.patients import Groups

Floats = NDArray[np.float64]
Draw = tuple[str, int]  # the support's source, as in "draw:0", and the seed
METRICS = (*images.METRICS[:3], *pixels.METRICS, *patient.METRICS)


@dataclass(frozen=True)
class Row:
    """One row of a leaderboard on one dataset.

    name: its method, with what else distinguishes it from the other rows. head: its values by the keys of `ROW`.
    records: by draw; a method that learns from no image has one record, whose draw is `none`.
    """

    name: str
    head: dict[str, str]
    dataset: str
    records: dict[Draw, Record]

    @property
    def drawn(self) -> bool:
        """Whether its support is drawn."""
        return not all(source == "none" for source, _ in self.records)


def rows_of(records: Sequence[Record]) -> list[Row]:
    """Group records into rows, one for each setting and dataset; names tell rows of one dataset apart.

    Raises AdbenchError for records that differ in how adbench split the images: a row has one set of test images.
    """
    grouped: dict[tuple[str, ...], dict[Draw, Record]] = {}
    for record, line in zip(records, lines(records), strict=True):
        source = str(record.content["support"]["source"])
        draw = (source, int(record.content["facts"]["seed"]))
        drawn = grouped.setdefault((*(line[key] for key in ROW), line["dataset"]), {})
        if draw in drawn:
            raise AdbenchError(
                f"{drawn[draw].path} and {record.path} are of one draw and seed on {line['dataset']}, of two splits or "
                "folds of its images: other test images, which are not compared. Give the records of one split alone."
            )
        drawn[draw] = record
    heads = {key: dict(zip(ROW, key, strict=False)) for key in grouped}
    rows = []
    for key, some in grouped.items():
        peers = [heads[other] for other in grouped if other[-1] == key[-1] and heads[other]["method"] == key[2]]
        differ = [name for name in ROW if len({peer[name] for peer in peers}) > 1]
        more = [_word(name, heads[key][name]) for name in differ]
        rows.append(Row(" ".join(filter(None, [heads[key]["method"], *more])), heads[key], key[-1], some))
    return sorted(rows, key=lambda row: (row.dataset, row.name))


def _word(name: str, value: str) -> str:
    return value if name in ("variant", "data", "standing", "protocol") or not value else f"{name}={value}"


@dataclass(frozen=True)
class Sample:
    """One record's figure of one metric: over all patients, and without each of them (I,)."""

    figure: float
    without: Floats


@dataclass(frozen=True)
class ScoredImages:
    """The test images of a record, in the order of their ids.

    table: its predictions; the column `place` is the row in the file. groups: (N,), the patient of each.
    """

    table: pd.DataFrame
    groups: Groups

    @property
    def patients(self) -> tuple[int, int]:
        """The numbers of patients with an abnormal image, and with a normal one."""
        ill = self.table["label"].to_numpy() == 1
        return len(np.unique(self.groups[ill])), len(np.unique(self.groups[~ill]))

    def classes(self, metric: str) -> tuple[int, int]:
        """The numbers of patients who enter a metric as abnormal and as normal; at patient level as one of both."""
        abnormal, normal = self.patients
        return (abnormal, len(np.unique(self.groups)) - abnormal) if metric in patient.METRICS else (abnormal, normal)


class Samples:
    """Test images, figures and jackknives of records; each is read and computed once."""

    def __init__(self) -> None:
        self._images: dict[str, ScoredImages] = {}
        self._samples: dict[tuple[str, str], Sample] = {}

    def images(self, record: Record) -> ScoredImages:
        """Return the test images of a record."""
        if record.key not in self._images:
            table = record.predictions().reset_index(names="place")
            table = table.sort_values("image", kind="stable").reset_index(drop=True)
            names = table["patient"].astype(object).where(table["patient"].notna(), None).tolist()
            self._images[record.key] = ScoredImages(table, group(names))
        return self._images[record.key]

    def of(self, record: Record, metric: str) -> Sample:
        """Return a record's figure with its jackknife.

        Pixel metrics are those of the record's coarse histograms: of their covariances alone use is made, the figure
        itself is the record's. Raises AdbenchError for a metric without a jackknife, and for one that the record does
        not have.
        """
        key = record.key, metric
        if key not in self._samples:
            self._samples[key] = _sample(record, self.images(record), metric)
        return self._samples[key]


def _sample(record: Record, test: ScoredImages, metric: str) -> Sample:
    if metric not in METRICS:
        raise AdbenchError(f"--metric {metric} has no interval; {', '.join(METRICS)} have.")
    table, groups = test.table, test.groups
    if metric in images.METRICS:
        labels = table["label"].to_numpy() == 1
        scores = table["score"].to_numpy(np.float64)
        without = image_figures_without_each(scores, labels, groups, (metric,))[:, 0]
        figure = record.metrics.get(metric)
        figure = float(placements(scores, labels)[labels].mean()) if figure is None else figure
        return Sample(figure, without)
    if metric in patient.METRICS:
        return _of_patients(record, test, metric)
    contributions = record.contributions()
    if contributions is None:
        raise AdbenchError(f"{record.path} has no {metric}: its dataset has no masks, or its method draws no maps.")
    in_file = np.empty(len(groups), np.intp)
    in_file[table["place"].to_numpy()] = groups
    without = pixel_figures_without_each(contributions, in_file, (metric,))[:, 0]
    kept = record.metrics.get(metric)
    return Sample(float(pixel_figures(contributions, (metric,))[0]) if kept is None else kept, without)


def _of_patients(record: Record, test: ScoredImages, metric: str) -> Sample:
    table, groups = test.table, test.groups
    if len(np.unique(groups)) == len(groups):
        known = (
            "the patient of no image is known" if table["patient"].isna().all() else "each image is another patient's"
        )
        raise AdbenchError(f"{record.path} has no {metric}: {known}. Take image_{metric.partition('_')[2]}.")
    one = patient.by_patient(table["score"], table["label"], groups)
    figure = patient.patient_metrics(table["score"], table["label"], groups)[metric]
    name, everyone = f"image_{metric.partition('_')[2]}", np.arange(len(one.scores))
    return Sample(figure, image_figures_without_each(one.scores, one.labels, everyone, (name,))[:, 0])
