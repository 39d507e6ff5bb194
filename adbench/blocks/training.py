"""Training on cached features: batches in random order, AdamW with one drop of the learning rate, clipped gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from adbench.blocks.rows import Rows, in_batches
from adbench.errors import AdbenchError


def require_normal(count: int, method: str) -> None:
    """Raise AdbenchError where a method that learns from normal images was given none."""
    if not count:
        raise AdbenchError(f"{method} has no normal image to learn from: give it at least one, as in shots=1.")


def shuffled(data: Rows, batch_size: int, least: int, generator: torch.Generator) -> DataLoader[list[Tensor]]:
    """Return batches of all rows in random order, repeated in a new order until at least `least` rows are shown."""
    order = RandomSampler(data, num_samples=max(least, len(data)), generator=generator)
    return in_batches(data, batch_size, sampler=order)


def repeated(data: Rows, batch_size: int, steps: int, generator: torch.Generator) -> DataLoader[list[Tensor]]:
    """Return so many full batches of rows in random order, repeated in a new order until there are enough."""
    order = RandomSampler(data, num_samples=steps * batch_size, generator=generator)
    return in_batches(data, batch_size, sampler=order)


def adamw_with_a_drop(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float, epochs: int, decay_at: float
) -> OptimizerLRScheduler:
    """Return AdamW whose learning rate falls once, to a tenth, after the share `decay_at` of the epochs."""
    optimiser = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=True)
    epoch = max(1, round(decay_at * epochs))
    return {"optimizer": optimiser, "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimiser, [epoch], 0.1)}


class ClippedGradients(pl.LightningModule):
    """Inherited next to `Method[Params]`: the norm of the gradient is clipped at `Params.clip_norm`; 0: it is not."""

    params: Any

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm at `clip_norm`, unless `trainer.gradient_clip_val=` is given."""
        limit = self.params.clip_norm if gradient_clip_val is None else gradient_clip_val
        self.clip_gradients(optimizer, limit, gradient_clip_algorithm)
