"""Protocols: which images a method learns from, in the tested dataset or in others (docs/protocols.md)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from adbench.cells.cell import ELSEWHERE, FULL_SPLIT, NEED_TRAIN_ON, TrainingSet, in_words
from adbench.config.schema import RunConfig
from adbench.data import support as supports
from adbench.data.fingerprint import digest, file_hash
from adbench.data.indexed import IndexedDataset, dataset_class, open_dataset
from adbench.data.items import CLASSES, Item
from adbench.data.support_lists import is_named, named_list
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry
from adbench.system.session import Session
from adbench.system.text import counted

if TYPE_CHECKING:  # imports torch, which looking at a support does without
    from adbench.backbone.capability import Capability

# For each value of `Capability.support`: the default protocol, its meaning in words, and the labels of the support.
DEFAULT_PROTOCOL = {"none": "zero_shot", "normal": "few_normal_shot", "both": "few_shot"}
LEARNS_FROM = {"none": "no image", "normal": "normal images only", "both": "normal and abnormal images"}
OF_TEST_SPLITS = ("leave_one_out_published", "auxiliary")  # protocols that may learn from test splits
SUPPORT_LABELS: dict[str, tuple[int, ...]] = {"none": (), "normal": (0,), "both": (0, 1)}


def protocol_of(config: RunConfig, capability: Capability) -> str:
    """Return the protocol, or say why a method can't follow the one that is asked for."""
    asked, default = config.protocol, DEFAULT_PROTOCOL[capability.support]
    if config.support and (asked in FULL_SPLIT or capability.support == "none"):
        why = f"protocol={asked} takes every normal image of the train split"
        if capability.support == "none":
            why = f"{config.method_name} learns from no image"
        raise AdbenchError(f"support={config.support} has no place here: {why}. Leave support= out.")
    if asked in ELSEWHERE or (asked in ("auto", "full_normal") and config.train_on):
        return _elsewhere(config, capability)
    if config.train_on:
        raise AdbenchError(f"protocol={asked} trains on the tested dataset; leave out train_on={config.train_on}.")
    if asked == "full_normal" and capability.support == "normal":
        return asked
    if asked not in ("auto", default):
        also = " or full_normal" if capability.support == "normal" else ""
        raise AdbenchError(
            f"protocol={asked} is not possible: {config.method_name} learns from {LEARNS_FROM[capability.support]}, "
            f"which is protocol={default}{also} (or auto)."
        )
    return default


def _elsewhere(config: RunConfig, capability: Capability) -> str:
    asked, names = config.protocol, (config.train_on or "").split("+")
    if is_named(config.support) and asked in OF_TEST_SPLITS:
        raise AdbenchError(
            f"support={config.support} has no place here: protocol={asked} learns from other splits than the lists "
            "name. Leave support= out."
        )
    if capability.support == "none":
        raise AdbenchError(f"{config.method_name} learns from no image: use protocol=zero_shot or auto, no train_on=.")
    protocol = "unified_full_normal" if asked == "full_normal" else asked
    if asked == "auto":
        protocol = "unified" if config.dataset in names else "cross_dataset"
    if protocol in NEED_TRAIN_ON and not config.train_on:
        raise AdbenchError(f"protocol={asked} needs the datasets to train on: train_on=brainmri or brainmri+liverct.")
    if (config.dataset in names) != protocol.startswith("unified") and not is_diagonal(config, protocol):
        has = "is" if config.dataset in names else "is not"
        raise AdbenchError(
            f"protocol={asked} with train_on={config.train_on}: the tested dataset {config.dataset} {has} among "
            "them. unified and full_normal train on the tested dataset too, the others don't; cross_dataset trains on "
            "it where it is the only one, which is the diagonal of a matrix."
        )
    if protocol == "unified_full_normal" and capability.support != "normal":
        raise AdbenchError(
            f"protocol=full_normal is not possible: {config.method_name} learns from {LEARNS_FROM[capability.support]}."
        )
    if protocol == "auxiliary" and capability.support != "both":
        raise AdbenchError(
            f"protocol=auxiliary teaches real anomalies, and {config.method_name} learns from "
            f"{LEARNS_FROM[capability.support]} as configured here. Its README says whether a switch changes that."
        )
    return protocol


