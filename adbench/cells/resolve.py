"""Resolving a cell: check a configuration, then open the data, support and weights that it names. No model runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.backbone.config import NOTHING, Architecture, BackboneConfig
from adbench.backbone.outputs import check_size
from adbench.backbone.weights import architecture, model_hash, weights_hash
from adbench.cells.answers import answer
from adbench.cells.cell import ELSEWHERE, Cell, Holdout, TrainingSet, by_split
from adbench.cells.holdout import folds, holdouts_hash, holdouts_of
from adbench.cells.methods import Asked, ResolvedMethod, own_backbone, random_weights, resolve_method
from adbench.cells.operating import check_operating, operating_facts
from adbench.cells.protocols import (
    is_diagonal,
    manifest_of,
    names_of,
    protocol_of,
    training_sets,
    without_support,
)
from adbench.cells.settle import check_selection, settle
from adbench.config import layers
from adbench.config.schema import OWN, RunConfig
from adbench.config.trackers import check_logger
from adbench.config.trainer import check_trainer, num_devices, trainer_facts
from adbench.config.words import defaults
from adbench.data.decode import DECODING
from adbench.data.fingerprint import content_of, digest
from adbench.data.indexed import IndexedDataset, open_dataset
from adbench.data.support import Manifest
from adbench.data.support_lists import is_named
from adbench.errors import AdbenchError, DataError
from adbench.plugins import registry
from adbench.records.record import SCHEMA
from adbench.system.session import Session
from adbench.system.text import counted


@dataclass(frozen=True)
class CheckedConfig:
    """A configuration that was checked without opening data; `notes` say which keys were changed."""

    config: RunConfig
    method: ResolvedMethod
    backbone: BackboneConfig
    architecture: Architecture
    protocol: str
    notes: tuple[str, ...]


def resolve(config: RunConfig, session: Session | None = None) -> Cell:
    """Resolve a configuration: registry, data on disk, support and weights; runs no model."""
    session = session or Session()
    return open_cell(check_config(config, session), session)


def check_config(config: RunConfig, session: Session) -> CheckedConfig:
    """Check a configuration without opening data; raises AdbenchError for values that can't be used."""
    if "stand_in" in config.words("backbone"):
        raise AdbenchError(
            f"backbone.stand_in= can't be set: {config.backbone}.yaml states it. Leave it out, or write the YAML of a "
            "backbone of your own."
        )
    backbone = NOTHING
    if config.backbone != OWN:
        backbone = session.once(layers.section, BackboneConfig, "backbone", config.backbone, config.words("backbone"))
    shape = session.once(architecture, backbone, config.backbone)
    asked = Asked(config.method, config.schedule, config.words("method"), config.backbone, shape)
    method = session.once(_asked, asked, config.cache_dir, session)
    capability = method.capability
    if capability.own_backbone:
        backbone = session.once(own_backbone, method, config.method_name, config.words("backbone"))
        shape = architecture(backbone, OWN)
        if (devices := num_devices(config.words("trainer"))) > 1:
            raise AdbenchError(
                f"trainer.devices={devices} is not possible: {config.method_name} builds and trains a network of its "
                "own, in one process. Leave it out."
            )
    key, size = ("input_size", config.input_size) if config.input_size else ("backbone.input_size", backbone.input_size)
    check_size(config.backbone, shape, size, key)
    if capability.activation != "native" and backbone.kind != "clip":
        raise AdbenchError(
            f"activation={capability.activation}, which {config.method_name} asks for, is not possible on "
            f"{config.backbone} (kind {backbone.kind}): its activation is its own. Use method.activation=native."
        )
    if config.gallery_levels and not method.level_maps:
        from adbench.method import defining

        raise AdbenchError(
            f"gallery.levels=true is not possible: {config.method_name} has no maps of single levels. "
            f"Methods that have: {', '.join(defining('level_maps'))}."
        )
    if config.compile and backbone.kind not in ("clip", "vit"):
        raise AdbenchError(
            f"compile=true is not possible with backbone={config.backbone} (kind {backbone.kind}): the blocks of a ViT "
            "are compiled. Leave it out."
        )
    protocol = protocol_of(config, capability)
    check_operating(config.operating, config.method_name, protocol, capability.support, capability.transductive)
    session.once(check_trainer, config.words("trainer"))
    session.once(check_logger, config.logger, config.words("wandb"))
    config, notes = settle(config, method, protocol)
    check_selection(config, capability)
    named = config.schedule != "short" and config.preset == "none"  # a preset names a schedule for every method
    if named and session.once(_is_short, config.method, config.schedule):
        notes.append(f"{config.method_name} has one schedule: schedule={config.schedule} has no effect.")
    if capability.support != "none" and config.shots == 0:
        raise AdbenchError(f"shots=0: {config.method_name} learns from support images; give shots=1 or more.")
    return CheckedConfig(config, method, backbone, shape, protocol, tuple(notes))


