"""Evaluation: score an image set and compare with its labels and masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.cells.cell import Cell
from adbench.data.image_set import ImageSet
from adbench.method import Method
from adbench.metrics import Histogram, pixel_metrics
from adbench.metrics.modules import ImageScores, PixelHistogram
from adbench.metrics.per_image import Contributions, ImageHistograms
from adbench.scoring.lesions import LesionEvaluator, LesionOutcome
from adbench.scoring.score import columns_of, score_images, show_test_images
from adbench.system.progress import track
from adbench.system.ranks import all_gather, rank, world_size


@dataclass(frozen=True)
class Outcome:
    """The result of an evaluation: one row per image, the pixel histogram (or none), and the metrics.

    contributions: what each image contributes to the histogram, on coarser bins, for intervals.
    lesions: what single maps show of them; none without masks or maps.
    """

    predictions: pd.DataFrame
    histogram: Histogram | None
    contributions: Contributions | None
    lesions: LesionOutcome | None
    metrics: dict[str, float | None]
    half_widths: dict[str, float]


def evaluate(
    cell: Cell, method: Method[Any], images: ImageSet, map_thresholds: Mapping[float, float] = {},
    of_images: bool = True,
) -> Outcome:  # fmt: skip
    """Score images and compare with their labels and masks; several processes of one cell share the batches.

    map_thresholds: at which false positives are counted, by specificity; chosen before an image is scored.
    of_images: whether single images are looked at too: `contributions`, `lesions`, and the metrics that follow from
        them. They take three times as long as the pixel histogram.
    """
    config, size = cell.config, cell.eval_size
    image_evaluator = ImageScores(cell.capability.threshold)
    pixel_evaluator = PixelHistogram() if images.masks is not None and cell.capability.maps else None
    by_image, of_lesions = ImageHistograms(), LesionEvaluator(images.labels == 0, size, map_thresholds)
    how = images.dataset, images.object_name, config.batch_size, config.precision
    if cell.capability.transductive:
        show_test_images(method, images.images, *how)
    columns: dict[int, dict[str, NDArray[np.float32]]] = {}
    count = len(range(rank() * config.batch_size, len(images), world_size() * config.batch_size))
    scored = score_images(method, images.images, *how, (rank(), world_size()))
    for start, scores in track(scored, f"scoring {images.name}", count):
        rows = slice(start, start + len(scores.image))
        columns[start], maps = columns_of(scores, images.ids[rows], config.method_name, size, config.precision)
        image_evaluator.update(scores.image, images.labels[rows])
        if maps is None or pixel_evaluator is None or images.masks is None:
            continue
        masks = images.masks[rows].astype(bool)
        pixel_evaluator.update(maps, masks)
        if of_images:
            by_image.update(start, maps, masks)
            of_lesions.update(start, maps, masks)
    whole = dict(sorted(batch for part in all_gather(columns) for batch in part.items()))
    table = _table(images, list(whole.values()))
    metrics: dict[str, float | None] = {"image_accuracy": None}
    metrics |= {name: float(value) for name, value in image_evaluator.compute().items()}
    histogram = pixel_evaluator.total() if pixel_evaluator is not None else None
    pixel = pixel_metrics(histogram) if histogram is not None else {}
    metrics |= {name: estimate.value for name, estimate in pixel.items()}
    half_widths = {name: estimate.half_width for name, estimate in pixel.items()}
    if histogram is None or not of_images:
        return Outcome(table, histogram, None, None, metrics, half_widths)
    for other in all_gather(by_image):
        by_image.merge(other)
    found = of_lesions.outcome()
    metrics |= found.metrics
    return Outcome(table.assign(**found.overlap), histogram, by_image.total(), found, metrics, half_widths)


def _table(images: ImageSet, batches: list[dict[str, NDArray[np.float32]]]) -> pd.DataFrame:
    """Return one row per image."""
    table = pd.DataFrame({"image": images.ids, "label": images.labels})
    for name in ("score", "map_max", "map_mean"):
        parts = [columns[name] for columns in batches if name in columns]
        table[name] = np.concatenate(parts) if parts else np.nan
    table["patient"] = pd.array([item.patient for item in images.items], dtype="string")
    table["subgroup"] = pd.array([item.subgroup for item in images.items], dtype="string")
    if images.masks is not None:
        table["lesion_area"] = images.masks.sum((1, 2), dtype=np.int64)
    return table