def is_diagonal(config: RunConfig, protocol: str) -> bool:
    """Whether this cell is on the diagonal of a cross-dataset matrix: trained on the tested dataset and no other."""
    return protocol == "cross_dataset" and config.train_on == config.dataset


def training_sets(
    config: RunConfig, capability: Capability, protocol: str, target: IndexedDataset, session: Session
) -> tuple[TrainingSet, ...]:
    """Return the training sets of a cell: one for each dataset that the method learns from."""
    if capability.support == "none":
        return ()
    classes = SUPPORT_LABELS[capability.support]
    if protocol not in ELSEWHERE:
        split = "train" if protocol in FULL_SPLIT else target.config.support_split
        return (training_set(target, split, config, classes, session),)
    if config.support and not is_named(config.support):
        raise AdbenchError(
            f"support={config.support} lists images of one dataset; protocol={protocol} draws from several."
        )
    sets = []
    for name in names_of(config, target):
        other, organ = open_dataset(name, config, session), target.config.organ
        if protocol == "leave_one_out" and organ and other.config.organ == organ:
            if config.train_on:
                raise AdbenchError(
                    f"protocol=leave_one_out leaves out what shows the organ of {target.name} ({organ}), and "
                    f"train_on={config.train_on} names {name}. Leave it out, or use protocol=cross_dataset."
                )
            continue
        sets.append(training_set(other, _split_of(other, protocol), config, classes, session))
    if not sets:
        raise AdbenchError(f"protocol={protocol}: no other dataset is left to train on for {config.dataset}.")
    return tuple(sets)


def _split_of(dataset: IndexedDataset, protocol: str) -> str:
    """Return the split of another dataset that a protocol learns from."""
    if protocol == "leave_one_out_published":
        return "test"
    if protocol in FULL_SPLIT:
        return "train"
    split = dataset.config.support_split
    # Sets whose training split is normal only, such as MVTec AD, keep their anomalies in the test split.
    if protocol == "auxiliary" and not any(item.label for item in dataset.items if item.split == split):
        return "test"
    return split


def names_of(config: RunConfig, target: IndexedDataset) -> list[str]:
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
    family = dataset_class(target.name)
    others = (entry for name, entry in registry.entries("dataset").items() if name != target.name)
    return [entry.name for entry in others if _is_of(entry, family)]


def _is_of(entry: registry.Entry, family: type) -> bool:
    try:
        return entry.load() is family
    except AdbenchError:  # a broken package is of no benchmark
        return False


def training_set(
    dataset: IndexedDataset, split: str, config: RunConfig, labels: tuple[int, ...], session: Session
) -> TrainingSet:
    """Draw the support of some classes (0 normal, 1 abnormal) from a split, or take the list that `support=` names."""
    if is_named(config.support):
        return session.once(_published, dataset, split, config.support, config.shots, labels)
    if config.support:
        return session.once(_listed, dataset, split, config.support, labels)
    return session.once(_drawn, dataset, split, supports.FewShotSampler(config.shots, config.draw, labels))


def _listed(dataset: IndexedDataset, split: str, file: str, labels: tuple[int, ...]) -> TrainingSet:
    if not Path(file).exists() and not file.startswith((".", "/")):
        names = ", ".join(registry.config_files("support"))
        raise AdbenchError(
            f"support={file} cannot be read: there is no such file, nor do authors publish lists of that name. Those "
            f"that do: {names}."
        )
    pool = _pool(dataset, split, labels)
    chosen, manifest = supports.from_list(
        Path(file), pool.items, dataset.hashes, labels, pool.where, dataset.items, pool.fill
    )
    return TrainingSet(dataset, split, tuple(chosen), manifest)


