"""The six image sets of BMAD (Bao et al., CVPR Workshops 2024, arXiv 2306.11876), in every layout in circulation.

    BMAD's README      <folder>/{train,valid,test}/{good,Ungood}/img/*    masks in Ungood/anomaly_mask/*
    BMAD's archives    <folder>/{train,valid,test}/{good,Ungood}/*        masks in Ungood/label/*
    on Google Drive    Brain_AD/BraTS2021_slice/..., Liver_AD/hist_DIY/..., also with val for valid and ungood
    others             <folder>/{train,valid,test}/img/{good,Ungood}/*    masks in label/Ungood/*
    MVFA's repackage   <folder>_AD/{valid,test}/{good,Ungood}/img/*       masks in Ungood/anomaly_mask/*, no train

The `img` level and the `train` split are optional, letter case is ignored (archives.py). All six sets have the same
layout, so the name of the folder, or of one above it, identifies the set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.items import SPLITS, DatasetConfig, Item, Split
from adbench.errors import DataError

from .archives import MASK_FOLDERS, candidates, places
from .layout import Layout, entries, image_files, item
from .pairing import add_masks, pair_masks


class BMAD(Layout):
    """One of the six sets; `config.folders` holds the names under which its folder is known."""

    expected = (
        "{valid,test}/{good,Ungood}/[img/]<image> and, for masked sets, {valid,test}/Ungood/{anomaly_mask,label}/<mask>"
    )
    reads = ("folders", "patient_pattern")

    def __init__(self, name: str, config: DatasetConfig) -> None:
        from .phantoms.write import images_of

        super().__init__(name, config)
        self.phantom_images = images_of(name)  # type: ignore[misc]  # oct17 has fewer than the others

    def looks(self, folder: Path) -> bool:
        """Whether a folder has one of the set's names and a class folder in a split."""
        return folder in candidates(folder, self.folders)

    def candidates(self, root: Path) -> list[Path]:
        """Return the folders with splits: `root`, or those below it, where one of the set's names is on the way."""
        return candidates(root, self.folders)

    def read(self, folder: Path) -> list[Item]:
        """Return the items of all splits; there must be some in valid and in test."""
        items = [item for split in SPLITS for label in (0, 1) for item in self._class(folder, split, label)]
        splits = {item.split for item in items}
        if not {"valid", "test"} <= splits:
            raise DataError(
                f"{folder} is not laid out as {self.config.title}: expected {self.expected}; found images in the "
                f"splits {sorted(splits) or 'none'} and the entries {entries(folder)}."
            )
        return items

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw the phantom of this set, in the layout of BMAD's README."""
        from .phantoms.write import draw_bmad

        return draw_bmad(self.name, folder, 0, counts)

    def phantom_version(self) -> str:
        """Name the version of the phantoms."""
        from .phantoms import PHANTOM_VERSION

        return f"v{PHANTOM_VERSION}-" + "-".join(map(str, self.phantom_images.values()))

    def _class(self, folder: Path, split: Split, label: int) -> list[Item]:
        found = places(folder, split, label)
        if found is None:
            return []
        place, mask_folders = found
        masked = bool(label and self.config.masks)
        paths = image_files(place)
        masks = _masks(mask_folders, paths) if masked else {}
        items = []
        for path in paths:
            mask = masks.get(path)
            if masked and mask is None:
                where = " or ".join(map(str, mask_folders or MASK_FOLDERS))
                raise DataError(
                    f"the abnormal image {path} has no mask: expected {path.stem}.* in {where}. Without masks: "
                    "dataset.masks=false"
                )
            items.append(item(split, label, path, None, mask, self.patients.of(path.stem)))
        return items


def _masks(folders: Sequence[Path], images: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Return mask files by their image; raises DataError for an image with a mask in both folders."""
    masks: dict[Path, tuple[Path, ...]] = {}
    for folder in folders:
        add_masks(masks, pair_masks(image_files(folder), folder, ((path.name, path) for path in images)).masks)
    return masks
