"""What is advised where a score or a loss is not finite depends on the precision of the cell."""

from __future__ import annotations

import math

import pytest
import torch

from adbench.errors import LossError, NumericalError
from adbench.method import Scores
from adbench.scoring.score import check_finite

SCORES = Scores(torch.tensor([0.5, math.nan]))


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_half_precision_is_told_to_try_full_precision(precision: str) -> None:
    with pytest.raises(NumericalError, match=r"Ours gives b a score .*\. Try precision=32-true; if it stays, the"):
        check_finite(SCORES, ["a", "b"], "Ours", precision)
    assert LossError("dice is nan").at(precision).endswith("Try precision=32-true or a smaller learning rate.")


def test_full_precision_is_told_nothing_that_it_has() -> None:
    with pytest.raises(NumericalError, match=r"in its batch\)\. At precision=32-true the method divides by zero, or"):
        check_finite(SCORES, ["a", "b"], "Ours", "32-true")
    assert LossError("dice is nan").at("32-true") == "the loss is not finite: dice is nan. Try a smaller learning rate."
