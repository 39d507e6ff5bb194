"""Where training images come from: the dataset that is tested, or others. The protocols of docs/protocols.md."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adbench import registry, sections
from adbench.config import RunConfig
from adbench.data import support as supports
from adbench.data.fingerprint import digest, hash_items
from adbench.data.items import DatasetConfig, Item, decide_masks, of_split
from adbench.errors import AdbenchError, did_you_mean
from adbench.files import alone, unwritable
from adbench.remember import NotThereError, reach, remembered

if TYPE_CHECKING:
    from adbench.method import Capability  # brings torch, which opening a dataset does without

OWN = {"none": "zero_shot", "normal": "few_normal_shot", "both": "few_shot"}
LEARNS = {"none": "no image", "normal": "normal images only", "both": "normal and abnormal images"}
CLASSES = {"none": (), "normal": (0,), "both": (0, 1)}
NAMED = ("cross_dataset", "unified", "unified_full_normal", "auxiliary")  # the protocols that need train_on=
ELSEWHERE = (*NAMED, "leave_one_out", "leave_one_out_published")
FULL = ("full_normal", "unified_full_normal")


@dataclass(frozen=True)
class Opened:
    """A dataset found on disk: its items, and by item id the content hash of image and mask."""

    name: str
    config: DatasetConfig
    root: Path
    items: tuple[Item, ...]
    hashes: dict[str, str]
    phantom: bool


@dataclass(frozen=True)
class Source:
    """What of one dataset a method learns from."""

    opened: Opened
    split: str
    support: tuple[Item, ...]
    manifest: supports.Manifest

    @property
    def where(self) -> str:
        """The pool in words."""
        return f"the {self.split} split of {self.opened.name}"


@remembered("dataset", "data_root", "cache", "overrides")
def open_dataset(name: str, config: RunConfig) -> Opened:
    """Find a dataset on disk; `dataset.X=` words reach into the one that is tested."""
    if name != config.dataset:
        overrides = {section: words for section, words in config.overrides.items() if section != "dataset"}
        config = dataclasses.replace(config, dataset=name, overrides=overrides)
    facts: DatasetConfig = sections.section_config(DatasetConfig, "dataset", name, config)
    root = data_root(config, facts)
    dataset = registry.find("dataset", name).load()(name, facts)
    items = dataset.index(root)
    facts = decide_masks(facts, items)
    return Opened(name, facts, root, tuple(items), hash_items(items, config.cache_dir, name), dataset.is_phantom(root))


def data_root(config: RunConfig, dataset: DatasetConfig) -> Path:
    """Return the folder of the images; for `phantom`, draw the phantoms where they aren't there yet."""
    if config.data_root != "phantom":
        return Path(config.data_root)
    drawer = registry.find("dataset", config.dataset).load()(config.dataset, dataset)
    folder = config.cache_dir / "phantom" / drawer.phantom_version()
    root = folder / config.dataset
    if not root.is_dir():
        if reach() == "look":
            raise NotThereError(f"the phantoms of {config.dataset} are not drawn yet")
        try:
            with alone(root):
                if not root.is_dir():
                    unfinished = folder / f".{config.dataset}.unfinished"
                    shutil.rmtree(unfinished, ignore_errors=True)
                    drawer.draw_phantom(unfinished)
                    unfinished.rename(root)
        except OSError as error:
            raise unwritable(root, error) from error
    return root


def protocol_of(config: RunConfig, capability: Capability) -> str:
    """Return the protocol, or say why a method can't follow the one that is asked for."""
    asked, own = config.protocol, OWN[capability.support]
    if config.support and (asked in FULL or capability.support == "none"):
        why = f"protocol={asked} takes every normal image of the train split"
        if capability.support == "none":
            why = f"{config.method} learns from no image"
        raise AdbenchError(f"support={config.support} has no place here: {why}. Leave support= out.")
    if asked in ELSEWHERE or (asked in ("auto", "full_normal") and config.train_on):
        return _elsewhere(config, capability)
    if config.train_on:
        raise AdbenchError(f"protocol={asked} trains on the tested dataset; leave out train_on={config.train_on}.")
    if asked == "full_normal" and capability.support == "normal":
        return asked
    if asked not in ("auto", own):
        also = " or full_normal" if capability.support == "normal" else ""
        raise AdbenchError(
            f"protocol={asked} is not possible: {config.method} learns from {LEARNS[capability.support]}, "
            f"which is protocol={own}{also} (or auto)."
        )
    return own


