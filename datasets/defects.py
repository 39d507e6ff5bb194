"""The user's own images in MVTec AD's layout, which `dataset=folder` reads: the commonest layout of one's own data.

    <folder>/train/good/*                                normal images
    <folder>/test/{good,<defect>}/*                      every folder but the normal one is a defect
    <folder>/ground_truth/<defect>/<image>_mask.png      or <image>.png; may be missing

Ids and subgroups are those of mvtec.py: a category of MVTec AD has the same content read in either way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from adbench.config import layers
from adbench.data.items import DatasetConfig, Item, Split
from adbench.data.listing import below, stem_of, subfolders
from adbench.errors import DataError, did_you_mean
from adbench.system.text import counted

from .class_folders import ClassFolder, check_ignored, left_aside, mask_folders, read_class
from .class_masks import SplitMasks, find_masks
from .layout import Layout, item, need_mask
from .pairing import add_masks
from .twice import check_apart

Splits = Mapping[Path, Split]


def has_defects(layout: Layout, splits: Splits, masks: SplitMasks) -> bool:
    """Whether `test/` holds folders of defects: some that no class is called, or one with masks in `ground_truth/`."""
    config = layout.config
    kinds = _kinds(config, splits)
    apart = [*masks.loose, *(path for place in splits for path in masks.of_split[place] if path.parent != place)]
    masked = {path.name.lower() for each in apart for path in subfolders(each)}
    # Next to `abnormal/`, a folder such as `unlabelled/` is no defect.
    unusual = not kinds & _lower(_usual(layout)) and not kinds <= _lower(config.abnormal_folders)
    return bool(kinds & masked) or unusual


def read_defects(layout: Layout, splits: Splits, folder: Path, masks: SplitMasks, around: Sequence[Path]) -> list[Item]:
    """Return the items of all splits; where `dataset.abnormal_folders` is set, of these defects alone.

    around: the folders that may hold ignored ones.

    Raises DataError for a name in it that no folder of `test/` has, and for whatever class_folders.py refuses. What is
    left out is in the layout's notes.
    """
    config = layout.config
    kinds = _kinds(config, splits)
    chosen = _chosen(layout, kinds, splits)
    layout.notes += left_aside(folder, [*splits, *mask_folders(folder, config)], config, "splits")
    groups: dict[Path, list[ClassFolder]] = {}
    for place in splits:
        named = {path: path.name.lower() for path in subfolders(place)}
        labels = {
            path: int(name in kinds) for path, name in named.items() if name in kinds | _lower(config.normal_folders)
        }
        layout.notes += left_aside(place, [*labels, *mask_folders(place, config)], config)
        groups[place] = [read_class(label, path, config, layout.notes) for path, label in labels.items()]
    every = [group for several in groups.values() for group in several]
    layout.notes += check_apart(every)
    check_ignored(around, every, config)
    found = _masks(layout, groups, splits, folder, masks)
    items: list[Item] = []
    for place, several in groups.items():
        for group in several:
            if group.label and group.folder.name.lower() not in chosen:
                layout.notes.append(f"{group.folder} with {counted(len(group.images), 'image')} left out.")
            else:
                items += _items(layout, group, splits[place], found)
    return items


def _items(
    layout: Layout, group: ClassFolder, split: Split, masks: Mapping[Path, tuple[Path, ...]]
) -> list[Item]:  # fmt: skip
    """Return the images of one folder of a split; its name is their subgroup."""
    items, kind = [], group.folder.name
    for path in group.images:
        inner = below(path, group.folder)
        stem, mask = stem_of(inner), masks.get(path)
        if group.label and layout.config.masks:
            mask = need_mask(masks, path, f"ground_truth/{kind}/{stem}_mask.*")
        items.append(item(split, group.label, path, f"{kind}/{inner}", mask, layout.patients.of(stem), kind))
    return items


def _masks(
    layout: Layout, groups: Mapping[Path, list[ClassFolder]], splits: Splits, folder: Path, folders: SplitMasks
) -> dict[Path, tuple[Path, ...]]:
    """Return the masks of abnormal images: in ground_truth/<defect>/ for the test split, and in each split."""
    masks: dict[Path, tuple[Path, ...]] = {}
    if layout.config.masks is False:
        return masks
    for place, several in groups.items():
        add_masks(masks, find_masks(place, folders.of_split[place], several, layout.config, layout.notes))
    if folders.loose:
        tested = [group for place, several in groups.items() if splits[place] == "test" for group in several]
        # What lies among the images was found above.
        tested = [ClassFolder(g.label, g.folder, g.images, {}, g.read, g.skipped) for g in tested]
        add_masks(masks, find_masks(folder, folders.loose, tested, layout.config, layout.notes))
    return masks


def _chosen(layout: Layout, kinds: set[str], splits: Splits) -> set[str]:
    """Return the defects to read: all, or those that `dataset.abnormal_folders` names."""
    names = layout.config.abnormal_folders
    if names == _usual(layout):
        return kinds
    strange = [name for name in names if name.lower() not in kinds]
    if strange:
        test = next(place for place, split in splits.items() if split == "test")
        raise DataError(
            f"dataset.abnormal_folders={names} names {strange[0]}, which is no folder of {test}: "
            f"{did_you_mean(strange[0], sorted(kinds))}"
        )
    return _lower(names)


def _kinds(config: DatasetConfig, splits: Splits) -> set[str]:
    """Return the folders of the test split that are neither normal nor masks nor ignored, in lower case."""
    known = _lower((*config.normal_folders, *config.mask_folders, *config.ignored_folders))
    tested = [place for place, split in splits.items() if split == "test"]
    return {path.name.lower() for place in tested for path in subfolders(place)} - known


def _usual(layout: Layout) -> list[str]:
    """Return the names of abnormal folders that the dataset's YAML has."""
    return layers.section(DatasetConfig, "dataset", layout.name).abnormal_folders


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}
