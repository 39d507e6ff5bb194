"""Phantoms, drawn for one examination, and backbones on which methods are examined."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adbench.backbone.build import build
from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import architecture
from adbench.config import layers
from adbench.config.schema import OWN, RunConfig
from adbench.config.words import parse
from adbench.conformance.wiring import rewire, rewired, wiring
from adbench.data.decode import read_image
from adbench.data.image_set import to_tensor
from adbench.data.indexed import phantom_drawer
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import read_masks
from adbench.data.shrink import resized
from adbench.method import Capability, Support

SHOTS = 3
PROBES = 6
LARGE = 33  # images of a large batch: one more than runs have by default


@dataclass(frozen=True)
class Picture:
    """One phantom at network resolution: (H, W, 3) uint8, its label, its mask (H, W) bool and its id."""

    id: str
    label: int
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Built:
    """A backbone, and its weights and wiring as it was built."""

    backbone: Backbone
    weights: dict[str, Tensor]
    modules: list[tuple[str, nn.Module, dict[str, Any]]]

    @classmethod
    def of(cls, backbone: Backbone) -> Built:
        """Keep a newly built backbone."""
        return cls(backbone, {k: v.clone() for k, v in backbone.model.state_dict().items()}, wiring(backbone.model))


@dataclass
class Bench:
    """A few phantoms of one dataset, half of them abnormal, and a backbone; see `new_bench`."""

    run: RunConfig
    backbone: BackboneConfig
    dataset: DatasetConfig
    support: Sequence[Picture]
    probes: Sequence[Picture]
    built: dict[tuple[str, str], Built] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture:
        """The backbone's shape."""
        return architecture(self.backbone, self.run.backbone)

    def backbone_for(self, capability: Capability) -> Backbone:
        """Return the backbone with the activation and normalisation that a method asks for, built once."""
        wanted = capability.activation, capability.normalisation
        if wanted not in self.built:
            backbone = build(self.run.backbone, self.backbone, self.backbone.input_size, *wanted)
            self.built[wanted] = Built.of(backbone)
        return self.built[wanted].backbone

    def own(self, config: BackboneConfig) -> Backbone:
        """Return what stands in place of a backbone for a method that brings its own network."""
        wanted = json.dumps(dataclasses.asdict(config)), OWN
        if wanted not in self.built:
            self.built[wanted] = Built.of(build(OWN, config, self.backbone.input_size))
        return self.built[wanted].backbone

    def damage(self, backbone: Backbone) -> str | None:
        """Return how a method has changed a backbone of this bench, or None."""
        (built,) = (one for one in self.built.values() if one.backbone is backbone)
        model = backbone.model
        if changed := rewired(built.modules):
            return f"{changed} in the backbone"
        for name, value in model.state_dict().items():
            if not torch.equal(value, built.weights[name]):
                return f"{name} of the backbone changed by the fit"
        for name, module in model.named_modules():
            if module.training:
                return f"the backbone in training mode after the fit ({name or 'as a whole'})"
        for name, parameter in model.named_parameters():
            if parameter.requires_grad or parameter.grad is not None:
                return f"{name} of the backbone asked for a gradient"
        return None

    def restore(self) -> None:
        """Restore the weights, the wiring and the state of every backbone."""
        for built in self.built.values():
            rewire(built.modules)
            built.backbone.model.load_state_dict(built.weights)
            built.backbone.model.eval().requires_grad_(False).zero_grad()

    def support_of(
        self, classes: Sequence[int], shots: int = SHOTS, masks: bool = True, others: bool = False
    ) -> Support:
        """Return `shots` (at most `SHOTS`) support images of each of the classes, with masks or without.

        `others`: those after the first `SHOTS`, which no other support has.
        """
        of_class = [[p for p in self.support if p.label == label] for label in classes]
        chosen = [p for pictures in of_class for p in pictures[SHOTS if others else 0 :][: min(shots, SHOTS)]]
        n, size = len(chosen), self.backbone.input_size
        where = torch.zeros(n, size, size, dtype=torch.bool)
        if masks and n:
            where = torch.from_numpy(np.stack([p.mask for p in chosen]))
        return Support(
            images=to_tensor(np.stack([p.pixels for p in chosen])) if n else _no_images(size),
            labels=torch.tensor([p.label for p in chosen], dtype=torch.long),
            masks=where,
            has_mask=torch.full((n,), masks),
            ids=tuple(p.id for p in chosen),
            datasets=(self.run.dataset,) * n,
            object_names=(self.dataset.object_name,) * n,
        )

    def images(self) -> NDArray[np.uint8]:
        """Return the images that are scored, (N, H, W, 3) uint8."""
        return np.stack([p.pixels for p in self.probes])

    def strangers(self) -> NDArray[np.uint8]:
        """Return images unlike any phantom, of the shape of `images`: black, white, and noise."""
        images = np.random.default_rng(0).integers(0, 256, self.images().shape, dtype=np.uint8)
        images[0], images[1] = 0, 255
        return images


def new_bench(backbone: BackboneConfig | None = None, words: Sequence[str] = ()) -> Bench:
    """Draw a few phantoms of the default dataset into a temporary folder and read them back, without any cache.

    words: those of `backbone=` and `backbone.X=`; by default the images go through phantom-clip.
    """
    (run,) = parse(list(words))
    facts = layers.section(DatasetConfig, "dataset", run.dataset)
    backbone = backbone or layers.section(BackboneConfig, "backbone", run.backbone, run.words("backbone"))
    dataset = phantom_drawer(run.dataset, facts)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantoms"
        dataset.draw_phantom(root, {"train": 0, "valid": 4 * SHOTS, "test": PROBES})
        items = dataset.index(root)
        drawn = {
            split: [_picture(item, backbone.input_size, facts) for item in items if item.split == split]
            for split in ("valid", "test")
        }
    return Bench(
        dataclasses.replace(run, overrides={"backbone": run.words("backbone")}),
        backbone,
        facts,
        drawn["valid"],
        drawn["test"],
    )


def half_masked(support: Support) -> Support:
    """Return the same images, every second of them without a mask, as where one of two datasets has none."""
    some = torch.arange(len(support)) % 2 == 0
    return dataclasses.replace(support, masks=support.masks & some[:, None, None], has_mask=some)


def renamed(support: Support, every: int) -> Support:
    """Return the same images, each `every`th of them said to be of another dataset and to show another object."""
    moved = [(i + 1) % every == 0 for i in range(len(support))]
    datasets = tuple("second" if other else own for other, own in zip(moved, support.datasets, strict=True))
    objects = tuple("Retina" if other else own for other, own in zip(moved, support.object_names, strict=True))
    ids = tuple(f"{dataset}:{id}" for dataset, id in zip(datasets, support.ids, strict=True))
    return dataclasses.replace(support, ids=ids, datasets=datasets, object_names=objects)


def _picture(item: Item, size: int, facts: DatasetConfig) -> Picture:
    mask = np.zeros((size, size), np.bool_)
    if item.mask is not None:
        mask, _ = resized(read_masks(item.mask, facts).pixels, size, size)
    return Picture(item.id, item.label, read_image(item.path, size), mask)


def _no_images(size: int) -> Tensor:
    return torch.zeros(0, 3, size, size, dtype=torch.uint8)
