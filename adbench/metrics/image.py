"""Image-level metrics, exact, from one score and one label per image; tied scores are one threshold."""

from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError, NumericalError
from adbench.metrics.arrays import Bools, as_booleans, as_scores, require_both_classes

Column = npt.NDArray[np.float64]


def image_metrics(scores: Any, labels: Any, threshold: float | None = None) -> dict[str, float | None]:
    """Return `image_auroc`, `image_ap`, `image_f1_max`, and `image_accuracy` where there is a threshold (else None).

    Args:
        scores: (N,), finite; higher is more abnormal.
        labels: (N,), boolean or 0/1; true where abnormal.
        threshold: score >= threshold is abnormal.

    Raises:
        AdbenchError: one class is missing, or the shapes differ.
        NumericalError: a score is NaN or infinite.

    >>> image_metrics([0.1, 0.4, 0.8], [0, 1, 1])
    {'image_auroc': 1.0, 'image_ap': 1.0, 'image_f1_max': 1.0, 'image_accuracy': None}

    """
    return {
        "image_auroc": roc_auc(scores, labels),
        "image_ap": average_precision(scores, labels),
        "image_f1_max": f1_max(scores, labels),
        "image_accuracy": None if threshold is None else accuracy(scores, labels, threshold),
    }


def roc_auc(scores: Any, labels: Any) -> float:
    """Area under the ROC curve, as the Mann-Whitney statistic with mid-ranks.

    >>> roc_auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    """
    p, n = _ties(scores, labels, "roc_auc")
    size = p + n
    middle = np.cumsum(size) - (size - 1) / 2  # ranks counted from the highest score
    positives, negatives = p.sum(), n.sum()
    lost = (p * middle).sum() - positives * (positives + 1) / 2
    return float(1 - lost / (positives * negatives))


def average_precision(scores: Any, labels: Any) -> float:
    """Sum over thresholds of recall gained times precision, no interpolation.

    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    p, n = _ties(scores, labels, "average_precision")
    t = np.cumsum(p)
    return float((p * t / np.cumsum(p + n)).sum() / t[-1])


def f1_max(scores: Any, labels: Any) -> float:
    """Largest F1 score that any threshold reaches.

    >>> f1_max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.8
    """
    p, n = _ties(scores, labels, "f1_max")
    t = np.cumsum(p)
    return float((2 * t / (np.cumsum(p + n) + t[-1])).max())


def accuracy(scores: Any, labels: Any, threshold: float) -> float:
    """Part of the images on the right side of the threshold (score >= threshold is abnormal); one class is enough.

    >>> accuracy([0.1, 0.5, 0.8], [0, 1, 0], threshold=0.5)
    0.6666666666666666
    """
    if np.isnan(threshold):
        raise NumericalError("accuracy: the threshold is NaN; check the scores it was derived from")
    values, truth = _checked(scores, labels, "accuracy")
    return float(np.mean((values >= threshold) == truth))


def _checked(scores: Any, labels: Any, metric: str) -> tuple[npt.NDArray[Any], Bools]:
    values, truth = as_scores(scores), as_booleans(labels)
    if values.shape != truth.shape or values.ndim != 1 or not values.size:
        raise AdbenchError(
            f"{metric}: scores have shape {values.shape} and labels {truth.shape}; both must be the same (N,), N >= 1"
        )
    # float64 holds every narrower float: no threshold is rounded to the scores' precision
    return values.astype(np.promote_types(values.dtype, np.float64)), truth


def _ties(scores: Any, labels: Any, metric: str) -> tuple[Column, Column]:
    # Abnormal and normal images per distinct score, the highest first.
    values, truth = _checked(scores, labels, metric)
    positives = int(truth.sum())
    require_both_classes(metric, positives, truth.size - positives, "images")
    distinct, at = np.unique(values, return_inverse=True)
    p = np.bincount(at[truth], minlength=distinct.size)[::-1].astype(np.float64)
    n = np.bincount(at[~truth], minlength=distinct.size)[::-1].astype(np.float64)
    return p, n
