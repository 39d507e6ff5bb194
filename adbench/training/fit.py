"""From a resolved cell to a fitted method: seeds, backbone, support arrays, Lightning's Trainer."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from adbench.backbone import Backbone
from adbench.cell import Cell
from adbench.config import RunConfig
from adbench.data import arrays
from adbench.errors import AdbenchError, LossError, NumericalError
from adbench.features import FrozenFeatures
from adbench.method import Method, Support
from adbench.training.ddp import Shares, Weigh
from adbench.training.ranks import agreed, rank, world
from adbench.training.trainer import new_trainer, place_of


def device_of(config: RunConfig) -> torch.device:
    """Return the device that `device=` names; `auto` takes a CUDA device where there is one, each process its own."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise AdbenchError(
            "device=cuda is not possible: torch sees no CUDA device here. Use device=cpu or device=auto."
        )
    name = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", rank()) if name == "cuda" and world() > 1 else torch.device(name)


def set_up_torch(config: RunConfig) -> None:
    """Set what torch keeps for this whole process: its threads, and fp32 on a GPU that is fp32 and not TF32.

    By itself torch rounds what enters a convolution in cuDNN to 10 bits, the patches' embedding among them.
    """
    torch.set_num_threads(config.threads)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def new_method(cell: Cell, device: torch.device) -> Method:
    """Build the backbone and the untrained method of a cell, every generator seeded from the cell."""
    set_up_torch(cell.config)
    backbone = Backbone(
        cell.config.backbone, cell.backbone, cell.input_size, cell.capability.activation, cell.capability.normalisation
    ).to(device)
    pl.seed_everything(cell.config.seed, workers=True, verbose=False)
    method = cell.method_class(cell.params, backbone, cell.config.seed)
    method.loader_workers = cell.config.loader_workers
    method.build()
    folder = cell.config.cache_dir if cell.config.feature_cache else None
    wanted = cell.capability.blocks, cell.capability.pooled
    method.attach(FrozenFeatures(backbone, cell.weights, *wanted, cell.config.precision, folder))
    return method.to(device)


def load_support(cell: Cell) -> Support:
    """Decode what the method learns from, at network resolution; ids of several datasets read `dataset:id`."""
    rows = [(source.opened, item) for source in cell.sources for item in source.support]
    n, size, can, cache = len(rows), cell.input_size, cell.capability, cell.config.cache_dir
    images = torch.empty(n, 3, size, size, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 1, dtype=torch.bool).expand(n, size, size)  # no memory where no dataset has masks
    if any(source.opened.config.masks for source in cell.sources):
        masks = torch.zeros(n, size, size, dtype=torch.bool)
    start = 0
    for source in cell.sources:
        items, hashes, facts = source.support, source.opened.hashes, source.opened.config
        own, what = slice(start, start + len(items)), f"the support of {source.opened.name}"
        decoded = arrays.images(items, hashes, cache, size, can.resize, can.grey, what)
        images.numpy()[own] = np.moveaxis(decoded, 3, 1)
        if facts.masks:
            masks.numpy()[own] = arrays.masks(items, hashes, cache, size, facts, what)
        start = own.stop
    return Support(
        images=images,
        labels=torch.tensor([item.label for _, item in rows], dtype=torch.int64),
        masks=masks,
        has_mask=torch.tensor([bool(opened.config.masks) for opened, _ in rows], dtype=torch.bool),
        ids=tuple(f"{opened.name}:{item.id}" if len(cell.sources) > 1 else item.id for opened, item in rows),
        datasets=tuple(opened.name for opened, _ in rows),
        object_names=tuple(opened.config.object_name for opened, _ in rows),
    )


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Copy (N, H, W, 3) uint8 into a tensor (N, 3, H, W)."""
    return torch.from_numpy(np.array(np.moveaxis(images, 3, 1), order="C"))


def fit(
    method: Method, support: Support, config: RunConfig, device: torch.device, callbacks: Sequence[pl.Callback] = ()
) -> None:
    """Run the method's epochs in Lightning's Trainer and let it gather what scoring needs.

    Where several processes run the cell, all leave with the state of process 0.
    """
    method.prepare(support)
    shares = Shares(method) if world() > 1 else None
    if method.epochs > 0:
        if shares:
            callbacks = [Weigh(shares), *callbacks]
        with tempfile.TemporaryDirectory() as scratch:
            trainer = new_trainer(config, method.epochs, device, scratch, callbacks)
            try:
                trainer.fit(method, datamodule=shares)
            except LossError as error:
                raise NumericalError(f"{type(method).__name__}, {place_of(trainer)}: {error}") from error
            except SystemExit as stop:
                # Lightning turns Ctrl-C into an exit and leaves the signal ignored.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt from stop
    method.eval().to(device)
    method.memorise(support)
    if shares:
        state = {name: value.cpu() for name, value in method.state_dict().items()}
        method.load_fitted(agreed(state))
        method.to(device)
