"""Frozen features, kept on disk: keyed by the weights, the settings, and the exact pixels that enter the network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adbench.backbone import Backbone, Features
from adbench.errors import AdbenchError
from adbench.files import alone, write_atomically
from adbench.progress import track

Track = Callable[[Iterable[int], str, int], Iterator[int]]
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which `precision` (Lightning's name) computes on `device`."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


class FrozenFeatures:
    """Compute the features that a method declared, or read them from `folder` (none: never kept).

    On a CPU each image goes through alone: its features are then the same bits in whatever company it came, so cold,
    warm and absent caches agree exactly. On an accelerator images go in chunks.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: str,
        blocks: tuple[int, ...],
        pooled: bool,
        precision: str,
        folder: Path | None,
    ) -> None:
        self.backbone = backbone
        self.blocks = blocks
        self.pooled = pooled
        self.precision = precision
        device = backbone.device
        self.chunk = 1 if device.type == "cpu" else 64
        facts = [
            weights, backbone.model_hash,
            backbone.activation, backbone.normalisation, backbone.input_size, blocks, pooled, precision,
            torch.get_num_threads() if device.type == "cpu" else torch.cuda.get_device_name(device), torch.__version__,
        ]  # fmt: skip
        signature = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
        self.folder = folder / "features" / signature if folder else None

    @torch.no_grad()
    def __call__(self, images: Tensor, progress: str = "") -> Features:
        """Return the features of (B, 3, H, W) float images in [0, 1], on the CPU. `progress` names the bar, if any."""
        rows: list[dict[str, Tensor]] = []
        starts: Iterable[int] = range(0, len(images), self.chunk)
        total = -(-len(images) // self.chunk)
        for start in track(starts, progress, total) if progress else starts:
            rows += self._chunk(images[start : start + self.chunk])
        stacked = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        pooled = stacked.pop("pooled", None)
        return Features({int(key): tokens for key, tokens in stacked.items()}, pooled)

    def _chunk(self, images: Tensor) -> list[dict[str, Tensor]]:
        paths = [self._path(image) for image in images]
        rows = [self._read(path) for path in paths]
        first = next((path for path, row in zip(paths, rows, strict=True) if path is not None and row is None), None)
        # Of two processes that look at the same images the second finds them computed.
        with alone(self.folder / first.name) if self.folder and first else contextlib.nullcontext():
            if first:
                rows = [self._read(path) if row is None else row for path, row in zip(paths, rows, strict=True)]
            return self._completed(images, paths, rows)

    def _completed(
        self, images: Tensor, paths: list[Path | None], rows: list[dict[str, Tensor] | None]
    ) -> list[dict[str, Tensor]]:
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            with autocast(self.backbone.device, self.precision):
                found = self.backbone.features(images[missing], self.blocks, self.pooled)
            for place, i in enumerate(missing):
                row = {str(block): tokens[place].cpu().contiguous() for block, tokens in found.blocks.items()}
                if found.pooled is not None:
                    row["pooled"] = found.pooled[place].cpu().contiguous()
                rows[i] = row
                path = paths[i]
                if path is not None:
                    write_atomically(path, save(row))
        return [row for row in rows if row is not None]

    def _path(self, image: Tensor) -> Path | None:
        if self.folder is None:
            return None
        content = hashlib.blake2b(image.contiguous().numpy().tobytes(), digest_size=20).hexdigest()
        return self.folder / content[:2] / f"{content}.safetensors"

    def _read(self, path: Path | None) -> dict[str, Tensor] | None:
        if path is None:
            return None
        try:
            row = load_file(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            raise AdbenchError(
                f"the cached features {path} are damaged ({error}). Remove that file and run again."
            ) from error
        with contextlib.suppress(OSError):  # a cache that somebody else owns
            os.utime(path)
        return row
