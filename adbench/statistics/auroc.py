"""AUROC with clustered images: without one patient at a time, and Obuchowski's covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError
from adbench.statistics.patients import Groups, renumbered, sums

Floats = NDArray[np.float64]


def placements(scores: Floats, labels: NDArray[np.bool_]) -> Floats:
    """Return each image's placement value, (N,): the share of the other class that it is ranked rightly against.

    For an abnormal image the normal ones below it, for a normal image the abnormal ones above it; ties count 1/2. The
    mean over either class is the AUROC (DeLong et al., Biometrics 44:837, 1988: V10 and V01).

    >>> placements(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])).tolist()
    [1.0, 0.75, 0.75, 1.0]
    """
    abnormal, normal = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(abnormal) or not len(normal):
        raise AdbenchError("an AUROC needs normal and abnormal images; one class is missing.")
    values = np.empty(len(scores))
    below = np.searchsorted(normal, scores[labels], "left") + np.searchsorted(normal, scores[labels], "right")
    values[labels] = below / (2 * len(normal))
    above = np.searchsorted(abnormal, scores[~labels], "left") + np.searchsorted(abnormal, scores[~labels], "right")
    values[~labels] = 1 - above / (2 * len(abnormal))
    return values


def auroc_without_each(scores: Floats, labels: NDArray[np.bool_], groups: Groups) -> Floats:
    """Return the AUROC without each patient, (I,); NaN where a class would be missing.

    groups: (N,), the patient of each image: any numbers, in whose order the AUROCs are returned. Each
    is the count of rightly ordered pairs less the patient's own, over the pairs that are left.

    >>> scores, labels = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    >>> auroc_without_each(scores, labels, np.array([0, 1, 2, 1])).tolist()
    [0.75, 1.0, 1.0]
    """
    groups = renumbered(groups)
    values = placements(scores, labels)
    m, n = int(labels.sum()), int((~labels).sum())
    # In pairs: an abnormal image has its value times n of them, a normal one its value times m.
    pairs = np.where(labels, values * n, values * m)
    own = sums(pairs, groups)
    m_own, n_own = sums(labels.astype(float), groups), sums((~labels).astype(float), groups)
    for patient in np.flatnonzero((m_own > 0) & (n_own > 0)):  # pairs within the patient are in `own` twice
        some = groups == patient
        own[patient] -= placements(scores[some], labels[some])[labels[some]].sum() * n_own[patient]
    total = values[labels].sum() * n
    left = (m - m_own) * (n - n_own)
    return np.divide(total - own, left, out=np.full(len(own), np.nan), where=left > 0)


def clustered_covariance(scores: Floats, labels: NDArray[np.bool_], groups: Groups) -> Floats:
    """Return the (K, K) covariance of the AUROCs of K scores (K, N) of the same images, clustered by patient.

    groups: (N,), the patient of each image, any numbers. With one image a patient it is DeLong's.
    Source: Obuchowski, Biometrics 53:567 (1997).

    Raises AdbenchError with fewer than two patients that have an abnormal image, or a normal one.
    """
    groups = renumbered(groups)
    values = np.stack([placements(row, labels) for row in scores])
    means = values[:, labels].mean(axis=1, keepdims=True)
    m, n = int(labels.sum()), int((~labels).sum())
    t10 = sums(np.where(labels, values - means, 0.0), groups)
    t01 = sums(np.where(labels, 0.0, values - means), groups)
    i10, i01 = len(np.unique(groups[labels])), len(np.unique(groups[~labels]))
    if min(i10, i01) < 2:
        raise AdbenchError(
            f"{i10} patients have an abnormal image and {i01} a normal one; a covariance needs two of each."
        )
    total = t10.shape[1]
    s10 = i10 / ((i10 - 1) * m) * t10 @ t10.T
    s01 = i01 / ((i01 - 1) * n) * t01 @ t01.T
    s11 = total / (total - 1) * t10 @ t01.T
    return np.asarray(s10 / m + s01 / n + (s11 + s11.T) / (m * n))