def _published(
    dataset: IndexedDataset, split: str, name: str, shots: int | str, labels: tuple[int, ...]
) -> TrainingSet:
    """Take the list that authors publish for a dataset; on phantoms, which have no such files, draw 0 stands in."""
    named = named_list(name, dataset.name, shots)
    if dataset.phantom:
        return _drawn(dataset, split, supports.FewShotSampler(shots, 0, labels))
    pool = _pool(dataset, split, labels)
    chosen, manifest = supports.from_names(
        named, f"support={name}", name, pool.items, dataset.hashes, labels, pool.where, dataset.items, pool.fill
    )
    return TrainingSet(dataset, split, tuple(chosen), manifest)


def _drawn(dataset: IndexedDataset, split: str, sampler: supports.FewShotSampler) -> TrainingSet:
    pool = _pool(dataset, split, sampler.classes)
    chosen = sampler(pool.items, pool.where, pool.fill)
    return TrainingSet(dataset, split, tuple(chosen), sampler.manifest(chosen, dataset.hashes))


class _Pool(NamedTuple):
    """The images that a support is chosen from, those that fill up a class in order, and where they are, in words."""

    items: list[Item]
    fill: list[list[Item]]
    where: str


def _pool(dataset: IndexedDataset, split: str, labels: tuple[int, ...]) -> _Pool:
    """Return what the support of a dataset is chosen from; another split than `support_split` is taken as it is."""
    config, items = dataset.config, dataset.split(split)
    if split != config.support_split:
        return _Pool(items, [], in_words([split], dataset.name))
    fills = [name for name in dict.fromkeys(config.support_fill) if name != split]
    fill = [[item for item in dataset.items if item.split == name] for name in fills]
    if config.abnormal_support is None or 1 not in labels:
        return _Pool(items, fill, in_words([split, *fills], dataset.name))
    if abnormal := sum(item.label for item in (*items, *(item for part in fill for item in part))):
        raise AdbenchError(
            f"dataset.abnormal_support=test is for sets without an abnormal image to learn from, and "
            f"{in_words([split, *fills], dataset.name)} has {abnormal}. Leave it out."
        )
    items = [*items, *(item for item in dataset.split("test") if item.label)]
    where = f"{in_words([split, *fills], dataset.name)} with the abnormal images of its test split"
    return _Pool(items, fill, where)


def without_support(target: IndexedDataset, sets: tuple[TrainingSet, ...]) -> IndexedDataset:
    """Return the tested dataset with a test split that holds no image that is learned from.

    Files of equal content and images of the same patients leave it too. Only `dataset.abnormal_support=test` takes such
    images. Raises AdbenchError where a class would have no image left.
    """
    taken = [item for one in sets if one.dataset.name == target.name for item in one.support if item.split == "test"]
    if not taken:
        return target
    test, patients = target.split("test"), {item.patient for item in taken} - {None}
    content = {item.id: file_hash(target.hashes[item.id]) for item in test}
    copies = {content[item.id] for item in taken}
    gone = {item.id for item in test if content[item.id] in copies or item.patient in patients}
    for label, kind in enumerate(CLASSES):
        if not any(item.label == label and item.id not in gone for item in test):
            raise AdbenchError(
                f"dataset.abnormal_support=test: without the {counted(len(taken), 'abnormal image')} of the support, "
                f"their copies and their patients, no {kind} image is left in the test split of {target.name}. "
                "Use fewer shots."
            )
    return replace(target, set_aside=frozenset(gone))


def manifest_of(sets: tuple[TrainingSet, ...]) -> supports.Manifest:
    """Return one manifest; ids of several datasets read `dataset:id`."""
    if not sets:
        return supports.nothing()
    if len(sets) == 1:
        return sets[0].manifest
    first = sets[0].manifest
    normal = tuple(f"{s.dataset.name}:{i}" for s in sets for i in s.manifest.normal)
    abnormal = tuple(f"{s.dataset.name}:{i}" for s in sets for i in s.manifest.abnormal)
    whole = digest("\n".join(f"{s.dataset.name}\t{s.manifest.hash}" for s in sets))
    return supports.Manifest(first.source, first.shots, normal, abnormal, whole)
