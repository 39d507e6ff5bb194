from __future__ import annotations

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from adbench.blocks.rows import Rows
from adbench.blocks.training import ClippedGradients, adamw_with_a_drop, repeated, shuffled


@pytest.mark.parametrize(("least", "shown"), [(0, 5), (5, 5), (7, 7), (12, 12)])
def test_all_rows_are_shown_then_all_again_in_another_order(least: int, shown: int) -> None:
    data = Rows(torch.arange(5.0))
    batches = shuffled(data, 2, least, torch.Generator().manual_seed(0))
    rows = [int(x) for (batch,) in batches for x in batch]
    assert len(rows) == shown
    assert sorted(rows[:5]) == [0, 1, 2, 3, 4]
    assert len({*rows[5:10]}) == min(5, shown - 5)
    assert rows[5:10] != rows[:5]


def test_the_order_follows_the_generator_and_changes_with_each_epoch() -> None:
    data = Rows(torch.arange(20.0))

    def epochs() -> list[list[float]]:
        loader = shuffled(data, 20, 0, torch.Generator().manual_seed(1))
        return [next(iter(loader))[0].tolist() for _ in range(2)]

    assert epochs() == epochs()
    assert epochs()[0] != epochs()[1]


def test_so_many_full_batches_whatever_the_number_of_rows() -> None:
    batches = repeated(Rows(torch.arange(5.0)), 3, 3, torch.Generator().manual_seed(0))
    rows = [batch.int().tolist() for (batch,) in batches]
    assert [len(batch) for batch in rows] == [3, 3, 3]
    assert sorted([row for batch in rows for row in batch][:5]) == [0, 1, 2, 3, 4]
    few = repeated(Rows(torch.arange(50.0)), 3, 2, torch.Generator().manual_seed(0))
    assert len({float(x) for (batch,) in few for x in batch}) == 6


@pytest.mark.parametrize(("decay_at", "epochs", "full"), [(0.8, 10, 8), (0.5, 5, 2), (1, 4, 4), (0.01, 4, 1)])
def test_the_rate_falls_once_to_a_tenth(decay_at: float, epochs: int, full: int) -> None:
    layer = torch.nn.Linear(1, 1)
    found = adamw_with_a_drop(layer.parameters(), 0.5, 0.25, epochs, decay_at)
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]
    assert isinstance(optimiser, torch.optim.AdamW)
    assert (optimiser.defaults["weight_decay"], optimiser.defaults["betas"]) == (0.25, (0.9, 0.999))
    rates = []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.5] * full + [0.05] * (epochs - full))


@pytest.mark.parametrize(("own", "trainers", "expected"), [(1, None, 1), (0, None, 5), (1, 2.5, 2.5), (9, None, 5)])
def test_the_gradient_is_clipped_at_the_method_s_norm_or_the_trainer_s(own, trainers, expected) -> None:
    method = ClippedGradients()
    method.params = SimpleNamespace(clip_norm=own)
    method.trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    method.configure_gradient_clipping(torch.optim.SGD([weight], 1.0), trainers)
    assert float(weight.grad.norm()) == pytest.approx(expected, rel=1e-5)
