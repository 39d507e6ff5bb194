from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch

from adbench.blocks.optimisers import StableAdamW, stable_adamw_along_a_cosine, warm_cosine


def steps(
    optimiser: torch.optim.Optimizer, parameter: torch.Tensor, gradients: list[torch.Tensor]
) -> Iterator[torch.Tensor]:
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimiser.step()
        yield parameter.detach().clone()


@pytest.mark.parametrize("amsgrad", [False, True])
def test_it_is_torchs_adamw_where_no_gradient_stands_out(amsgrad: bool) -> None:
    g = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)
    gradients = [gradient * 0.8**i * (-1) ** (i // 3) for i in range(12)]  # smaller and smaller: g / d stays below 1
    facts = {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-10, "weight_decay": 0.05, "amsgrad": amsgrad}
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    own = steps(StableAdamW([ours], **facts), ours, gradients)
    torchs = steps(torch.optim.AdamW([theirs], **facts), theirs, gradients)
    for found, expected in zip(own, torchs, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_two_steps_by_hand(amsgrad: bool) -> None:
    """Gradients 1, 10, 0.01: the second step is divided; for the third AMSGrad keeps the largest denominator."""
    rate, beta1, beta2, decay = 0.1, 0.9, 0.99, 0.5
    x = torch.tensor([2.0]).requires_grad_()
    optimiser = StableAdamW([x], rate, (beta1, beta2), eps=0.0, weight_decay=decay, amsgrad=amsgrad)
    mean, square, largest, value = 0.0, 0.0, 0.0, 2.0
    excesses = []
    for step, (g, found) in enumerate(
        zip((1.0, 10.0, 0.01), steps(optimiser, x, [torch.tensor([g]) for g in (1.0, 10.0, 0.01)]), strict=True), 1
    ):
        mean, square = beta1 * mean + (1 - beta1) * g, beta2 * square + (1 - beta2) * g * g
        largest = max(largest, square)
        d = math.sqrt((largest if amsgrad else square) / (1 - beta2**step))
        excesses.append(max(1.0, g / d))
        value = value * (1 - rate * decay) - rate / (1 - beta1**step) / excesses[-1] * mean / d
        assert float(found) == pytest.approx(value, rel=1e-5)
    assert excesses == pytest.approx([1, 10 / math.sqrt(0.01 * (0.99 + 100) / (1 - 0.99**2)), 1], rel=1e-6)


def test_the_excess_is_the_root_mean_square_over_one_tensor() -> None:
    """After gradients of ones, a first channel of 7 and three of 1: in the other tensor nothing is divided."""
    a, b = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    optimiser = StableAdamW([a, b], lr=1.0, betas=(0.0, 0.5), eps=0.0, weight_decay=0.0)
    a.grad, b.grad = torch.ones(4), torch.ones(4)
    optimiser.step()
    before = a.detach().clone()
    a.grad, b.grad = torch.tensor([7.0, 1.0, 1.0, 1.0]), torch.ones(4)
    optimiser.step()
    d = ((0.5 * 0.5 + 0.5 * torch.tensor([49.0, 1.0, 1.0, 1.0])) / 0.75).sqrt()  # square after one step: 0.5
    ratio = torch.tensor([7.0, 1.0, 1.0, 1.0]) / d
    excess = ratio.square().mean().sqrt()
    assert excess > 1
    torch.testing.assert_close(a.detach() - before, -ratio / excess)
    torch.testing.assert_close(b.detach(), torch.full((4,), -2.0))


def test_no_gradient_moves_nothing_and_the_state_is_saved() -> None:
    still, moved = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = StableAdamW([still, moved], weight_decay=0.5, amsgrad=True)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = (moved**2).sum()
        loss.backward()
        return loss.detach()

    assert float(optimiser.step(closure)) == 2
    assert still.tolist() == [1, 1]
    again = moved.detach().clone().requires_grad_()
    other = StableAdamW([still, again], weight_decay=0.5, amsgrad=True)
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for one, x in ((optimiser, moved), (other, again)):
        x.grad = torch.tensor([3.0, -1.0])
        one.step()
    assert torch.equal(moved, again)


def test_the_rate_warms_up_and_falls() -> None:
    rates = [warm_cosine(step, 100, 10_000, 0.1) for step in range(10_001)]
    assert rates[0] == 0
    assert rates[33] == pytest.approx(1 / 3)
    assert rates[98] < rates[99] == rates[100] == 1
    assert rates[5050] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert warm_cosine(0, 0, 1, 0.1) == 1
    assert [warm_cosine(step, 1, 9, 0.1) for step in (0, 1)] == [0, 1]
    assert warm_cosine(3, 0, 0, 0.1) == pytest.approx(0.1)  # beyond the end


def test_the_setting_of_dinomaly_and_inp_former() -> None:
    layer = torch.nn.Linear(1, 1)
    made = stable_adamw_along_a_cosine(layer.parameters(), 0.5, 0.25, warm_up=2, steps=6, last=0.1)
    (group,) = made["optimizer"].param_groups
    assert {name: group[name] for name in ("betas", "eps", "weight_decay", "amsgrad")} == {
        "betas": (0.9, 0.999), "eps": 1e-10, "weight_decay": 0.25, "amsgrad": True,
    }  # fmt: skip
    rates = []
    for _ in range(7):
        rates.append(group["lr"])
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.5 * warm_cosine(step, 2, 6, 0.1) for step in range(7)])
    assert made["lr_scheduler"]["interval"] == "step"
