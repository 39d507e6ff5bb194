"""A cell: one point of the benchmark, resolved against what is on disk, and the key that names its record."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import Any, cast

from adbench import config as configs
from adbench import registry
from adbench.backbone import Backbone
from adbench.config import RunConfig
from adbench.data import support as supports
from adbench.data.fingerprint import digest, fingerprint
from adbench.data.items import DatasetConfig, Item, of_split
from adbench.errors import AdbenchError
from adbench.method import Capability, Method
from adbench.record import SCHEMA
from adbench.remember import remembered
from adbench.sources import ELSEWHERE, FULL, Opened, Source, manifest_of, open_dataset, protocol_of, training
from adbench.trackers import check_logger
from adbench.trainer import check_trainer, trainer_facts
from adbench.weights import Architecture, BackboneConfig, architecture, model_hash, weights_hash

# Facts that say how a trained method is tested, not how it was trained.
OF_THE_TEST = ("dataset", "data", "dataset_facets", "eval_size", "batch_size", "protocol")


@dataclass(frozen=True)
class Cell:
    """Everything a run needs and nothing it changes. `facts` is what the key is made of.

    `held`: the images by which selection=valid chooses the epoch, without the support and its patients.
    """

    config: RunConfig
    method_class: type[Method]
    params: Any
    capability: Capability
    backbone: BackboneConfig
    input_size: int
    weights: str
    protocol: str
    target: Opened
    sources: tuple[Source, ...]
    held: tuple[Item, ...]
    manifest: supports.Manifest
    facts: dict[str, Any]
    notes: tuple[str, ...]
    seconds: float

    @property
    def key(self) -> str:
        """The content hash that names the record: 20 hexadecimal digits."""
        return digest(json.dumps(self.facts, sort_keys=True))[:20]

    @property
    def test(self) -> list[Item]:
        """The items of the test split."""
        return [item for item in self.target.items if item.split == "test"]

    @property
    def dataset(self) -> DatasetConfig:
        """The configuration of the tested dataset."""
        return self.target.config

    @property
    def hashes(self) -> dict[str, str]:
        """Content hashes of the tested dataset's items."""
        return self.target.hashes

    @property
    def training_key(self) -> str | None:
        """What names a training that other cells share: none where the method learns from the tested dataset alone."""
        if self.protocol not in ELSEWHERE:
            return None
        chosen_by_test = self.config.selection in ("oracle", "valid")
        facts = {key: v for key, v in self.facts.items() if chosen_by_test or key not in OF_THE_TEST}
        return digest(json.dumps(facts, sort_keys=True))[:20]

    @property
    def eval_size(self) -> int:
        """Pixels to which maps and masks are resized; `method` means the input size."""
        return self.input_size if self.config.eval_size == "method" else int(self.config.eval_size)


def resolve(config: RunConfig) -> Cell:
    """Resolve a configuration: registry, data on disk, support and weights; runs no model."""
    start = time.perf_counter()
    backbone: BackboneConfig = configs.section_config(BackboneConfig, "backbone", config.backbone, config)
    shape = architecture(backbone, config.backbone)
    method_class, params, capability = resolve_method(config, shape)
    if config.gallery_levels and method_class.level_maps is Method.level_maps:
        raise AdbenchError(f"gallery.levels=true is not possible: {config.method} has no maps of single levels.")
    protocol = protocol_of(config, capability)
    check_trainer(config.overrides.get("trainer", {}))
    check_logger(config)
    notes = []
    if capability.support == "none" and (config.shots or config.draw):
        config = dataclasses.replace(config, shots=0, draw=0)
        notes.append(f"{config.method} learns from no image: shots and draw are set to 0.")
    if protocol in FULL and config.shots != "full":
        config = dataclasses.replace(config, shots="full")
        notes.append("protocol=full_normal takes every normal image of the train split: shots is set to full.")
    if config.shots == "full" and config.draw and not config.support:
        config = dataclasses.replace(config, draw=0)
        notes.append("shots=full takes every image: draw is set to 0.")
    epochs = _epochs(method_class, params)
    config, told = _selection(config, capability, epochs)
    notes += told
    if capability.support != "none" and config.shots == 0:
        raise AdbenchError(f"shots=0: {config.method} learns from support images; give shots=1 or more.")

    target = open_dataset(config.dataset, config)
    of_split(target.items, "test", config.dataset, target.root)
    sources = training(config, capability, protocol, target)
    manifest = manifest_of(sources)
    held = _held(config, target, sources) if config.selection == "valid" else []
    weights = weights_hash(backbone, config.backbone, config.cache_dir)
    input_size = config.input_size or backbone.input_size
    entry = registry.find("method", config.method)
    facts = {
        "schema": SCHEMA,
        "method": entry.name,
        "method_version": method_class.version,
        "params": _plain(params),
        "dataset": config.dataset,
        "data": fingerprint(target.items, target.hashes),
        "dataset_facets": target.config.facets(),
        "protocol": protocol,
        "train_on": "+".join(s.opened.name for s in sources) if protocol in ELSEWHERE else None,
        "sources": [s.opened.config.facets() | {"split": s.split} for s in sources] if protocol in ELSEWHERE else None,
        "support": manifest.hash,
        "seed": config.seed,
        "backbone": config.backbone,
        "weights": weights,
        "model": model_hash(backbone, config.backbone),
        "activation": _native(capability.activation, backbone.activation),
        "normalisation": _native(capability.normalisation, backbone.normalisation),
        "input_size": input_size,
        "eval_size": config.eval_size,
        "precision": config.precision,
        "threads": config.threads,
        "batch_size": config.batch_size,
        "selection": config.selection,
        "schedule": config.schedule,
        "trainer": trainer_facts(config.overrides.get("trainer", {})),
    }
    if source := entry.source(method_class):
        facts["source"] = source
    return Cell(
        config, method_class, params, capability, backbone, input_size, weights, protocol, target, sources, tuple(held),
        manifest, facts, tuple(notes), time.perf_counter() - start,
    )  # fmt: skip


