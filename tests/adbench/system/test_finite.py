"""Losses that are looked at some steps later: the error still names the step and the term."""

from __future__ import annotations

import math

import pytest
import torch

from adbench.errors import LossError
from adbench.system import finite

GPU = torch.device("cuda")  # none is needed to collect


def step(number: int, **terms: float) -> None:
    later = finite.collected()
    assert later is not None
    later.begin_step(f"step {number}")
    values = torch.tensor(list(terms.values()))
    finite.check(tuple(terms), values, values.sum())


def test_on_a_cpu_a_loss_is_looked_at_at_once() -> None:
    with finite.collecting(torch.device("cpu")):
        assert finite.collected() is None
        with pytest.raises(LossError, match="not finite: it is nan"):
            finite.check(("it",), torch.tensor([math.nan]), torch.tensor(math.nan))


def test_the_first_step_that_is_not_finite_is_named_with_its_term() -> None:
    with finite.collecting(GPU):
        step(1, focal=1.0, dice=2.0)
        step(2, focal=1.0, dice=math.inf)
        step(3, focal=math.nan, dice=math.nan)
        later = finite.collected()
        assert later is not None
        with pytest.raises(LossError, match="not finite: dice is inf. Try") as caught:
            later.read()
        assert caught.value.place == "step 2"
        later.read()  # what was read is dropped
    assert finite.collected() is None


def test_terms_whose_sum_overflows_are_named_together() -> None:
    with finite.collecting(GPU):
        step(1, focal=3e38, dice=2e38)
        later = finite.collected()
        assert later is not None
        with pytest.raises(LossError, match=r"3e\+38 \(focal\) \+ 2e\+38 \(dice\) overflows"):
            later.read()


def test_a_reading_is_due_after_so_many_steps_and_again_after_as_many() -> None:
    with finite.collecting(GPU):
        later = finite.collected()
        assert later is not None
        due = []
        for number in range(1, 2 * finite.EVERY + 2):
            step(number, loss=1.0)
            if later.due:
                due.append(number)
                later.read()
    assert due == [finite.EVERY, 2 * finite.EVERY]


def test_a_number_that_was_collected_keeps_no_graph_alive() -> None:
    with finite.collecting(GPU):
        later = finite.collected()
        assert later is not None
        weight = torch.ones(2, requires_grad=True)
        finite.check(("a", "b"), weight * 2, (weight * 2).sum())
        ((_, _, numbers),) = later._kept
        assert not numbers.requires_grad
        assert numbers.tolist() == [2, 2, 4]
