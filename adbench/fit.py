"""From a resolved cell to a fitted method: seeds, backbone, support arrays, Lightning's Trainer."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import tempfile
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from adbench.backbone import Backbone
from adbench.cell import Cell
from adbench.config import RunConfig
from adbench.data import arrays
from adbench.errors import AdbenchError
from adbench.features import FrozenFeatures
from adbench.method import Method, Support
from adbench.ranks import agreed, rank, world
from adbench.shares import Shares, Weigh
from adbench.sources import Source
from adbench.trainer import new_trainer


def device_of(config: RunConfig) -> torch.device:
    """Return the device that `device=` names; `auto` takes a CUDA device where there is one, each process its own."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise AdbenchError(
            "device=cuda is not possible: torch sees no CUDA device here. Use device=cpu or device=auto."
        )
    name = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device("cuda", rank()) if name == "cuda" and world() > 1 else torch.device(name)


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


def load_support(cell: Cell) -> Support:
    """Decode what the method learns from, at network resolution; ids of several datasets read `dataset:id`."""
    parts = [_load(source, cell, len(cell.sources) > 1) for source in cell.sources] or [_nothing(cell.input_size)]
    rows: dict[str, Any] = {}
    for column in dataclasses.fields(Support):
        values = [getattr(part, column.name) for part in parts]
        rows[column.name] = torch.cat(values) if isinstance(values[0], Tensor) else tuple(itertools.chain(*values))
    return Support(**rows)


def _load(source: Source, cell: Cell, prefixed: bool) -> Support:
    items, n, size, name = source.support, len(source.support), cell.input_size, source.opened.name
    cache, facts, what = cell.config.cache_dir, source.opened.config, f"the support of {name}"
    capability = cell.capability
    images = arrays.images(items, source.opened.hashes, cache, size, capability.resize, capability.grey, what)
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    if facts.masks:
        masks = torch.from_numpy(arrays.masks(items, source.opened.hashes, cache, size, facts, what).copy()).bool()
    return Support(
        images=to_tensor(images),
        labels=torch.tensor([item.label for item in items]),
        masks=masks,
        has_mask=torch.full((n,), bool(facts.masks)),
        ids=tuple(f"{name}:{item.id}" if prefixed else item.id for item in items),
        datasets=(name,) * n,
        object_names=(facts.object_name,) * n,
    )


def _nothing(size: int) -> Support:
    none = torch.zeros(0, dtype=torch.bool)
    images = torch.zeros(0, 3, size, size, dtype=torch.uint8)
    return Support(images, none.long(), none.view(0, 1, 1).expand(0, size, size), none, (), (), ())


def to_tensor(images: Any) -> Tensor:
    """Turn (N, H, W, 3) uint8 into (N, 3, H, W)."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).contiguous()


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
            try:
                new_trainer(config, method.epochs, device, scratch, callbacks).fit(method, datamodule=shares)
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
