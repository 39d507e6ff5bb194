"""Image metrics without each patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.auroc import auroc_without_each
from adbench.statistics.jackknife import mean
from adbench.statistics.patients import Groups, renumbered

Floats = NDArray[np.float64]
METRICS = ("image_auroc", "image_ap", "image_f1_max", "image_accuracy")
CHUNK = 32  # patients at a time


def image_figures_without_each(
    scores: Floats,
    labels: NDArray[np.bool_],
    groups: Groups,
    metrics: Sequence[str] = METRICS[:3],
    threshold: float | None = None,
) -> Floats:
    """Return the metrics without each patient, (I, K); NaN where one does not exist because a class is missing.

    scores: (N,), higher is more abnormal. labels: (N,). groups: (N,), the patient of each image: any
    numbers, in whose order the figures are returned.
    threshold: of the accuracy; score >= threshold is abnormal.
    Raises AdbenchError for an unknown metric, and for `image_accuracy` without a threshold.
    """
    columns, groups = [], renumbered(groups)
    for metric in metrics:
        if metric == "image_auroc":
            columns.append(auroc_without_each(scores, labels, groups))
        elif metric in ("image_ap", "image_f1_max"):
            columns.append(_from_curve(scores, labels, groups, metric))
        elif metric == "image_accuracy":
            if threshold is None:
                raise AdbenchError("image_accuracy needs a threshold.")
            right = ((scores >= threshold) == labels).astype(float)
            columns.append(mean(right, groups)[1])
        else:
            raise AdbenchError(f"{metric} is no image metric that has a jackknife; {', '.join(METRICS)} have.")
    return np.stack(columns, axis=1)


def _from_curve(scores: Floats, labels: NDArray[np.bool_], groups: Groups, metric: str) -> Floats:
    order = np.argsort(-scores, kind="stable")
    ordered, truth, owner = scores[order], labels[order], groups[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # tied scores are one threshold
    count = int(groups.max()) + 1
    figures = np.empty(count)
    for start in range(0, count, CHUNK):
        patients = np.arange(start, min(start + CHUNK, count))
        kept = owner != patients[:, None]
        tp, fp = np.cumsum(kept & truth, axis=1), np.cumsum(kept & ~truth, axis=1)
        tp, fp, positives = tp[:, last], fp[:, last], tp[:, -1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            if metric == "image_ap":
                gained = np.diff(tp, axis=1, prepend=0)
                values = np.where(gained > 0, gained * tp / (tp + fp), 0).sum(axis=1) / positives[:, 0]
            else:
                values = (2 * tp / (tp + fp + positives)).max(axis=1)
        figures[patients] = np.where((positives[:, 0] > 0) & (fp[:, -1] > 0), values, np.nan)
    return figures
