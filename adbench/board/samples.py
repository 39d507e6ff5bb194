"""What a comparison needs of records: each row's figures by draw, and the figures without each patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import ROW, lines
from adbench.errors import AdbenchError
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

Floats = NDArray[np.float64]
Draw = tuple[str, int]  # the support's source, as in "draw:0", and the seed
METRICS = (*images.METRICS[:3], *pixels.METRICS)


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
    """Group records into rows, one for each setting and dataset; names tell rows of one dataset apart."""
    grouped: dict[tuple[str, ...], dict[Draw, Record]] = {}
    for record, line in zip(records, lines(records), strict=True):
        source = str(record.content["support"]["source"])
        draw = (source, int(record.content["facts"]["seed"]))
        grouped.setdefault((*(line[key] for key in ROW), line["dataset"]), {})[draw] = record
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


def images_of(record: Record) -> pd.DataFrame:
    """Return a record's predictions in the order of their image ids; the column `place` is the row in the file."""
    table = record.predictions().reset_index(names="place")
    return table.sort_values("image", kind="stable").reset_index(drop=True)


def sample(record: Record, metric: str) -> tuple[Sample, NDArray[np.intp]]:
    """Return a record's figure with its jackknife, and the patient of each image in the order of image ids.

    Pixel metrics are those of the record's coarse histograms: of their covariances alone use is made, the figure itself
    is the record's. Raises AdbenchError for a metric without a jackknife, and for one that the record does not have.
    """
    if metric not in METRICS:
        raise AdbenchError(f"--metric {metric} has no interval; {', '.join(METRICS)} have.")
    table = images_of(record)
    groups = group(table["patient"].astype(object).where(table["patient"].notna(), None).tolist())
    if metric in images.METRICS:
        labels = table["label"].to_numpy() == 1
        scores = table["score"].to_numpy(np.float64)
        without = image_figures_without_each(scores, labels, groups, (metric,))[:, 0]
        figure = record.metrics.get(metric)
        figure = float(placements(scores, labels)[labels].mean()) if figure is None else figure
        return Sample(figure, without), groups
    contributions = record.contributions()
    if contributions is None:
        raise AdbenchError(f"{record.path} has no {metric}: its dataset has no masks, or its method draws no maps.")
    in_file = np.empty(len(groups), np.intp)
    in_file[table["place"].to_numpy()] = groups
    without = pixel_figures_without_each(contributions, in_file, (metric,))[:, 0]
    kept = record.metrics.get(metric)
    return Sample(float(pixel_figures(contributions, (metric,))[0]) if kept is None else kept, without), groups
