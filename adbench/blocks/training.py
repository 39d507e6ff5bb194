"""Training on cached features: batches in random order, and AdamW with one drop of the learning rate (UniAD)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset


def shuffled(
    data: TensorDataset, batch_size: int, least: int, generator: torch.Generator
) -> DataLoader[tuple[Tensor, ...]]:
    """Return batches of all rows in random order, repeated in a new order until at least `least` rows are shown."""
    order = RandomSampler(data, num_samples=max(least, len(data)), generator=generator)
    return DataLoader(data, batch_size, sampler=order)


def adamw_with_a_drop(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float, epochs: int, decay_at: float
) -> OptimizerLRScheduler:
    """Return AdamW whose learning rate falls once, to a tenth, after the share `decay_at` of the epochs."""
    optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay)
    epoch = max(1, round(decay_at * epochs))
    return {"optimizer": optimiser, "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimiser, [epoch], 0.1)}
