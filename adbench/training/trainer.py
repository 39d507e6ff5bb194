"""Lightning's Trainer, as adbench uses it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor

from adbench.config.schema import RunConfig
from adbench.system import finite
from adbench.system.lightning import pl
from adbench.system.progress import bars, stop
from adbench.system.ranks import world_size
from adbench.training.ddp import ExternalLauncher
from adbench.training.half import half_precision

FIRST_SCALE = 1024.0  # of an fp16 loss: no step overflows, and gradients down to 6e-11 survive


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
    given = {k: v for k, v in config.words("trainer").items() if k not in ("devices", "strategy")}
    _hush()
    return pl.Trainer(
        max_epochs=epochs, num_sanity_val_steps=0, default_root_dir=scratch,
        callbacks=[_Progress(), _FiniteLoss(), *callbacks],
        **{**quiet, **_place(device), **_precision(config.precision, device), **given},
    )  # fmt: skip


def place_of(trainer: pl.Trainer) -> str:
    """Return where a training stands, all counted from 1."""
    epoch, batch = trainer.current_epoch + 1, trainer.fit_loop.batch_idx + 1
    return f"step {trainer.global_step + 1} (epoch {epoch} of {trainer.max_epochs}, batch {batch})"


def _place(device: torch.device) -> dict[str, Any]:
    """Return the Trainer's arguments for this process's device and for the other processes of the cell."""
    place: dict[str, Any] = {"accelerator": "cpu" if device.type == "cpu" else "gpu", "devices": 1}
    if world_size() > 1:
        # A support without masks leaves some parameters of some methods without a gradient.
        strategy = DDPStrategy(find_unused_parameters=True, cluster_environment=ExternalLauncher())
        place |= {"devices": world_size(), "strategy": strategy, "use_distributed_sampler": False}
    return place


def _precision(name: str, device: torch.device) -> dict[str, Any]:
    """Return the Trainer's arguments for a precision. By default it takes bfloat16 for fp16 on a CPU.

    Its default loss scale, 65536, would cost fp16 the first one to three steps, and few shots make few steps.
    """
    return {"precision": name} if name == "32-true" else {"plugins": [half_precision(name, device, FIRST_SCALE)]}


def _hush() -> None:
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # In-memory features need no loader processes, and one small loader is not a bottleneck to warn of.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", ".*isinstance\\(treespec, LeafSpec\\).*")
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    os.environ.setdefault("LIGHTNING_TIPS", "0")


class _FiniteLoss(pl.Callback):
    """Stop at the first loss that is not finite, on a CPU before it reaches the weights; see system/finite.py."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (later := finite.collected()) is not None:
            later.begin_step(place_of(trainer))

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        finite.check(("it",), loss.detach().float().reshape(1), loss)  # where a method doesn't look itself

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (later := finite.collected()) is not None and later.due:
            later.read()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (later := finite.collected()) is not None:
            later.read()


class _Progress(pl.Callback):
    """One bar over all epochs, with the running loss."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.display, self.loss = bars(), ""
        self.display.start()
        total = int(trainer.estimated_stepping_batches)
        self.task = self.display.add_task(f"fitting {type(pl_module).__name__}", total=total, note="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        later = finite.collected()
        shown = isinstance(outputs, dict) and "loss" in outputs and not self.display.disable
        if shown and (later is None or later.due):  # to read a loss is to wait for the device
            self.loss = f"  loss {float(outputs['loss']):.3f}"
        note = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}{self.loss}"
        self.display.update(self.task, advance=1, note=note)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        stop(self.display)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "display"):
            stop(self.display)
