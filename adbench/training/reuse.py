"""Shared trainings: one fitted model that several cells test on different datasets."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.errors import AdbenchError
from adbench.method import Method
from adbench.system.files import alone, write_atomically
from adbench.system.ranks import broadcast, rank
from adbench.training.selection import Selection, fit_and_choose, state_of


def fit_once(
    cell: Cell, method: Method[Any], data: DataModule, device: torch.device,
    callbacks: Sequence[pl.Callback] = (), began: float = math.inf,
) -> tuple[Selection, dict[str, Any], bool]:  # fmt: skip
    """Fit a method, or load the same training from an earlier cell; the last value returned says which.

    Only cells that train elsewhere share (`Cell.training_key`). Of two processes the second waits for the first. With
    `force` a training is reused where it was made after `began`, in seconds since 1970: by the running command.
    """
    if cell.training_key is None:
        return *fit_and_choose(cell, method, data, device, callbacks), False
    path = cell.config.cache_dir / "fits" / f"{cell.training_key}.safetensors"
    with alone(path) if rank() == 0 else contextlib.nullcontext():
        if broadcast(path.is_file() and (not cell.config.force or path.stat().st_mtime >= began)):
            try:
                with safe_open(path, "pt") as file:
                    method.load_fitted({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                    saved = json.loads(file.metadata()["chosen"])
            except (SafetensorError, OSError, KeyError, TypeError) as error:
                raise AdbenchError(
                    f"the shared training {path} is damaged ({error}). Remove it and run again."
                ) from error
            method.eval().to(device)
            curve = {int(epoch): figure for epoch, figure in saved["curve"].items()}
            return Selection(saved["rule"], saved["epoch"], curve), saved["last"], True
        chosen, last = fit_and_choose(cell, method, data, device, callbacks)
        saved = json.dumps(dataclasses.asdict(chosen) | {"last": last})
        if rank() == 0:
            state = {name: value.contiguous() for name, value in state_of(method).items()}
            write_atomically(path, save(state, metadata={"chosen": saved}))
        return chosen, last, False
