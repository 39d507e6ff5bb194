"""Fitting anomalib's module: a trainer of `lightning`, which is another library than adbench's `pytorch_lightning`."""

from __future__ import annotations

import tempfile
from typing import Any

import lightning.pytorch as lightning
import torch
from anomalib.data import ImageBatch
from torch import Tensor
from torch.utils.data import DataLoader

from adbench.errors import AdbenchError
from adbench.system.lightning import interrupts


class SupportModule(lightning.LightningDataModule):
    """The normal images (N, 3, H, W) of a support, uint8, in shuffled batches, as anomalib's models look for them."""

    category = "support"

    def __init__(self, images: Tensor, batch_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.images = images
        self.train_batch_size = min(batch_size, len(images))
        self.generator = generator

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Return batches of all images; a new loader goes on in the same random order."""
        images: Any = self.images  # a tensor is as good as a dataset
        return DataLoader(images, self.train_batch_size, shuffle=True, generator=self.generator, collate_fn=as_batch)


def as_batch(images: list[Tensor]) -> Any:
    """Return normal images as anomalib's batch, floats in [0, 1]; its pre-processor comes later, as a callback."""
    stacked = torch.stack(images).float() / 255
    return ImageBatch(image=stacked, gt_label=torch.zeros(len(images), dtype=torch.long))


def fit(inner: Any, data: SupportModule, device: torch.device, epochs: int) -> None:
    """Train a module of anomalib's on one device, and leave it there in eval mode, free of its trainer.

    epochs: for a model that doesn't say itself how long it trains.
    """
    asked = dict(inner.trainer_arguments)
    if not {"max_epochs", "max_steps"} & set(asked):
        asked["max_epochs"] = epochs
    accelerator = "gpu" if device.type == "cuda" else device.type
    with tempfile.TemporaryDirectory() as scratch:
        trainer = lightning.Trainer(**asked | {
            "accelerator": accelerator, "devices": [device.index or 0] if accelerator == "gpu" else 1,
            "default_root_dir": scratch, "logger": False, "enable_checkpointing": False, "limit_val_batches": 0,
            "num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False,
        })  # fmt: skip
        with interrupts():
            try:
                trainer.fit(inner, datamodule=data)
            except (ValueError, RuntimeError) as error:
                name, reason = type(inner).__name__, (str(error).splitlines() or ["an error without a word"])[0]
                raise AdbenchError(f"anomalib's {name} can't be fitted to these images: {reason}") from error
    inner._trainer = None
    inner.to(device).eval()
    for module in inner.modules():  # as a record gives them back: other strides have other last bits
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.contiguous())
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.contiguous()
