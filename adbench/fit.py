"""From a resolved cell to a fitted method: seeds, backbone, support arrays, Lightning's Trainer."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from adbench.backbone import Backbone
from adbench.cell import Cell
from adbench.config import RunConfig
from adbench.data import arrays
from adbench.data.decode import Filter
from adbench.data.items import DatasetConfig, Item
from adbench.errors import AdbenchError
from adbench.features import FrozenFeatures
from adbench.method import Method, Support
from adbench.trainer import new_trainer


def device_of(config: RunConfig) -> torch.device:
    """Return the device that `device=` names; `auto` takes a CUDA device where there is one."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise AdbenchError(
            "device=cuda is not possible: torch sees no CUDA device here. Use device=cpu or device=auto."
        )
    name = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu" and config.precision == "16-mixed":
        raise AdbenchError(
            "precision=16-mixed is not possible on a CPU, whose half-precision type is bfloat16. "
            "Use precision=bf16-mixed or precision=32-true."
        )
    return torch.device(name)


def new_method(cell: Cell, device: torch.device) -> Method:
    """Build the backbone and the untrained method of a cell, every generator seeded from the cell."""
    torch.set_num_threads(cell.config.threads)
    backbone = Backbone(
        cell.config.backbone, cell.backbone, cell.input_size, cell.capability.activation, cell.capability.normalisation
    ).to(device)
    pl.seed_everything(cell.config.seed, workers=True, verbose=False)
    method = cell.method_class(cell.params, backbone, cell.config.seed)
    method.build()
    folder = cell.config.cache_dir if cell.config.feature_cache else None
    wanted = cell.capability.blocks, cell.capability.pooled
    method.attach(FrozenFeatures(backbone, cell.weights, *wanted, cell.config.precision, folder))
    return method.to(device)


def load_support(
    items: Sequence[Item], hashes: dict[str, str], cache: Path, size: int, resize: Filter, grey: bool,
    dataset: str, config: DatasetConfig,
) -> Support:  # fmt: skip
    """Decode the support at network resolution."""
    what = f"the support of {dataset}"
    n = len(items)
    if n == 0:
        empty = torch.zeros(0, 3, size, size, dtype=torch.uint8)
        return Support(empty, torch.zeros(0, dtype=torch.long), torch.zeros(0, size, size, dtype=torch.bool),
                       torch.zeros(0, dtype=torch.bool), (), (), ())  # fmt: skip
    images = arrays.images(items, hashes, cache, size, resize, grey, what)
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    if config.masks:
        masks = torch.from_numpy(arrays.masks(items, hashes, cache, size, config, what).copy()).bool()
    return Support(
        images=to_tensor(images),
        labels=torch.tensor([item.label for item in items]),
        masks=masks,
        has_mask=torch.full((n,), config.masks),
        ids=tuple(item.id for item in items),
        datasets=(dataset,) * n,
        object_names=(config.object_name,) * n,
    )


def to_tensor(images: Any) -> Tensor:
    """Turn (N, H, W, 3) uint8 into (N, 3, H, W)."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).contiguous()


def fit(method: Method, support: Support, config: RunConfig, device: torch.device) -> None:
    """Run the method's epochs in Lightning's Trainer and let it gather what scoring needs."""
    method.prepare(support)
    if method.epochs > 0:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                new_trainer(config, method.epochs, device, scratch).fit(method)
            except SystemExit as stop:
                # Lightning turns Ctrl-C into an exit and leaves the signal ignored.
                signal.signal(signal.SIGINT, signal.default_int_handler)
                raise KeyboardInterrupt from stop
    method.eval().to(device)
    method.memorise(support)
