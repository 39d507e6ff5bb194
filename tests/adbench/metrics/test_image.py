import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from adbench.errors import AdbenchError, NumericalError
from adbench.metrics import accuracy, average_precision, f1_max, image_metrics, roc_auc

# Few different scores, so that ties are everywhere.
cases = st.lists(st.tuples(st.sampled_from([-3.0, -0.0, 0.0, 0.25, 0.3, 7.0, 1e30]), st.booleans()), min_size=2).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


def test_by_hand():
    # from the top: 1 abnormal; 1 abnormal tied with 1 normal; 1 normal
    scores, labels = [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]
    assert roc_auc(scores, labels) == (1 + 1 + 0.5 + 1) / 4
    assert average_precision(scores, labels) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert f1_max(scores, labels) == pytest.approx(2 * 2 / (3 + 2))
    assert accuracy(scores, labels, 0.5) == 0.75
    assert accuracy(scores, labels, 0.50001) == 0.75
    assert accuracy(scores, labels, 0.95) == 0.5


@given(cases)
def test_agrees_with_scikit_learn(rows):
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    _, _, thresholds = precision_recall_curve(labels, scores)
    best = max(f1_score(labels, scores >= t) for t in thresholds)
    assert f1_max(scores, labels) == pytest.approx(best, abs=1e-12)


def test_constant_scores_are_worth_nothing():
    assert roc_auc([3.0] * 10, [1] * 3 + [0] * 7) == 0.5
    assert average_precision([3.0] * 10, [1] * 3 + [0] * 7) == pytest.approx(0.3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_torch_tensors(dtype):
    scores = torch.tensor([0.1, 0.35, 0.4, 0.8], dtype=dtype, requires_grad=True)
    assert roc_auc(scores, torch.tensor([False, True, False, True])) == 0.75


def test_threshold_is_not_rounded_to_the_precision_of_the_scores():
    assert accuracy(np.array([0.7], np.float32), [1], 0.7) == 0.0  # float32(0.7) is below 0.7
    assert accuracy(np.array([0.1], np.float32), [1], 0.1) == 1.0


@pytest.mark.parametrize("metric", [roc_auc, average_precision, f1_max])
@pytest.mark.parametrize(
    ("labels", "counts"), [([0, 0, 0], "0 abnormal and 3 normal"), ([1, 1, 1], "3 abnormal and 0")]
)
def test_one_class_missing(metric, labels, counts):
    with pytest.raises(AdbenchError, match=f"{metric.__name__} needs .*{counts}.*images"):
        metric([0.1, 0.2, 0.3], labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    with pytest.raises(NumericalError, match=r"2 of 4 values .* index 1"):
        image_metrics([0.1, bad, 0.2, bad], [0, 1, 0, 1])
    with pytest.raises(NumericalError, match="threshold is NaN"):
        accuracy([0.1], [0], np.nan)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [0, 1, 1], r"\(2,\) and labels \(3,\)"),
        ([[0.1, 0.2]], [[0, 1]], r"\(1, 2\)"),
        ([], [], r"\(0,\)"),
        ([0.1, 0.2], [0, 2], "0 or 1, got 2"),
        (["a", "b"], [0, 1], "real numbers"),
        ([0.1, 0.2], ["a", "b"], "boolean"),
    ],
)
def test_wrong_input(scores, labels, message):
    with pytest.raises(AdbenchError, match=message):
        roc_auc(scores, labels)


def test_image_metrics_without_threshold():
    figures = image_metrics([0.1, 0.2, 0.3], [0, 1, 1])
    assert list(figures) == ["image_auroc", "image_ap", "image_f1_max", "image_accuracy"]
    assert figures["image_accuracy"] is None
    assert image_metrics([0.1, 0.2, 0.3], [0, 1, 1], 0.25)["image_accuracy"] == pytest.approx(2 / 3)
