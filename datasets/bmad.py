"""The six image sets of BMAD (Bao et al., CVPR Workshops 2024, arXiv 2306.11876), in every layout in circulation.

    BMAD's README     <folder>/{train,valid,test}/{good,Ungood}/img/*    masks in Ungood/anomaly_mask/*
    BMAD's archive    <folder>/{train,valid,test}/{good,Ungood}/*        masks in Ungood/label/*
    MVFA's repackage  <folder>_AD/{valid,test}/{good,Ungood}/img/*       masks in Ungood/anomaly_mask/*, no train

The layout is found by looking: the `img` level may be there or not in each folder, and so may `train`.
"""

from __future__ import annotations

import re
from pathlib import Path

from adbench.data.items import CLASSES, SPLITS, DatasetConfig, Item, Split
from adbench.errors import DataError
from adbench.progress import counting

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MASK_FOLDERS = ("anomaly_mask", "label")
CLASS_FOLDERS = ("good", "Ungood")
PHANTOM_IMAGES = {"train": 60, "valid": 80, "test": 120}
EXPECTED = (
    "{valid,test}/{good,Ungood}/[img/]<image> and, for masked sets, {valid,test}/Ungood/{anomaly_mask,label}/<mask>"
)


class BMAD:
    """One of the six sets; `config.folders` holds the names under which its folder is known."""

    def __init__(self, name: str, config: DatasetConfig) -> None:
        self.name = name
        self.config = config

    def index(self, root: Path) -> list[Item]:
        """Return the items of all splits, or raise DataError saying what was expected and found."""
        folder = self._folder(root)
        items = [
            item
            for split in SPLITS
            for label, class_folder in enumerate(CLASS_FOLDERS)
            for item in self._class(folder / split / class_folder, split, label)
        ]
        splits = {item.split for item in items}
        if not {"valid", "test"} <= splits:
            raise DataError(
                f"{folder} is not laid out as {self.config.title}: expected {EXPECTED}; found images in the splits "
                f"{sorted(splits) or 'none'} and the entries {_entries(folder)}."
            )
        return items

    def phantom_version(self) -> str:
        """Name the version of the phantoms."""
        from .phantoms import PHANTOM_VERSION

        return f"v{PHANTOM_VERSION}-" + "-".join(map(str, PHANTOM_IMAGES.values()))

    def draw_phantom(self, root: Path, counts: dict[str, int] | None = None) -> None:
        """Draw the phantom of this set below `root`, with `counts` images in train, valid and test."""
        from .phantoms import write_bmad

        counts = PHANTOM_IMAGES | (counts or {})
        with counting(f"drawing {self.name} phantoms", sum(counts.values())) as count:
            write_bmad(self.name, root, **counts, progress=count)

    def is_phantom(self, root: Path) -> bool:
        """Whether the set was drawn: its folder then says so."""
        from .phantoms import MARK

        return (self._folder(root) / MARK).is_file()

    def _folder(self, root: Path) -> Path:
        if not root.is_dir():
            raise DataError(f"data_root={root} is not a folder. Give the one that holds {self.config.folders[0]}/.")
        wanted = {name.lower() for name in self.config.folders}
        found = [path for path in sorted(root.iterdir()) if path.name.lower() in wanted and path.is_dir()]
        if len(found) > 1:
            raise DataError(
                f"{root} holds {found[0].name} and {found[1].name}, both of which are {self.name}. Keep one."
            )
        if found:
            return found[0]
        if root.name.lower() in wanted:
            return root
        raise DataError(
            f"data_root={root} holds no {self.config.title}: expected it to hold, or to be, a folder called one of "
            f"{', '.join(self.config.folders)} with {EXPECTED}; found {_entries(root)}."
        )

    def _class(self, folder: Path, split: Split, label: int) -> list[Item]:
        nested = folder / "img"
        source = nested if nested.is_dir() else folder
        if not source.is_dir():
            return []
        masks = self._masks(folder) if label and self.config.masks else {}
        items = []
        for path in sorted(source.iterdir()):
            if path.suffix.lower() not in IMAGES or path.name.startswith("."):
                continue
            mask = masks.get(path.stem)
            if label and self.config.masks and mask is None:
                raise DataError(
                    f"the abnormal image {path} has no mask: expected {path.stem}.* in "
                    f"{' or '.join(str(folder / name) for name in MASK_FOLDERS)}. Without masks: dataset.masks=false"
                )
            name = f"{split}/{CLASSES[label]}/{path.name}"
            items.append(Item(name, split, label, path, None if mask is None else (mask,), self._patient(path.stem)))
        return items

    def _masks(self, folder: Path) -> dict[str, Path]:
        masks: dict[str, Path] = {}
        for name in MASK_FOLDERS:
            if (folder / name).is_dir():
                masks |= {p.stem: p for p in sorted((folder / name).iterdir()) if p.suffix.lower() in IMAGES}
        return masks

    def _patient(self, stem: str) -> str | None:
        if self.config.patient_pattern is None:
            return None
        match = re.match(self.config.patient_pattern, stem)
        return match["patient"] if match else None


def _entries(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") if names else "nothing"
