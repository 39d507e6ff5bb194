"""Shared trainings: one fitted model that several cells test on different datasets."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from adbench.backbone import chunks
from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.data.fingerprint import digest
from adbench.method import Method
from adbench.plugins import registry, sources
from adbench.system.files import alone, discard, write_atomically
from adbench.system.leases import ahead
from adbench.system.lightning import pl
from adbench.system.ranks import broadcast, rank
from adbench.training.selection import Selection, fit_and_choose, state_of


def fit_once(
    cell: Cell, method: Method[Any], data: DataModule, device: torch.device,
    callbacks: Sequence[pl.Callback] = (), began: float = math.inf,
) -> tuple[Selection, dict[str, Any], bool]:  # fmt: skip
    """Fit a method, or load the same training from an earlier cell; the last value returned says which.

    Only cells that train elsewhere share (`Cell.training_key`), with the same code on the same processor. Of two
    processes the second waits for the first. With `force` a training is reused where it was made after `began`, in
    seconds since 1970: by the running command.
    """
    if cell.training_key is None:
        return *_fitted(cell, method, data, device, callbacks), False
    path = cell.config.cache_dir / "fits" / f"{_name(cell, device)}.safetensors"
    since = began if cell.config.force else -math.inf
    with alone(path) if rank() == 0 else contextlib.nullcontext():
        kept = broadcast(_read(path, since) if rank() == 0 else None)
        if kept is not None:
            state, saved = kept
            method.load_fitted(state)
            method.eval().to(device)
            curve = {int(epoch): figure for epoch, figure in saved["curve"].items()}
            return Selection(saved["rule"], saved["epoch"], curve), saved["last"], True
        chosen, last = _fitted(cell, method, data, device, callbacks)
        text = json.dumps(dataclasses.asdict(chosen) | {"last": last})
        if rank() == 0:
            state = {name: value.contiguous() for name, value in state_of(method).items()}
            # One entry: safetensors writes several in any order, and the same training is to be the same bytes.
            facts = json.dumps({"chosen": text, "sha256": _sum(state, text)})
            write_atomically(path, save(state, metadata={"training": facts}))
        return chosen, last, False


def _fitted(
    cell: Cell, method: Method[Any], data: DataModule, device: torch.device, callbacks: Sequence[pl.Callback]
) -> tuple[Selection, dict[str, Any]]:
    """Fit a method, and drop what only its training needed: what is loaded has none of that."""
    found = fit_and_choose(cell, method, data, device, callbacks)
    method.forget_training()
    return found


def _name(cell: Cell, device: torch.device) -> str:
    """Return the name of a shared training: of its key, and of the code and the processor that make it."""
    entry = registry.find("method", cell.config.method)
    own, on_gpu = sources.of_entry(entry), device.type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else chunks.machine()
    made_by = [sources.of_harness().hash, own.hash if own else cell.source_hash, processor]
    return digest(json.dumps([cell.training_key, *made_by]))[:24]


def _read(path: Path, since: float) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return a kept training: the state, and how its epoch was chosen.

    None where there is none of after `since`, in seconds since 1970, or it is damaged: it is then removed. The file is
    dated by the clock of its file system, which may be another than this machine's.
    """
    try:
        if since > -math.inf and path.stat().st_mtime < since + ahead(path.parent):
            return None
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {})["training"])
        saved = facts["chosen"]
        if facts["sha256"] == _sum(state, saved):
            return state, json.loads(saved)
        why = "its checksum is another"
    except FileNotFoundError as error:
        if not path.is_symlink():
            return None
        why = str(error)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    discard(path, why)
    return None


def _sum(state: Mapping[str, Tensor], saved: str) -> str:
    content = hashlib.sha256(saved.encode())
    for name, value in sorted(state.items()):
        content.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        content.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()
