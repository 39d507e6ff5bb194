"""Patient-level metrics by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from adbench.errors import AdbenchError
from adbench.metrics import by_patient, patient_metrics

SCORES = [0.9, 0.2, 0.5, 0.6, 0.1, 0.3]
LABELS = [1, 0, 0, 0, 0, 1]
PATIENTS = [0, 0, 1, 1, 2, 3]


def test_a_patient_has_the_highest_score_and_label_of_the_images() -> None:
    one = by_patient(SCORES, LABELS, PATIENTS)
    assert one.scores.tolist() == [0.9, 0.6, 0.1, 0.3]
    assert one.labels.tolist() == [True, False, False, True]
    assert one.images.tolist() == [2, 2, 1, 1]
    assert patient_metrics(SCORES, LABELS, PATIENTS)["patient_auroc"] == 0.75, "0.3 lies below 0.6: one pair of four"
    assert patient_metrics(SCORES, LABELS, PATIENTS)["patient_f1_max"] == pytest.approx(0.8)


def test_the_mean_is_another_score() -> None:
    one = by_patient(SCORES, LABELS, PATIENTS, how="mean")
    assert one.scores.tolist() == pytest.approx([0.55, 0.55, 0.1, 0.3])
    assert patient_metrics(SCORES, LABELS, PATIENTS, how="mean")["patient_auroc"] == 0.625, "one pair lost, one tied"


def test_one_image_a_patient_is_the_image_level() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random(50) < 0.4
    scores = rng.normal(size=50) + labels
    owner = rng.permutation(50)
    assert patient_metrics(scores, labels, owner)["patient_auroc"] == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": [1] * 6}, "4 have an abnormal image and 0 have none"),
        ({"labels": [0] * 6}, "0 have an abnormal image and 4 have none"),
        ({"patients": [0, 0, 1, 1, 2, 4]}, "patient 3 of 5 has no image"),
        ({"patients": ["a"] * 6}, "numbers from 0"),
        ({"patients": [-1, 0, 1, 2, 3, 4]}, "numbers from 0"),
        ({"patients": [0]}, "must be the same"),
        ({"how": "median"}, "how=median is not known"),
    ],
)
def test_what_has_no_patient_level_says_why(change: dict, words: str) -> None:
    with pytest.raises(AdbenchError, match=words):
        patient_metrics(**({"scores": SCORES, "labels": LABELS, "patients": PATIENTS} | change))