def _asked(asked: Asked, cache: Path, session: Session) -> ResolvedMethod:
    """Ask a method; an offline session takes what it said before."""
    return (answer(asked, cache, session) if session.offline else None) or resolve_method(*asked)


def _is_short(method: str, schedule: str) -> bool:
    """Whether a schedule of a method sets the same parameters as `short`."""
    schedules = layers.method_config(method).get("schedules") or {}
    return (schedules.get(schedule) or {}) == (schedules.get("short") or {})


def open_cell(checked: CheckedConfig, session: Session) -> Cell:
    """Open the data, draw the support and hash the weights of a checked configuration."""
    start = time.perf_counter()
    config, protocol = checked.config, checked.protocol
    source_hash = checked.method.source_hash  # before the data, whose reading may take minutes: as it was imported
    target = open_dataset(config.dataset, config, session)
    target.check_split("test")
    notes = []
    if checked.method.capability.own_backbone:
        if checked.backbone.weights == "random":
            notes.append(random_weights(checked.backbone, config.method_name))
    elif not target.phantom:
        notes += untrained(config.backbone, checked.backbone)
    notes += [*checked.notes, *target.notes]
    sets = training_sets(config, checked.method.capability, protocol, target, session)
    _check_least(sets, checked.method.capability.least_support, config.method_name)
    notes += [note for one in sets for note in one.dataset.notes if note not in notes]
    taken = {one.dataset.name for one in sets}
    if protocol == "leave_one_out" and (same := [name for name in names_of(config, target) if name not in taken]):
        show = f"{', '.join(same)} show{'s' * (len(same) == 1)}"
        notes.append(f"{show} the organ of {config.dataset} ({target.config.organ}): not trained on.")
    if is_diagonal(config, protocol):
        notes.append("where train_on= is the tested dataset, cross_dataset is the diagonal of its matrix: no transfer.")
    target = without_support(target, sets)
    notes += _support_notes(target, sets)
    manifest = manifest_of(sets)
    if is_named(config.support) and any(one.dataset.phantom for one in sets):
        notes.append(
            f"phantoms have none of the images that support={config.support} lists: draw 0 stands in for them."
        )
    elif config.support and config.shots not in (defaults()["shots"], manifest.shots):
        notes.append(f"support={config.support} names its images: shots={config.shots} has no effect.")
    holdouts = holdouts_of(sets, protocol) if config.selection == "valid" else ()
    notes += [
        f"selection=valid: of the {one.dataset.name} images that choose the epoch, {more} are from {split}, as "
        "dataset.support_fill says."
        for one in holdouts
        for split, more in by_split(one.items).items()
        if split != one.split
    ]
    return Cell(
        config=config,
        method=checked.method,
        backbone=checked.backbone,
        target=target,
        training_sets=sets,
        holdouts=holdouts,
        manifest=manifest,
        facts=_facts(checked, target, sets, holdouts, manifest, session),
        source_hash=source_hash,
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
    )


def _check_least(sets: tuple[TrainingSet, ...], least: int, method: str) -> None:
    images = sum(len(one.support) for one in sets)
    if sets and images < least:
        raise AdbenchError(
            f"{method} needs at least {counted(least, 'image')} to learn from, and here "
            f"{'is' if images == 1 else 'are'} {images}. Use shots={least} or more."
        )


PRETRAINED = {"clip": "ViT-L-14-336", "vit": "dinov2-s", "cnn": "wide-resnet-50-2"}  # an example of each kind


def untrained(name: str, backbone: BackboneConfig) -> list[str]:
    """Return the warning of a run on real images with a backbone that was not trained, or on drawings alone."""
    if not (backbone.stand_in or backbone.weights == "random"):
        return []
    why = "has random weights" if backbone.weights == "random" else "was trained on drawings only"
    return [
        f"warning: {name} {why}. For real images choose a pretrained backbone, such as "
        f"backbone={PRETRAINED[backbone.kind]} (adbench list backbones)."
    ]