@remembered("method", "schedule", "backbone", "overrides")
def resolve_method(config: RunConfig, shape: Architecture) -> tuple[type[Method], Any, Capability]:
    """Import a method and resolve its parameters and what it declares."""
    method_class = registry.find("method", config.method).load()
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        raise AdbenchError(f"the method {config.method!r} is {method_class!r}, which is no subclass of adbench.Method.")
    params = configs.method_params(method_class.Params, config)
    capability = method_class.capability(params, shape)
    blocks = capability.blocks
    if len(set(blocks)) < len(blocks) or not all(0 <= block <= shape.depth for block in blocks):
        raise AdbenchError(
            f"{config.method} asks for the blocks {list(blocks)}; {config.backbone} has blocks 1 to {shape.depth}, 0 "
            "is what enters the first, and each can be named once."
        )
    return method_class, params, capability


@remembered()
def _plain(params: Any) -> dict[str, Any]:
    return dataclasses.asdict(params)


@remembered()
def _epochs(method_class: type[Method], params: Any) -> int:
    return method_class(params, cast(Backbone, None)).epochs


def _selection(config: RunConfig, capability: Capability, epochs: int) -> tuple[RunConfig, list[str]]:
    rule = config.selection
    if epochs == 0 and rule != "last":
        return dataclasses.replace(config, selection="last"), [
            f"{config.method} has no epochs: selection is set to last."
        ]
    if rule.startswith("fixed:") and int(rule.removeprefix("fixed:")) > epochs:
        raise AdbenchError(
            f"selection={rule} is not possible: {config.method} runs {epochs} epochs here. "
            f"Use selection=fixed:{epochs} or fewer, or method.epochs={rule.removeprefix('fixed:')}."
        )
    if rule == "support_cv" and (capability.support != "both" or config.shots == 1):
        why = "one shot leaves no image to score" if capability.support == "both" else "its support is normal only"
        raise AdbenchError(
            f"selection=support_cv is not possible for {config.method}: {why}. Use selection=last or fixed:N."
        )
    return config, []


def _held(config: RunConfig, target: Opened, sources: tuple[Source, ...]) -> list[Item]:
    support = [item for source in sources if source.opened.name == target.name for item in source.support]
    taken, patients = {item.id for item in support}, {item.patient for item in support} - {None}
    pool = [item for item in target.items if item.split == target.config.support_split]
    held = [item for item in pool if item.id not in taken and item.patient not in patients]
    normal, abnormal = (sum(item.label == label for item in held) for label in (0, 1))
    if not (normal and abnormal):
        raise AdbenchError(
            f"selection=valid is not possible: of the {len(pool)} images in the {target.config.support_split} split of "
            f"{config.dataset}, {normal} normal and {abnormal} abnormal are left without the support and its patients. "
            "Use selection=last, fixed:N or support_cv, or fewer shots."
        )
    return held


def _native(asked: str, own: str) -> str:
    return own if asked == "native" else asked
