from __future__ import annotations

import math

import pytest
import torch

from adbench.blocks.losses import deviation, dice, finite_sum, focal, focal_of_states, siglip
from adbench.errors import LossError


def smoothed_focal(probability: float, mask: int) -> float:
    """The authors' arithmetic for one pixel: a clamped one-hot target, and 1e-5 added."""
    right, wrong = (probability, 1 - probability) if mask else (1 - probability, probability)
    p_t = (1 - 1e-5) * right + 1e-5 * wrong + 1e-5
    return -((1 - p_t) ** 2) * math.log(p_t)


def test_focal_by_hand() -> None:
    p = torch.tensor([[[0.3, 0.6]]])
    by_hand = (smoothed_focal(0.3, 0) + smoothed_focal(0.6, 1)) / 2
    assert float(focal(p.logit(), torch.tensor([[[0, 1]]]))) == pytest.approx(by_hand, rel=1e-5)


def test_focal_of_two_probabilities_by_hand() -> None:
    p = torch.tensor([[0.3, 0.6], [0.7, 0.4]]).view(1, 2, 1, 2)  # normal, abnormal; two pixels
    by_hand = (smoothed_focal(0.7, 1) + smoothed_focal(0.4, 0)) / 2
    assert float(focal_of_states(p, torch.tensor([[[1, 0]]]))) == pytest.approx(by_hand, rel=1e-5)


def test_focal_of_two_probabilities_is_that_of_their_logit() -> None:
    g = torch.Generator().manual_seed(0)
    logits, mask = torch.randn(3, 2, 4, 4, generator=g), torch.rand(3, 4, 4, generator=g) > 0.5
    wanted = focal(logits[:, 1] - logits[:, 0], mask)
    torch.testing.assert_close(focal_of_states(logits.softmax(1), mask), wanted)


@pytest.mark.parametrize("mask", [0, 1])
@pytest.mark.parametrize("sure", [0.0, 4.0, 8.0, 12.0, 16.0, 25.0, 300.0])
def test_focal_keeps_its_digits_where_the_answer_is_sure_and_wrong(sure: float, mask: int) -> None:
    logit = -sure if mask else sure
    wrong = 1 / (1 + math.exp(-sure))
    by_hand = smoothed_focal(1 - wrong if mask else wrong, mask)
    if sure >= 30:
        by_hand = -((1 - 2e-5) ** 2) * math.log(2e-5)
    mine = torch.tensor([[[logit]]], requires_grad=True)
    loss = focal(mine, torch.tensor([[[mask]]]))
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-6)

    exact = torch.tensor([[[logit]]], dtype=torch.float64, requires_grad=True)
    for each in (loss, focal(exact, torch.tensor([[[mask]]]))):
        each.backward()
    assert mine.grad is not None
    assert exact.grad is not None
    assert float(mine.grad) == pytest.approx(float(exact.grad), rel=1e-5, abs=1e-12)


def test_focal_of_certain_answers_is_finite_and_orders_them() -> None:
    right = focal(torch.tensor([[[-200.0]]]), torch.tensor([[[0]]]))
    wrong = focal(torch.tensor([[[-200.0]]]), torch.tensor([[[1]]]))
    assert float(right) == pytest.approx(0, abs=1e-6)
    assert float(wrong) == pytest.approx(-((1 - 2e-5) ** 2) * math.log(2e-5), rel=1e-6)


def test_dice_by_hand_is_the_mean_over_samples() -> None:
    p = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]])
    mask = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    first, second = 1 - (2 * 0.5 + 1) / (1 + 1 + 1), 1 - (0 + 1) / (1 + 0 + 1)
    assert float(dice(p, mask)) == pytest.approx((first + second) / 2)


def test_siglip_by_hand() -> None:
    scores = torch.tensor([[[0.3, -0.2], [0.1, 0.4]]])  # (1, 2 patches, 2 columns)

    def log_sigmoid(x: float) -> float:
        return -math.log1p(math.exp(-x))

    for label, (n, a) in ((0, (1, -1)), (1, (-1, 1))):
        normal = (log_sigmoid(n * 0.3) + log_sigmoid(n * 0.1)) / 2
        abnormal = (log_sigmoid(a * -0.2) + log_sigmoid(a * 0.4)) / 2
        assert float(siglip(scores, torch.tensor([label]))) == pytest.approx(-(normal + abnormal), rel=1e-5)


def test_deviation_by_hand() -> None:
    # From a mean of 1 and a standard deviation of 2 the scores deviate by -1.5, 0.5, 2 and 6.
    scores = torch.tensor([-2.0, 2.0, 5.0, 13.0], requires_grad=True)
    for label, each in ((0, [1.5, 0.5, 2.0, 6.0]), (1, [6.5, 4.5, 3.0, 0.0])):
        labels = torch.full((4,), label)
        assert float(deviation(scores, labels, mean=1, std=2).detach()) == pytest.approx(sum(each) / 4)
    assert float(deviation(scores, labels, mean=1, std=2, margin=2.5).detach()) == pytest.approx((4 + 2 + 0.5) / 4)


def test_beyond_the_margin_an_anomaly_pulls_no_more_and_a_normal_image_does_on_both_sides() -> None:
    scores = torch.tensor([-1.0, 6.0, 4.0, 6.0], requires_grad=True)
    deviation(scores, torch.tensor([0, 0, 1, 1])).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [-0.25, 0.25, -0.25, 0]


@pytest.mark.parametrize(
    ("focal_", "dice_", "message"),
    [
        (math.nan, 1.0, "not finite: focal at block 3 is nan. Try"),
        (1.0, math.inf, "not finite: dice at block 3 is inf. Try"),
        (3e38, 2e38, r"not finite: 3e\+38 \(focal at block 3\) \+ 2e\+38 \(dice at block 3\) overflows. Try"),
    ],
)
def test_a_term_that_is_not_finite_is_named(focal_: float, dice_: float, message: str) -> None:
    with pytest.raises(LossError, match=message):
        finite_sum(**{"focal at block 3": torch.tensor(focal_), "dice at block 3": torch.tensor(dice_)})


def test_terms_in_half_precision_are_summed_in_full() -> None:
    terms = {str(i): torch.tensor(40_000.0, dtype=torch.float16) for i in range(2)}
    assert float(finite_sum(**terms)) == 80_000