def _support_notes(target: IndexedDataset, sets: tuple[TrainingSet, ...]) -> list[str]:
    """Say which images of a support are not from the split that it is drawn from."""
    notes = []
    for one in sets:
        name, filled = one.dataset.name, set(one.dataset.config.support_fill) - {one.split}
        for split, number in one.splits.items():
            if split in filled:
                notes.append(
                    f"{counted(number, 'image')} of the support of {name} {'is' if number == 1 else 'are'} from its "
                    f"{split} split: {one.split} has too few (dataset.support_fill)."
                )
    if target.set_aside:
        taken = sum(item.split == "test" for one in sets if one.dataset.name == target.name for item in one.support)
        more = len(target.set_aside) - taken
        also = f"; nor {'is' if more == 1 else 'are'} {more} more of their patients or content" if more else ""
        notes.append(
            f"dataset.abnormal_support=test: {counted(taken, 'abnormal image')} of the test split of {target.name} "
            f"{'is' if taken == 1 else 'are'} learned from and not scored{also}."
        )
    elif target.config.abnormal_support:
        notes.append(
            f"dataset.abnormal_support has no effect: no abnormal image of {target.name} is learned from here."
        )
    return notes


def _facts(
    checked: CheckedConfig, target: IndexedDataset, sets: tuple[TrainingSet, ...], holdouts: tuple[Holdout, ...],
    manifest: Manifest, session: Session,
) -> dict[str, Any]:  # fmt: skip
    """Return everything that can change a cell's result, and nothing else: its key is the hash of this."""
    config, backbone, protocol = checked.config, checked.backbone, checked.protocol
    method, capability = checked.method, checked.method.capability
    entry = registry.find("method", config.method)
    input_size = config.input_size or backbone.input_size
    facts = {
        "schema": SCHEMA,
        "method": entry.name,
        "method_version": method.version,
        "params": method.plain_params | _contents(method, config, session),
        "dataset": config.dataset,
        "decoding": DECODING,
        "data": target.fingerprint,
        "dataset_facets": target.config.facets(),
        "protocol": protocol,
        "train_on": "+".join(one.dataset.name for one in sets) if protocol in ELSEWHERE else None,
        "sources": [one.dataset.config.facets() | {"split": one.split} for one in sets]
        if protocol in ELSEWHERE
        else None,
        "support": manifest.hash,
        "seed": config.seed,
        "backbone": config.backbone,
        "weights": session.once(
            weights_hash,
            backbone,
            config.backbone,
            config.cache_dir,
            offline=session.offline,
            since=session.since(config.force),
        ),
        "model": session.once(model_hash, backbone, config.backbone),
        "activation": _native(capability.activation, backbone.activation),
        "normalisation": _native(capability.normalisation, backbone.normalisation),
        "input_size": input_size,
        "eval_size": input_size if config.eval_size == "method" else int(config.eval_size),
        "precision": config.precision,
        "batch_size": config.batch_size,
        "selection": config.selection,
        "trainer": trainer_facts(config.words("trainer"), config.deterministic) if capability.epochs else {},
    }
    facts |= backbone.facts() | config.kernels
    if target.set_aside:
        facts["abnormal_support"] = "test"
    if source := method.source:
        facts["source"] = source
    if config.selection == "support_cv":
        facts["held"] = digest(str(folds(sets, config.method).tolist()))
    elif holdouts:
        facts["held"] = holdouts_hash(holdouts)
    if config.operating != "valid" or {"support_split", "support_fill"} & config.words("dataset").keys():
        facts |= operating_facts(config.operating, target, sets, capability.transductive, config.method_name)
    return facts


def _contents(method: ResolvedMethod, config: RunConfig, session: Session) -> dict[str, str]:
    """Return a hash of the content of each file or folder that a parameter of the method names."""
    found = {}
    for key, named in method.files.items():
        if named is None:
            continue
        try:
            path, since = Path(named).expanduser(), session.since(config.force)
            found[key] = session.once(content_of, path, config.cache_dir, keep=not session.offline, since=since)
        except DataError as error:
            raise AdbenchError(f"method.{key}={named} is not possible: {error}") from error
    return found


def _native(asked: str, of_weights: str) -> str:
    return of_weights if asked == "native" else asked
