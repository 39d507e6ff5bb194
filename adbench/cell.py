"""A cell: one point of the benchmark, resolved against what is on disk, and the key that names its record."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import Any, cast

from adbench import registry, sections
from adbench.backbone import Backbone
from adbench.config import RunConfig
from adbench.data import support as supports
from adbench.data.fingerprint import digest, fingerprint
from adbench.data.items import DatasetConfig, Item, of_split
from adbench.errors import AdbenchError
from adbench.method import Capability, Method, defining
from adbench.record import SCHEMA
from adbench.remember import remembered
from adbench.sources import (
    ELSEWHERE,
    FULL,
    LEARNS,
    Opened,
    Source,
    is_diagonal,
    manifest_of,
    names_of,
    open_dataset,
    protocol_of,
    training,
)
from adbench.training.holdout import Held, folds, held_hash, held_out
from adbench.training.trackers import check_logger
from adbench.training.trainer import check_trainer, trainer_facts
from adbench.weights import Architecture, BackboneConfig, architecture, model_hash, weights_hash

# Facts that say how a trained method is tested, not how it was trained; the latter also choose an epoch.
OF_THE_TEST = ("dataset", "data", "dataset_facets", "protocol")
OF_SCORING = ("eval_size", "batch_size")


@dataclass(frozen=True)
class Cell:
    """Everything a run needs and nothing it changes. `facts` is what the key is made of.

    `held`: by source, the images by which selection=valid chooses the epoch, without the support and its patients.
    `source_hash`: of a method of somebody's package, see `registry.Entry.source_hash`.
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
    held: tuple[Held, ...]
    manifest: supports.Manifest
    facts: dict[str, Any]
    source_hash: str | None
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
        rule = self.config.selection
        apart: tuple[str, ...] = () if rule == "oracle" else OF_THE_TEST
        if rule == "last" or rule.startswith("fixed:"):
            apart += OF_SCORING
        facts = {key: v for key, v in self.facts.items() if key not in apart}
        return digest(json.dumps(facts, sort_keys=True))[:20]

    @property
    def eval_size(self) -> int:
        """Pixels to which maps and masks are resized; `method` means the input size."""
        return self.input_size if self.config.eval_size == "method" else int(self.config.eval_size)


@dataclass(frozen=True)
class Settled:
    """What a configuration comes to before anything on disk is opened; `notes` say what was changed in it."""

    config: RunConfig
    method_class: type[Method]
    params: Any
    capability: Capability
    backbone: BackboneConfig
    protocol: str
    notes: tuple[str, ...]


def resolve(config: RunConfig) -> Cell:
    """Resolve a configuration: registry, data on disk, support and weights; runs no model."""
    return complete(settle(config))


def settle(config: RunConfig) -> Settled:
    """Resolve what the words alone decide; raises AdbenchError for words that can't be used."""
    backbone: BackboneConfig = sections.section_config(BackboneConfig, "backbone", config.backbone, config)
    shape = architecture(backbone, config.backbone)
    method_class, params, capability = resolve_method(config, shape)
    if config.gallery_levels and method_class.level_maps is Method.level_maps:
        raise AdbenchError(
            f"gallery.levels=true is not possible: {config.method} has no maps of single levels. Methods that have: "
            f"{', '.join(defining('level_maps'))}."
        )
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
    if config.draw and (config.shots == "full" or config.support):
        why = f"support={config.support} names its images" if config.support else "shots=full takes every image"
        config = dataclasses.replace(config, draw=0)
        notes.append(f"{why}: draw is set to 0.")
    epochs = _epochs(method_class, params)
    config, told = _selection(config, capability, epochs)
    notes += told
    if capability.support != "none" and config.shots == 0:
        raise AdbenchError(f"shots=0: {config.method} learns from support images; give shots=1 or more.")
    return Settled(config, method_class, params, capability, backbone, protocol, tuple(notes))


