"""The cache of frozen features, keyed by the weights, the settings and the exact pixels that enter the network."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adbench.backbone import chunks
from adbench.backbone.contract import Backbone, Features, unit_range
from adbench.backbone.outputs import Outputs
from adbench.system import cores
from adbench.system.files import alone, discard, write_atomically
from adbench.system.progress import track

CPU = "cpu, in chunks"
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which `precision` (Lightning's name) computes on `device`."""
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def signature(facts: Mapping[str, Any], processor: str = CPU) -> str:
    """Return the hash (24 hexadecimal digits) of the settings on which features depend; methods may share them.

    Of `facts` (a cell's will do) only weights, model, activation, normalisation, input_size and precision count.
    `processor`: an accelerator's name. Which blocks a method reads is no part.
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
    what an image lacks is computed in one pass. On a CPU images go through in chunks of fixed sizes, several at a time
    on as many cores (chunks.py): features are the same bits in whatever company an image came, with any number of
    cores, and from cold, warm and absent caches. On an accelerator chunks are larger.
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
        self.signature = self._signature(weights)
        self.folder = folder / "features" / self.signature if folder else None

    def _signature(self, weights: str) -> str:
        backbone, device = self.backbone, self.backbone.device
        facts = {
            "weights": weights, "model": backbone.model_hash, "activation": backbone.activation,
            "normalisation": backbone.normalisation, "input_size": backbone.input_size, "precision": self.precision,
        }  # fmt: skip
        return signature(facts, torch.cuda.get_device_name(device)) if device.type == "cuda" else signature(facts)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the chunks in which a CPU computes images: see `chunks.sizes`."""
        name = f"{self.signature} {' '.join(self.parts)}"
        return chunks.sizes(lambda some: self._computed(some, self.parts), name, self.backbone.input_size, self.folder)

    @property
    def notes(self) -> list[str]:
        """A sentence where images went through the backbone one by one, because their places in a chunk matter here."""
        if self.__dict__.get("sizes") != chunks.ALONE:
            return []
        return ["On this machine features depend on an image's place in a chunk: images were encoded one by one."]

    @torch.no_grad()
    def __call__(self, images: Tensor, progress: str = "", keep: bool = True) -> Features:
        """Return the features of (B, 3, H, W) images, uint8 or floats in [0, 1], on the CPU.

        `progress` names a bar. keep: look into the cache and add to it; False for images that are never seen again.
        """
        on_cpu = self.backbone.device.type == "cpu"
        size = max(self.sizes) if on_cpu else 64
        pieces = [images[start : start + size] for start in range(0, len(images), size)]
        chunk = self._chunk if keep and self.folder else self._uncached
        done = cores.each(chunk, pieces)
        rows = [row for piece in (track(done, progress, len(pieces)) if progress else done) for row in piece]
        return Features.of({part: torch.stack([row[part] for row in rows]) for part in self.parts}, self.outputs)

    def _uncached(self, images: Tensor) -> list[dict[str, Tensor]]:
        rows: list[dict[str, Tensor]] = [{} for _ in images]
        self._complete(images, rows)
        return rows

    def _chunk(self, images: Tensor) -> list[dict[str, Tensor]]:
        assert self.folder is not None
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
        some = images[missing]
        made = self._computed(chunks.fill(some, self.sizes) if self.backbone.device.type == "cpu" else some, asked)
        new = [(i, part, made[part][place]) for place, i in enumerate(missing) for part in asked if part not in rows[i]]
        for i, part, value in new:
            rows[i][part] = value
        return new

    def _computed(self, images: Tensor, parts: Sequence[str]) -> dict[str, Tensor]:
        with autocast(self.backbone.device, self.precision):
            features = read(self.backbone, images, self.outputs.only(parts))
        made = dict(features.tensors(self.outputs.vv_from))
        return {part: made[part].cpu().contiguous() for part in parts}

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
