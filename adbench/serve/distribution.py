"""The scores of a record's held-out and test images: where a new score stands, and what a threshold would mean."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.records.held_out import held_out, thresholds
from adbench.records.record import Record
from adbench.statistics.figures import share
from adbench.statistics.patients import Groups, group

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Known:
    """Scored images with labels: `name` says which ("held-out", "test"), `why` why there are none."""

    name: str
    scores: Scores
    labels: NDArray[np.bool_]
    groups: Groups
    why: str = ""

    def at(self, threshold: float) -> dict[str, Any]:
        """Return sensitivity and specificity at a threshold of the image score, each with its interval over patients.

        An image whose score reaches the threshold is called abnormal.
        """
        called = self.scores >= np.float32(threshold)
        sensitivity = share(called[self.labels], self.groups[self.labels])
        specificity = share(~called[~self.labels], self.groups[~self.labels])
        return {"sensitivity": asdict(sensitivity), "specificity": asdict(specificity)}

    def json(self) -> dict[str, Any]:
        """Return the scores of both classes, for the browser to draw."""
        normal, abnormal = (self.scores[self.labels == label].tolist() for label in (False, True))
        return {"name": self.name, "normal": normal, "abnormal": abnormal, "why": self.why}


def known(record: Record) -> list[Known]:
    """Return the held-out and the test images of a record; raises RecordError where its tables are damaged."""
    found = held_out(record, maps=False)
    table = record.predictions()
    patients = table["patient"] if "patient" in table else pd.Series([None] * len(table))
    return [
        Known("held-out", found.scores, found.labels, found.groups, found.why),
        Known("test", table["score"].to_numpy(np.float32), table["label"].to_numpy() == 1, group(patients)),
    ]


def starting_points(record: Record) -> dict[str, Any]:
    """Return where the sliders start, as the record's held-out images fix it at a specificity of 0.95, or why not.

    scale: the map values that the darkest and the brightest colour stand for: the 5th percentile of the pixels of
    held-out normal images and the largest map value of any held-out image; None: each map has its own.
    """
    found = held_out(record)
    fixed = thresholds(found)
    scale = None
    if found.upper is not None and found.pixels is not None:
        below = np.cumsum(found.pixels)
        low = float(found.upper[int(np.searchsorted(below, 0.05 * below[-1]))])
        table = record.held_out()
        high = float(table["map_max"].max()) if table is not None and "map_max" in table else math.nan
        scale = [low, high] if math.isfinite(high) and low < high else None
    image, pixel = asdict(fixed.image), asdict(fixed.pixel)
    return {"image": image, "pixel": pixel, "specificity": 0.95, "scale": scale, "source": found.split or found.source}