def complete(settled: Settled) -> Cell:
    """Open what a settled configuration names: data, support and weights."""
    start = time.perf_counter()
    config, protocol, notes = settled.config, settled.protocol, list(settled.notes)
    # Before the data, whose reading may take minutes: of the file as it was imported.
    source_hash = registry.find("method", config.method).source_hash(settled.method_class)
    target = open_dataset(config.dataset, config)
    of_split(target.items, "test", config.dataset, target.root)
    sources = training(config, settled.capability, protocol, target)
    taken = {source.opened.name for source in sources}
    if protocol == "leave_one_out" and (same := [one for one in names_of(config, target) if one not in taken]):
        what = f"{', '.join(same)} show{'s' * (len(same) == 1)} the organ of {config.dataset}"
        notes.append(f"{what} ({target.config.organ}): not trained on.")
    if is_diagonal(config, protocol):
        notes.append("where train_on= is the tested dataset, cross_dataset is the diagonal of its matrix: no transfer.")
    manifest = manifest_of(sources)
    held = held_out(sources, protocol) if config.selection == "valid" else ()
    facts = _facts(settled, target, sources, held, manifest)
    return Cell(
        config, settled.method_class, settled.params, settled.capability, settled.backbone, facts["input_size"],
        facts["weights"], protocol, target, sources, held, manifest, facts, source_hash, tuple(notes),
        time.perf_counter() - start,
    )  # fmt: skip


def _facts(
    settled: Settled, target: Opened, sources: tuple[Source, ...], held: tuple[Held, ...], manifest: supports.Manifest
) -> dict[str, Any]:
    """Return everything that can change a cell's result: its key is the hash of this."""
    config, capability, backbone, protocol = settled.config, settled.capability, settled.backbone, settled.protocol
    entry = registry.find("method", config.method)
    facts = {
        "schema": SCHEMA,
        "method": entry.name,
        "method_version": settled.method_class.version,
        "params": _plain(settled.params),
        "dataset": config.dataset,
        "data": fingerprint(target.items, target.hashes),
        "dataset_facets": target.config.facets(),
        "protocol": protocol,
        "train_on": "+".join(s.opened.name for s in sources) if protocol in ELSEWHERE else None,
        "sources": [s.opened.config.facets() | {"split": s.split} for s in sources] if protocol in ELSEWHERE else None,
        "support": manifest.hash,
        "seed": config.seed,
        "backbone": config.backbone,
        "weights": weights_hash(backbone, config.backbone, config.cache_dir),
        "model": model_hash(backbone, config.backbone),
        "activation": _native(capability.activation, backbone.activation),
        "normalisation": _native(capability.normalisation, backbone.normalisation),
        "input_size": config.input_size or backbone.input_size,
        "eval_size": config.eval_size,
        "precision": config.precision,
        "threads": config.threads,
        "batch_size": config.batch_size,
        "selection": config.selection,
        "schedule": config.schedule,
        "trainer": trainer_facts(config.overrides.get("trainer", {})),
    }
    if source := entry.source(settled.method_class):
        facts["source"] = source
    if config.selection == "support_cv":
        facts["held"] = digest(str(folds(sources, config.method).tolist()))
    elif held and protocol in ELSEWHERE:  # what else a tested dataset holds is in `data`
        facts["held"] = held_hash(held)
    return facts


@remembered("method", "schedule", "backbone", "overrides")
def resolve_method(config: RunConfig, shape: Architecture) -> tuple[type[Method], Any, Capability]:
    """Import a method and resolve its parameters and what it declares."""
    method_class = registry.find("method", config.method).load()
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        raise AdbenchError(f"the method {config.method!r} is {method_class!r}, which is no subclass of adbench.Method.")
    params = sections.method_params(method_class.Params, config)
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
    if rule == "support_cv" and capability.support != "both":
        raise AdbenchError(
            f"selection=support_cv is not possible for {config.method}: it learns from {LEARNS[capability.support]}. "
            "Use selection=last or fixed:N."
        )
    return config, []


def _native(asked: str, own: str) -> str:
    return own if asked == "native" else asked
