"""A cell: one point of the benchmark, resolved against what is on disk, and the key that names its record."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from adbench import config as configs
from adbench import registry
from adbench.backbone import Architecture, BackboneConfig, architecture, model_hash, weights_hash
from adbench.config import RunConfig
from adbench.data import support as supports
from adbench.data.fingerprint import digest, fingerprint, hash_items
from adbench.data.items import DatasetConfig, Item, of_split
from adbench.errors import AdbenchError
from adbench.files import unwritable
from adbench.method import Capability, Method
from adbench.record import SCHEMA
from adbench.trainer import check_trainer

PROTOCOLS = {"none": "zero_shot", "normal": "few_normal_shot", "both": "few_shot"}
CLASSES = {"none": (), "normal": (0,), "both": (0, 1)}


@dataclass(frozen=True)
class Cell:
    """Everything a run needs and nothing it changes. `facts` is what the key is made of."""

    config: RunConfig
    method_class: type[Method]
    params: Any
    capability: Capability
    dataset: DatasetConfig
    backbone: BackboneConfig
    input_size: int
    weights: str
    protocol: str
    root: Path
    items: tuple[Item, ...]
    hashes: dict[str, str]
    support: tuple[Item, ...]
    manifest: supports.Manifest
    facts: dict[str, Any]
    notes: tuple[str, ...]
    phantom: bool
    seconds: float

    @property
    def key(self) -> str:
        """The content hash that names the record: 20 hexadecimal digits."""
        return digest(json.dumps(self.facts, sort_keys=True))[:20]

    @property
    def test(self) -> list[Item]:
        """The items of the test split."""
        return [item for item in self.items if item.split == "test"]

    @property
    def overlap(self) -> int:
        """How many support images are a test image, by content, or show a patient of the test split."""
        images = {self.hashes[item.id][:64] for item in self.test}
        patients = {item.patient for item in self.test if item.patient is not None}
        return sum(self.hashes[item.id][:64] in images or item.patient in patients for item in self.support)

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
    protocol = _protocol(config, capability)
    check_trainer(config.overrides.get("trainer", {}))
    notes = []
    if capability.support == "none" and (config.shots or config.draw):
        config = dataclasses.replace(config, shots=0, draw=0)
        notes.append(f"{config.method} learns from no image: shots and draw are set to 0.")
    if capability.support != "none" and config.shots == 0:
        raise AdbenchError(f"shots=0: {config.method} learns from support images; give shots=1 or more.")

    dataset: DatasetConfig = configs.section_config(DatasetConfig, "dataset", config.dataset, config)
    root = data_root(config, dataset)
    drawn = registry.find("dataset", config.dataset).load()(config.dataset, dataset)
    items = drawn.index(root)
    hashes = hash_items(items, config.cache_dir, config.dataset)
    of_split(items, "test", config.dataset, root)
    support, manifest = _support(config, capability, dataset, items, hashes, root)
    weights = weights_hash(backbone, config.backbone, config.cache_dir)
    input_size = config.input_size or backbone.input_size
    facts = {
        "schema": SCHEMA,
        "method": config.method,
        "method_version": method_class.version,
        "params": dataclasses.asdict(params),
        "dataset": config.dataset,
        "data": fingerprint(items, hashes),
        "dataset_facets": dataset.facets(),
        "protocol": protocol,
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
        "trainer": config.overrides.get("trainer", {}),
    }
    return Cell(
        config, method_class, params, capability, dataset, backbone, input_size, weights, protocol, root, tuple(items),
        hashes, tuple(support), manifest, facts, tuple(notes), drawn.is_phantom(root), time.perf_counter() - start,
    )  # fmt: skip


def resolve_method(config: RunConfig, shape: Architecture) -> tuple[type[Method], Any, Capability]:
    """Import a method and resolve its parameters and what it declares."""
    method_class = registry.find("method", config.method).load()
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        raise AdbenchError(f"the method {config.method!r} is {method_class!r}, which is no subclass of adbench.Method.")
    params = configs.method_params(method_class.Params, config)
    capability = method_class.capability(params, shape)
    blocks = capability.blocks
    if len(set(blocks)) < len(blocks) or not all(1 <= block <= shape.depth for block in blocks):
        raise AdbenchError(
            f"{config.method} asks for the blocks {list(blocks)}; {config.backbone} has blocks 1 to {shape.depth}, and "
            "each can be named once."
        )
    return method_class, params, capability


def _native(asked: str, own: str) -> str:
    return own if asked == "native" else asked


def data_root(config: RunConfig, dataset: DatasetConfig) -> Path:
    """Return the folder of the images; for `phantom`, draw the phantoms where they aren't there yet."""
    if config.data_root != "phantom":
        return Path(config.data_root).expanduser()
    drawer = registry.find("dataset", config.dataset).load()(config.dataset, dataset)
    folder = config.cache_dir / "phantom" / drawer.phantom_version()
    root = folder / config.dataset
    if not root.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f".{config.dataset}.lock"):  # of two processes the second finds it drawn
                if not root.is_dir():
                    unfinished = folder / f".{config.dataset}.unfinished"
                    shutil.rmtree(unfinished, ignore_errors=True)
                    drawer.draw_phantom(unfinished)
                    unfinished.rename(root)
        except OSError as error:
            raise unwritable(root, error) from error
    return root


def _protocol(config: RunConfig, capability: Capability) -> str:
    own = PROTOCOLS[capability.support]
    if config.protocol not in ("auto", own):
        what = {"none": "no image", "normal": "normal images only", "both": "normal and abnormal images"}
        raise AdbenchError(
            f"protocol={config.protocol} is not possible: {config.method} learns from {what[capability.support]}, "
            f"which is protocol={own} (or auto)."
        )
    return own


def _support(
    config: RunConfig,
    capability: Capability,
    dataset: DatasetConfig,
    items: list[Item],
    hashes: dict[str, str],
    root: Path,
) -> tuple[list[Item], supports.Manifest]:
    if capability.support == "none":
        return [], supports.nothing()
    split = dataset.support_split
    if split not in ("train", "valid"):
        raise AdbenchError(f"dataset.support_split={split} is not possible: a support comes from train or valid.")
    pool = of_split(items, split, config.dataset, root)
    classes, where = CLASSES[capability.support], f"the {split} split of {config.dataset}"
    if config.support:
        return supports.from_list(Path(config.support), pool, hashes, classes, where)
    return supports.draw(pool, hashes, config.shots, config.draw, classes, where)