def _elsewhere(config: RunConfig, capability: Capability) -> str:
    asked, names = config.protocol, (config.train_on or "").split("+")
    if capability.support == "none":
        own = OWN[capability.support]
        raise AdbenchError(f"{config.method} learns from no image: protocol={own} (or auto), without train_on=.")
    found = "unified_full_normal" if asked == "full_normal" else asked
    if asked == "auto":
        found = "unified" if config.dataset in names else "cross_dataset"
    if found in NAMED and not config.train_on:
        raise AdbenchError(f"protocol={asked} needs the datasets to train on: train_on=brainmri or brainmri+liverct.")
    if (config.dataset in names) != found.startswith("unified") and not is_diagonal(config, found):
        has = "is" if config.dataset in names else "is not"
        raise AdbenchError(
            f"protocol={asked} with train_on={config.train_on}: the tested dataset {config.dataset} {has} among "
            "them. unified and full_normal train on the tested dataset too, the others don't; cross_dataset trains on "
            "it where it is the only one, which is the diagonal of a matrix."
        )
    if found == "unified_full_normal" and capability.support != "normal":
        raise AdbenchError(
            f"protocol=full_normal is not possible: {config.method} learns from {LEARNS[capability.support]}."
        )
    if found == "auxiliary" and capability.support != "both":
        raise AdbenchError(
            f"protocol=auxiliary teaches real anomalies, and {config.method} learns from "
            f"{LEARNS[capability.support]} as it is configured here. Its README says whether a switch changes that."
        )
    return found


def is_diagonal(config: RunConfig, protocol: str) -> bool:
    """Whether this cell is on the diagonal of a cross-dataset matrix: trained on the tested dataset and no other."""
    return protocol == "cross_dataset" and config.train_on == config.dataset


def training(config: RunConfig, capability: Capability, protocol: str, target: Opened) -> tuple[Source, ...]:
    """Return what the method learns from, dataset by dataset."""
    if capability.support == "none":
        return ()
    classes = CLASSES[capability.support]
    if protocol not in ELSEWHERE:
        split = "train" if protocol in FULL else target.config.support_split
        return (source_of(target, split, config, classes),)
    if config.support:
        raise AdbenchError(
            f"support={config.support} lists images of one dataset; protocol={protocol} draws from several."
        )
    found = []
    for name in names_of(config, target):
        opened, organ = open_dataset(name, config), target.config.organ
        if protocol == "leave_one_out" and organ and opened.config.organ == organ:
            if config.train_on:
                raise AdbenchError(
                    f"protocol=leave_one_out leaves out what shows the organ of {target.name} ({organ}), and "
                    f"train_on={config.train_on} names {name}. Leave it out, or use protocol=cross_dataset."
                )
            continue
        found.append(source_of(opened, _split_of(opened, protocol), config, classes))
    if not found:
        raise AdbenchError(f"protocol={protocol}: no other dataset is left to train on for {config.dataset}.")
    return tuple(found)


def _split_of(opened: Opened, protocol: str) -> str:
    """Return the split of another dataset that a protocol learns from."""
    if protocol == "leave_one_out_published":
        return "test"
    if protocol in FULL:
        return "train"
    own = opened.config.support_split
    # Sets whose training split is normal only, such as MVTec AD, keep their anomalies in the test split.
    if protocol == "auxiliary" and not any(item.label for item in opened.items if item.split == own):
        return "test"
    return own


def names_of(config: RunConfig, target: Opened) -> list[str]:
    """Return the datasets that `train_on=` names; without it, the others of the tested one's benchmark."""
    if config.train_on:
        names = config.train_on.split("+")
        known = registry.entries("dataset")
        for name in names:
            if name not in known:
                raise AdbenchError(f"train_on={config.train_on}: unknown dataset {name!r}: {did_you_mean(name, known)}")
        if len(set(names)) < len(names):
            raise AdbenchError(f"train_on={config.train_on} names a dataset twice.")
        return names
    family = registry.find("dataset", target.name).load()
    return [
        name for name, entry in registry.entries("dataset").items() if name != target.name and entry.load() is family
    ]


@remembered("protocol", "shots", "draw", "support")
def source_of(opened: Opened, split: str, config: RunConfig, classes: tuple[int, ...]) -> Source:
    """Draw the support of some classes (0 normal, 1 abnormal) from a split, or take the list that `support=` names."""
    elsewhere = config.protocol in ("leave_one_out_published", "auxiliary")
    allowed = ("train", "valid", "test") if elsewhere else ("train", "valid")
    if split not in allowed:
        raise AdbenchError(f"dataset.support_split={split} is not possible: a support comes from train or valid.")
    pool = of_split(opened.items, split, opened.name, opened.root, opened.config)
    where = f"the {split} split of {opened.name}"
    if config.support:
        chosen, manifest = supports.from_list(Path(config.support), pool, opened.hashes, classes, where, opened.items)
    else:
        chosen, manifest = supports.draw(pool, opened.hashes, config.shots, config.draw, classes, where)
    return Source(opened, split, tuple(chosen), manifest)


def manifest_of(sources: tuple[Source, ...]) -> supports.Manifest:
    """Return one manifest; ids of several datasets read `dataset:id`."""
    if not sources:
        return supports.nothing()
    if len(sources) == 1:
        return sources[0].manifest
    first = sources[0].manifest
    normal = tuple(f"{s.opened.name}:{i}" for s in sources for i in s.manifest.normal)
    abnormal = tuple(f"{s.opened.name}:{i}" for s in sources for i in s.manifest.abnormal)
    whole = digest("\n".join(f"{s.opened.name}\t{s.manifest.hash}" for s in sources))
    return supports.Manifest(first.source, first.shots, normal, abnormal, whole)
