"""Patient-level metrics: one score and one label for each patient, from those of its images."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError
from adbench.metrics.arrays import as_booleans, as_scores
from adbench.metrics.image import average_precision, f1_max, roc_auc

How = Literal["max", "mean"]
METRICS = ("patient_auroc", "patient_ap", "patient_f1_max")


class Patients(NamedTuple):
    """One row a patient: score (I,), whether any of its images is abnormal (I,), and its number of images (I,)."""

    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.bool_]
    images: npt.NDArray[np.intp]


def by_patient(scores: Any, labels: Any, patients: Any, how: How = "max") -> Patients:
    """Return the score and label of each patient, in the order of their numbers.

    The score is the maximum (or the mean) over the patient's images, the label the maximum: one abnormal image makes
    the patient abnormal.

    Args:
        scores: (N,), finite; higher is more abnormal.
        labels: (N,), boolean or 0/1; true where abnormal.
        patients: (N,), the number of each image's patient, from 0 without a gap, as `adbench.statistics.group` gives
            it: an image of an unknown patient is a patient of its own.
        how: `max` or `mean`.

    Raises:
        AdbenchError: other shapes, a gap in the numbers, or another `how`.
        NumericalError: a score is NaN or infinite.

    >>> by_patient([0.1, 0.4, 0.8], [0, 1, 0], [0, 0, 1]).scores.tolist()
    [0.4, 0.8]
    >>> by_patient([0.1, 0.4, 0.8], [0, 1, 0], [0, 0, 1], how="mean").scores.tolist()
    [0.25, 0.8]

    """
    values, truth = as_scores(scores).astype(np.float64), as_booleans(labels)
    groups = np.asarray(patients)
    if not values.shape == truth.shape == groups.shape or values.ndim != 1 or not values.size:
        raise AdbenchError(
            f"scores, labels and patients have the shapes {values.shape}, {truth.shape} and {groups.shape}; all must "
            "be the same (N,), N >= 1"
        )
    if groups.dtype.kind not in "iu" or groups.min() < 0:
        raise AdbenchError("patients must be numbers from 0; adbench.statistics.group makes them of names.")
    if how not in get_args(How):
        raise AdbenchError(f"how={how} is not known: a patient's score is the max or the mean over its images.")
    images = np.bincount(groups)
    if (images == 0).any():
        raise AdbenchError(
            f"patient {int(np.argmin(images))} of {images.size} has no image; number them without a gap."
        )
    ill = np.bincount(groups, truth) > 0
    if how == "mean":
        return Patients(np.bincount(groups, values) / images, ill, images)
    highest = np.full(images.size, -np.inf)
    np.maximum.at(highest, groups, values)
    return Patients(highest, ill, images)


def patient_metrics(scores: Any, labels: Any, patients: Any, how: How = "max") -> dict[str, float]:
    """Return `patient_auroc`, `patient_ap` and `patient_f1_max`: the image metrics of `by_patient`.

    Raises AdbenchError as `by_patient` does, and where all patients are normal or all abnormal.

    >>> patient_metrics([0.1, 0.4, 0.3], [0, 1, 0], [0, 0, 1])
    {'patient_auroc': 1.0, 'patient_ap': 1.0, 'patient_f1_max': 1.0}
    """
    one = by_patient(scores, labels, patients, how)
    abnormal = int(one.labels.sum())
    if abnormal in (0, one.labels.size):
        raise AdbenchError(
            f"patient-level metrics need abnormal and normal patients; {abnormal} have an abnormal image and "
            f"{one.labels.size - abnormal} have none."
        )
    return {
        "patient_auroc": roc_auc(one.scores, one.labels),
        "patient_ap": average_precision(one.scores, one.labels),
        "patient_f1_max": f1_max(one.scores, one.labels),
    }
