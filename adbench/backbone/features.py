"""The cache of frozen features, keyed by the weights, the settings and the exact pixels that enter the network."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.backbone import accelerator, chunks
from adbench.backbone.contract import Backbone, Features, unit_range
from adbench.backbone.intact import Marks, changed
from adbench.backbone.kept import DISK, Kept, Trial, keeping
from adbench.backbone.outputs import Outputs
from adbench.backbone.segment import KEY
from adbench.errors import MethodError
from adbench.system import cores
from adbench.system.progress import track

CPU = "cpu, in chunks"
HALF = "attention in one product"  # how half precision is computed, since its features were last other ones
SPAN = 4  # batches of an accelerator that are looked up in the cache at once
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which `precision` (Lightning's name) computes on `device`.

    On a CPU without torch's cache of cast weights, which threads would share.
    """
    dtype = AUTOCAST[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=device.type != "cpu")


def signature(facts: Mapping[str, Any], processor: str = "") -> str:
    """Return the hash (24 hexadecimal digits) of the settings on which features depend; methods may share them.

    Of `facts` (a cell's will do) only weights, model, activation, normalisation, input_size and precision count, and
    `deterministic` and `compile` where they are there.
    `processor`: an accelerator's name; by default this machine's kind of CPU. Which blocks a method reads is no part.
    """
    names = ("weights", "model", "activation", "normalisation", "input_size", "precision")
    libraries = [version(package) for package in ("open_clip_torch", "timm")]  # which resample positions, for example
    kernels = [f"{name} {facts[name]}" for name in ("deterministic", "compile") if name in facts]
    attention = [] if facts["precision"] == "32-true" else [HALF]
    processor = processor or f"{CPU} {chunks.machine()}"
    content = [*(facts[name] for name in names), processor, torch.__version__, *libraries, *kernels, *attention]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]


def read(backbone: Backbone, images: Tensor, outputs: Outputs) -> Features:
    """Run images (B, 3, H, W) through a backbone for the outputs that are named, on its device, uncached."""
    more = {name: getattr(outputs, name) for name in ("stages", "registers", "vv") if getattr(outputs, name)}
    if outputs.vv:
        more["vv_from"] = outputs.vv_from
    return backbone.features(images, outputs.blocks, outputs.pooled, **more)


