"""Scores of held-out images, from which thresholds and probabilities come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from adbench.cells.cell import Cell
from adbench.data.image_set import ImageSet
from adbench.data.items import Item
from adbench.method import Method, Scores
from adbench.metrics.per_image import ImageHistograms
from adbench.scoring.score import columns_of, score_images
from adbench.system.progress import track
from adbench.system.ranks import all_gather, rank, world_size


@dataclass(frozen=True)
class HeldOutOutcome:
    """What held-out images got.

    table: one row per image: image, label, score, map_max, patient.
    pixels: bin and pixels, of the maps of normal images at evaluation size; None without maps or normal images. A bin
    is the key of a score, shifted right by `shift` bits.
    """

    table: pd.DataFrame
    pixels: pd.DataFrame | None
    shift: int | None


class Tally:
    """Collects scores and normal pixels of images in any order; `result` is the same whatever the order was."""

    def __init__(self, items: Sequence[Item], size: int, precision: str) -> None:
        self.items, self.size, self.precision = items, size, precision
        normal = np.array([item.label == 0 for item in items])
        self.place = np.where(normal, np.cumsum(normal) - 1, -1)  # of a normal image among the normal ones
        self.columns: dict[int, tuple[float, float]] = {}
        self.pixels = ImageHistograms()

    def add(self, rows: Sequence[int], scores: Scores, method: str) -> None:
        """Add the scores of some images, by their place in `items`; NumericalError where one is not finite."""
        columns, maps = columns_of(scores, [self.items[row].id for row in rows], method, self.size, self.precision)
        for at, row in enumerate(rows):
            largest = float("nan") if maps is None else float(columns["map_max"][at])
            self.columns[row] = float(columns["score"][at]), largest
            if maps is not None and self.place[row] >= 0:
                self.pixels.update(int(self.place[row]), maps[at : at + 1], np.zeros_like(maps[at : at + 1], bool))

    def result(self) -> HeldOutOutcome:
        """Return all scores; several processes of one cell put together what each of them added."""
        for other in all_gather(self.pixels):
            self.pixels.merge(other)
        columns = {row: pair for part in all_gather(self.columns) for row, pair in part.items()}
        scores = np.array([columns[row] for row in range(len(self.items))], np.float32).reshape(-1, 2)
        table = pd.DataFrame({
            "image": [item.id for item in self.items],
            "label": np.array([item.label for item in self.items], np.int8),
            "score": scores[:, 0], "map_max": scores[:, 1],
            "patient": pd.array([item.patient for item in self.items], dtype="string"),
        })  # fmt: skip
        if not self.pixels.parts:
            return HeldOutOutcome(table, None, None)
        whole = self.pixels.total()
        bins, at = np.unique(whole.bin, return_inverse=True)
        counts = np.bincount(at, whole.negative).astype(np.int64)
        return HeldOutOutcome(table, pd.DataFrame({"bin": bins, "pixels": counts}), whole.shift)


def score_held_out(cell: Cell, method: Method[Any], images: ImageSet) -> HeldOutOutcome:
    """Score held-out images without a trace in torch's generator; several processes of a cell share the batches."""
    config, tally = cell.config, Tally(images.items, cell.eval_size, cell.config.precision)
    how = images.dataset, images.object_name, config.batch_size, config.precision
    count = len(range(rank() * config.batch_size, len(images), world_size() * config.batch_size))
    devices = [method.backbone.device] if method.backbone.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        scored = score_images(method, images.images, *how, (rank(), world_size()))
        for start, scores in track(scored, f"scoring {images.name}", count):
            tally.add(range(start, start + len(scores.image)), scores, config.method_name)
    return tally.result()
