"""Lightning's Trainer, as adbench uses it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from adbench.config import RunConfig
from adbench.errors import AdbenchError, NumericalError, did_you_mean
from adbench.progress import bars

# Keys of the Trainer that adbench itself sets, each with what to do instead.
OWNED = {
    "max_epochs": "use method.epochs=",
    "precision": "use precision=",
    "accelerator": "use device=",
    "devices": "one cell runs on one device",
    "num_nodes": "one cell runs on one device",
    "strategy": "one cell runs on one device",
    "callbacks": "there is no key for it",
    "logger": "there is no key for it",
    "default_root_dir": "there is no key for it",
}


def check_trainer(extra: Iterable[str]) -> None:
    """Raise for `trainer.X=` keys that the Trainer doesn't have or that adbench sets."""
    allowed = set(pl.Trainer.__init__.__annotations__) - {"return"} - set(OWNED)
    for key in extra:
        if key in OWNED:
            raise AdbenchError(f"trainer.{key} is set by adbench: {OWNED[key]}.")
        if key not in allowed:
            raise AdbenchError(f"unknown key 'trainer.{key}': {did_you_mean(key, allowed)}")


def new_trainer(
    config: RunConfig, epochs: int, device: torch.device, scratch: str, callbacks: Iterable[pl.Callback] = ()
) -> pl.Trainer:
    """Return the Trainer of one fit: the run's precision and device, a progress bar, a stop at a loss gone wrong."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    place = {"accelerator": "cpu" if device.type == "cpu" else "gpu", "devices": 1}
    _hush()
    return pl.Trainer(
        max_epochs=epochs, precision=config.precision,  # type: ignore[arg-type]
        num_sanity_val_steps=0, default_root_dir=scratch,
        callbacks=[_Progress(), _FiniteLoss(), *callbacks], **{**quiet, **place, **config.overrides.get("trainer", {})},
    )  # fmt: skip


def _hush() -> None:
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # In-memory features need no loader processes, and one small loader is not a bottleneck to warn of.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
    os.environ.setdefault("LIGHTNING_TIPS", "0")


class _FiniteLoss(pl.Callback):
    """Stop at the first loss that is not finite, before it reaches the weights."""

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise NumericalError(
                f"the loss of {type(pl_module).__name__} is {float(loss.detach())} at step {trainer.global_step} "
                f"(epoch {trainer.current_epoch}). Try precision=32-true or a smaller learning rate."
            )


class _Progress(pl.Callback):
    """One bar over all epochs, with the running loss."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.display = bars()
        self.display.start()
        total = int(trainer.estimated_stepping_batches)
        self.task = self.display.add_task(f"fitting {type(pl_module).__name__}", total=total, note="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        note = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        if isinstance(outputs, dict) and "loss" in outputs and not self.display.disable:
            note += f"  loss {float(outputs['loss']):.3f}"
        self.display.update(self.task, advance=1, note=note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.display.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "display"):
            self.display.stop()