class FrozenFeatures:
    """Compute the features that a method declared, or read those that were kept.

    folder: of the cache; without one nothing is kept. where: disk, memory or auto (kept.py). Each part
    (`Outputs.parts`) of an image is kept by itself, so that a method finds what another one has asked for; what an
    image lacks is computed in one pass. On a CPU images go through in chunks of fixed sizes, several at a time on as
    many cores (chunks.py): features are the same bits in whatever company an image came, with any number of cores,
    wherever they are kept, and from cold, warm and absent caches. On an accelerator batches are larger
    (accelerator.py).
    built: the marks of the network as it was built; with them, a network that a method has changed is refused.
    """

    def __init__(
        self,
        backbone: Backbone,
        weights: str,
        outputs: Outputs,
        precision: str,
        folder: Path | None,
        where: str = DISK,
        built: Marks | None = None,
    ) -> None:
        self.backbone = backbone
        self.outputs, self.parts = outputs, outputs.parts
        self.precision, self.where = precision, where
        self.signature = self._signature(weights)
        self.folder = folder / "features" / self.signature if folder else None
        self.built = built

    def _signature(self, weights: str) -> str:
        backbone, device = self.backbone, self.backbone.device
        facts = {
            "weights": weights, "model": backbone.model_hash, "activation": backbone.activation,
            "normalisation": backbone.normalisation, "input_size": backbone.input_size, "precision": self.precision,
            **backbone.kernels,
        }  # fmt: skip
        return signature(facts, torch.cuda.get_device_name(device)) if device.type == "cuda" else signature(facts)

    @functools.cached_property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the chunks in which a CPU computes images: see `chunks.sizes`."""
        return chunks.sizes(
            lambda some: self._computed(some, self.parts), self._name, self.backbone.input_size, self.folder
        )

    @property
    def _name(self) -> str:
        return f"{self.signature} {' '.join(self.parts)}"

    @functools.cached_property
    def kept(self) -> Kept | None:
        """Where features are kept; none without a folder."""
        if self.folder is None:
            return None
        on_cpu, side = self.backbone.device.type == "cpu", self.backbone.input_size
        size = min(self.sizes if on_cpu else accelerator.sizes(side))
        compute: Callable[[Tensor, Sequence[str]], dict[str, Tensor]]
        compute = self._computed if on_cpu else self._on_accelerator
        trial = Trial(lambda some: compute(some, self.parts), size, side, self._name)
        return keeping(self.where, self.folder, self.backbone.fits, trial)

    @property
    def notes(self) -> list[str]:
        """A sentence where images went through the backbone one by one, because their places in a chunk matter here."""
        if self.__dict__.get("sizes") != chunks.ALONE:
            return []
        return ["On this machine features depend on an image's place in a chunk: images were encoded one by one."]

    @torch.no_grad()
    def __call__(self, images: Tensor, progress: str = "", keep: bool | Tensor = True, stay: bool = False) -> Features:
        """Return the features of (B, 3, H, W) images, uint8 or floats in [0, 1], on the CPU.

        `progress` names a bar. keep: look into the cache and add to it; False for images that are never seen again, or
        which of the images (B,) are seen again. stay: what is computed on an accelerator without a cache stays there.
        """
        self.check_frozen()
        if keep is not False and not self.kept:
            keep = False
        if self.backbone.device.type != "cpu" and keep is False:
            parts = self._on_accelerator(images, self.parts, stay, progress)
            return Features.of(parts, self.outputs)
        again = keep if isinstance(keep, Tensor) else torch.full((len(images),), keep)
        work = [
            (compute, rows)
            for compute, some in ((self._chunk, again), (self._uncached, ~again))
            for rows in self._split(some.nonzero()[:, 0])
        ]
        done = cores.each(lambda piece: piece[0](images[piece[1]]), work)
        made: dict[str, Tensor] = {}  # filled piece by piece, so that features are held once
        for (_, rows), piece in zip(work, track(done, progress, len(work)) if progress else done, strict=True):
            for place, row in zip(rows.tolist(), piece, strict=True):
                for part in self.parts:
                    if part not in made:
                        made[part] = row[part].new_empty(len(images), *row[part].shape)
                    made[part][place] = row[part]
        return Features.of(made, self.outputs)

    def check_frozen(self) -> None:
        """Raise MethodError where the network is no longer the one that was built, whose features all methods share."""
        if self.built is not None and (what := changed(self.built, self.backbone.model)):
            raise MethodError(
                f"a method has changed its backbone, which must stay as it was built: {what}. Other methods would read "
                "the features of that from the cache: let the method work on a copy (copy.deepcopy) of what it changes."
            )

    def _split(self, rows: Tensor) -> Sequence[Tensor]:
        """Split the numbers of images into those that are looked up or computed at once."""
        if self.backbone.device.type == "cpu":
            return rows.split(chunks.shared(len(rows), self.sizes, cores.number()))
        return rows.split(SPAN * max(accelerator.sizes(self.backbone.input_size)))

    def _uncached(self, images: Tensor) -> list[dict[str, Tensor]]:
        rows: list[dict[str, Tensor]] = [{} for _ in images]
        self._complete(images, rows)
        return rows

    def _chunk(self, images: Tensor) -> list[dict[str, Tensor]]:
        assert self.kept is not None
        keys = [_key(image) for image in images]
        rows: list[dict[str, Tensor]] = [{} for _ in keys]
        self._read(keys, rows)
        first = next((key for key, row in zip(keys, rows, strict=True) if len(row) < len(self.parts)), None)
        if first is not None:
            with self.kept.alone(first):
                self._read(keys, rows)
                new: dict[str, dict[bytes, Tensor]] = {}
                for i, part, value in self._complete(images, rows):
                    new.setdefault(part, {})[keys[i]] = value
                for part, values in new.items():
                    self.kept.add(part, values)
        return rows

    def _read(self, keys: Sequence[bytes], rows: Sequence[dict[str, Tensor]]) -> None:
        """Add to `rows` the parts that they lack and that are kept."""
        assert self.kept is not None
        for part in self.parts:
            found = self.kept.read(part, {key for key, row in zip(keys, rows, strict=True) if part not in row})
            for key, row in zip(keys, rows, strict=True):
                if key in found:
                    row[part] = found[key]

    def _complete(self, images: Tensor, rows: list[dict[str, Tensor]]) -> list[tuple[int, str, Tensor]]:
        """Compute the parts that `rows` lack, add them, and return them as (row, part, value)."""
        missing = [i for i, row in enumerate(rows) if len(row) < len(self.parts)]
        if not missing:
            return []
        asked = [part for part in self.parts if any(part not in rows[i] for i in missing)]
        some = images[missing]
        if self.backbone.device.type == "cpu":
            made = self._computed(chunks.fill(some, self.sizes), asked)
        else:
            made = self._on_accelerator(some, asked)
        new = [(i, part, made[part][place]) for place, i in enumerate(missing) for part in asked if part not in rows[i]]
        for i, part, value in new:
            rows[i][part] = value
        return new

    def _computed(self, images: Tensor, parts: Sequence[str]) -> dict[str, Tensor]:
        with autocast(self.backbone.device, self.precision):
            features = read(self.backbone, images, self.outputs.only(parts))
        made = dict(features.tensors(self.outputs.vv_from))
        return {part: made[part].contiguous() for part in parts}

    def _on_accelerator(
        self, images: Tensor, parts: Sequence[str], stay: bool = False, progress: str = ""
    ) -> dict[str, Tensor]:
        device, allowed = self.backbone.device, accelerator.sizes(self.backbone.input_size)
        made = accelerator.encoded(lambda some: self._computed(some, parts), images, allowed, device, stay)
        number = -(-len(images) // max(allowed))
        done = list(track(made, progress, number) if progress else made)
        return {part: torch.cat([each[part] for each in done]) for part in parts}


def _key(image: Tensor) -> bytes:
    """Return the hash of an image by which its features are kept: a float image of 8-bit values is the 8-bit one."""
    image = image.cpu().contiguous()
    if image.dtype != torch.uint8:
        eighth = (image * 255).round().clamp(0, 255).to(torch.uint8)
        image = eighth if torch.equal(unit_range(eighth), image) else image
    return hashlib.blake2b(str(image.dtype).encode() + image.numpy().tobytes(), digest_size=KEY).digest()
