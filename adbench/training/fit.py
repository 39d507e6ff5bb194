"""Fitting: build a cell's method, every generator seeded, and run its epochs in Lightning's Trainer."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from adbench.backbone.accelerator import compile_blocks, use_kernels
from adbench.backbone.build import build
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import check_weights
from adbench.cells.cell import Cell
from adbench.config.schema import RunConfig
from adbench.errors import AdbenchError, LossError, NumericalError
from adbench.method import Method, Support, naming_the_method
from adbench.system import cores, finite
from adbench.system.lightning import interrupts, pl
from adbench.system.ranks import broadcast, rank, world_size
from adbench.training.ddp import LossWeighting, ShardedDataModule
from adbench.training.trainer import new_trainer, place_of

TRAINING = "its training (training_step, configure_optimizers, or another function that Lightning calls)"


def device_of(config: RunConfig) -> torch.device:
    """Return the device for `device=`: `auto` is CUDA where torch sees one; each process of a cell takes its own."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise AdbenchError(
            "device=cuda is not possible: torch sees no CUDA device here. Use device=cpu or device=auto."
        )
    name = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", rank()) if name == "cuda" and world_size() > 1 else torch.device(name)


def device_of_run(config: RunConfig) -> torch.device:
    """Return the device of a cell that is to be trained; a key that is for a GPU alone is refused on a CPU."""
    device = device_of(config)
    if device.type == "cpu" and config.kernels:
        words = " ".join(f"{key}={str(value).lower()}" for key, value in config.kernels.items())
        raise AdbenchError(
            f"{words} is not possible on a CPU, where it would change nothing but the key of the cell: it chooses the "
            "kernels of a GPU. Leave it out, or use a machine with a GPU."
        )
    return device


def placed(backbone: Backbone, config: RunConfig, device: torch.device) -> Backbone:
    """Move a backbone to its device; on a GPU with the kernels that the configuration asks for."""
    backbone = backbone.to(device)
    if device.type != "cpu":
        backbone.kernels = config.kernels
        if config.compile:
            compile_blocks(backbone)
    return backbone


def set_up_torch(config: RunConfig, device: torch.device) -> None:
    """Set process-wide options: the number of cores, one thread for each piece of work, and no TF32 on GPUs.

    An accelerator computes one piece after the other.

    With TF32, torch's default in cuDNN, the inputs of convolutions are rounded to 10 bits: the patch embedding is one.
    """
    cores.use(config.cores if device.type == "cpu" else 1)
    if device.type != "cpu":
        use_kernels(config.deterministic)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def new_method(cell: Cell, device: torch.device) -> Method[Any]:
    """Build the backbone and the untrained method of a cell, every generator seeded from the cell."""
    set_up_torch(cell.config, device)
    config, capability = cell.config, cell.capability
    backbone = build(config.backbone, cell.backbone, cell.input_size, capability.activation, capability.normalisation)
    backbone = placed(backbone, config, device)
    check_weights(backbone.weights_path, cell.weights, config.cache_dir)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    with naming_the_method(config.method_name, "__init__"):
        method = cell.method_class.create(
            copy.deepcopy(cell.params), backbone, config.seed, weights=cell.weights, precision=config.precision,
            cache=config.features_dir, kept=config.feature_cache,
        )  # fmt: skip
    method.loader_workers, method.features_gb = config.loader_workers, config.features_gb
    return method


def fit(
    method: Method[Any],
    support: Support,
    config: RunConfig,
    device: torch.device,
    callbacks: Sequence[pl.Callback] = (),
) -> None:
    """Run the method's epochs in Lightning's Trainer and build its memory.

    Where several processes run the cell, all leave with the state of process 0.
    """
    name = type(method).__name__
    with naming_the_method(name, "prepare"):
        method.prepare(support)
    shards = ShardedDataModule(method) if world_size() > 1 else None
    if method.declared.epochs > 0:
        if shards:
            callbacks = [LossWeighting(shards), *callbacks]
        with tempfile.TemporaryDirectory() as scratch:
            trainer = new_trainer(config, method.declared.epochs, device, scratch, callbacks)
            # Of several processes, the others lose their connection when one fails: that is no fault of theirs.
            blamed = naming_the_method(name, TRAINING if world_size() == 1 else None)
            with blamed, interrupts(), finite.collecting(device):
                try:
                    trainer.fit(method, datamodule=shards)
                except LossError as error:
                    raise NumericalError(
                        f"{name}, {error.place or place_of(trainer)}: {error.at(config.precision)}"
                    ) from error
    method.eval().to(device)
    with naming_the_method(name, "build_memory"):
        method.build_memory(support)
    if shards:
        state = {name: value.cpu() for name, value in method.state_dict().items()}
        method.load_fitted(broadcast(state))
        method.to(device)
