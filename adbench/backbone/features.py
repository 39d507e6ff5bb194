"""The cache of frozen features, keyed by the weights, the settings and the exact pixels that enter the network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adbench.backbone.contract import Backbone, Features, Outputs, unit_range
from adbench.system.files import alone, discard, write_atomically
from adbench.system.progress import track

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which `precision` (Lightning's name) computes on `device`."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def signature(facts: Mapping[str, Any], processor: int | str) -> str:
    """Return the hash (24 hexadecimal digits) of the settings on which features depend; methods may share them.

    Of `facts` (a cell's will do) only weights, model, activation, normalisation, input_size and precision count.
    `processor` is the number of threads on a CPU, else the accelerator's name. Which blocks a method reads is no part.
    """
    names = ("weights", "model", "activation", "normalisation", "input_size", "precision")
    libraries = [version(package) for package in ("open_clip_torch", "timm")]  # which resample positions, for example
    content = [*(facts[name] for name in names), processor, torch.__version__, *libraries]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def read(backbone: Backbone, images: Tensor, outputs: Outputs) -> Features:
    """Run images (B, 3, H, W) through a backbone for the outputs that are named, on its device, uncached."""
    more = {name: getattr(outputs, name) for name in ("stages", "registers", "vv") if getattr(outputs, name)}
    if outputs.vv:
        more["vv_from"] = outputs.vv_from
    return backbone.features(images, outputs.blocks, outputs.pooled, **more)


class FrozenFeatures:
    """Compute the features that a method declared, or read them from `folder` (none: never kept).

    Each image and part (`Outputs.parts`) has a file of its own, so that a method finds what another one has asked for;
    what an image lacks is computed in one pass. On a CPU each image goes through alone: its features are then the same
    bits in whatever company it came, so cold, warm and absent caches agree exactly. On an accelerator images go in
    chunks.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: str,
        outputs: Outputs,
        precision: str,
        folder: Path | None,
    ) -> None:
        self.backbone = backbone
        self.outputs, self.parts = outputs, outputs.parts
        self.precision = precision
        device = backbone.device
        self.chunk = 1 if device.type == "cpu" else 64
        self.folder = folder / "features" / self._signature(weights) if folder else None

    def _signature(self, weights: str) -> str:
        backbone, device = self.backbone, self.backbone.device
        facts = {
            "weights": weights, "model": backbone.model_hash, "activation": backbone.activation,
            "normalisation": backbone.normalisation, "input_size": backbone.input_size, "precision": self.precision,
        }  # fmt: skip
        return signature(facts, torch.get_num_threads() if device.type == "cpu" else torch.cuda.get_device_name(device))

    @torch.no_grad()
    def __call__(self, images: Tensor, progress: str = "") -> Features:
        """Return the features of (B, 3, H, W) images, uint8 or floats in [0, 1], on the CPU; `progress` names a bar."""
        rows: list[dict[str, Tensor]] = []
        starts: Iterable[int] = range(0, len(images), self.chunk)
        total = -(-len(images) // self.chunk)
        for start in track(starts, progress, total) if progress else starts:
            rows += self._chunk(images[start : start + self.chunk])
        return Features.of({part: torch.stack([row[part] for row in rows]) for part in self.parts}, self.outputs)

    def _chunk(self, images: Tensor) -> list[dict[str, Tensor]]:
        if self.folder is None:
            rows: list[dict[str, Tensor]] = [{} for _ in images]
            self._complete(images, rows)
            return rows
        stems = [_stem(self.folder, image) for image in images]
        rows = [self._kept(stem) for stem in stems]
        first = next((stem for stem, row in zip(stems, rows, strict=True) if len(row) < len(self.parts)), None)
        if first is not None:
            # Of two processes that look at the same images the second finds them computed.
            with alone(self.folder / first.name):
                for stem, row in zip(stems, rows, strict=True):
                    row |= self._kept(stem, row)
                for i, part, value in self._complete(images, rows):
                    write_atomically(_file(stems[i], part), save({part: value}))
        return rows

    def _complete(self, images: Tensor, rows: list[dict[str, Tensor]]) -> list[tuple[int, str, Tensor]]:
        """Compute the parts that `rows` lack, add them, and return them as (row, part, value)."""
        missing = [i for i, row in enumerate(rows) if len(row) < len(self.parts)]
        if not missing:
            return []
        asked = [part for part in self.parts if any(part not in rows[i] for i in missing)]
        with autocast(self.backbone.device, self.precision):
            features = read(self.backbone, images[missing], self.outputs.only(asked))
        made = dict(features.tensors(self.outputs.vv_from))
        new = [
            (i, part, made[part][place].cpu().contiguous())
            for place, i in enumerate(missing)
            for part in asked
            if part not in rows[i]
        ]
        for i, part, value in new:
            rows[i][part] = value
        return new

    def _kept(self, stem: Path, without: Iterable[str] = ()) -> dict[str, Tensor]:
        """Return the parts of an image that are on disk, those in `without` left out."""
        parts = {part: self._part(stem, part) for part in self.parts if part not in without}
        return {part: value for part, value in parts.items() if value is not None}

    def _part(self, stem: Path, part: str) -> Tensor | None:
        """Read one part of an image from disk; a file that does not hold it is removed, to be made again."""
        path = _file(stem, part)
        try:
            value = load_file(path)[part]
            right = self.backbone.fits(part, tuple(value.shape)) and value.is_floating_point()
            why = f"it holds {value.dtype} of shape {tuple(value.shape)}"
        except FileNotFoundError as error:
            if not path.is_symlink():
                return None
            right, why = False, str(error)
        except (SafetensorError, KeyError, OSError, ValueError) as error:
            right, why = False, f"{type(error).__name__}: {error}"
        if not right:
            discard(path, why)
            return None
        with contextlib.suppress(OSError):  # a cache that somebody else owns
            os.utime(path)
        return value


def _stem(folder: Path, image: Tensor) -> Path:
    """Return what the files of an image's parts have in common: a float image of 8-bit values is the 8-bit one."""
    image = image.cpu().contiguous()
    if image.dtype != torch.uint8:
        eighth = (image * 255).round().clamp(0, 255).to(torch.uint8)
        image = eighth if torch.equal(unit_range(eighth), image) else image
    content = hashlib.blake2b(str(image.dtype).encode() + image.numpy().tobytes(), digest_size=20).hexdigest()
    return folder / content[:2] / content


def _file(stem: Path, part: str) -> Path:
    return stem.with_name(f"{stem.name}.{part}.safetensors")
