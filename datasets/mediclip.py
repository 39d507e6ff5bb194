"""The datasets of MediCLIP (Zhang et al., MICCAI 2024, arXiv 2405.11315), in its layout and in their owners'.

    MediCLIP    <folder>/samples/{train,test}.json    one JSON object a line: filename, label (0 or 1), mask (optional)
                <folder>/images/...                   base of `filename` and `mask`
    Kaggle      <folder>/{no,yes}/*                   brain MRI: healthy, tumour
    BUSI        <folder>/{normal,benign,malignant}/*  masks in the same folders: <image>_mask.png, <image>_mask_1.png

The owners of the last two give no split: `split_shares` makes one (see splits.py).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from adbench.data.items import Item, Split
from adbench.data.listing import subfolders
from adbench.errors import DataError

from .layout import Layout, image_files, item, need_mask
from .pairing import pair_masks
from .splits import SPLIT_KEYS, splits_of
from .tables import file_below, read_lines

SAMPLES: dict[str, Split] = {"train.json": "train", "valid.json": "valid", "test.json": "test"}


class MediCLIP(Layout):
    """A dataset with `samples/*.json`; subclasses add the owner's layout and the phantom."""

    family: ClassVar[str]  # of the phantoms
    seed: ClassVar[int] = 1
    names: ClassVar[tuple[str, str]] = ("image_{}", "image_{}")  # of phantom files, normal and abnormal

    @abstractmethod
    def owners(self, folder: Path) -> bool:
        """Whether a folder has the owner's layout."""

    @abstractmethod
    def read_owners(self, folder: Path) -> list[Item]:
        """Return the items of the owner's layout."""

    def looks(self, folder: Path) -> bool:
        """Whether a folder has MediCLIP's layout or the owner's."""
        return (folder / "samples").is_dir() or self.owners(folder)

    def read(self, folder: Path) -> list[Item]:
        """Return the items that `samples/*.json` list, or those of the owner's layout."""
        if not (folder / "samples").is_dir():
            self.unused["patient_pattern"] = "the owner's layout decides their patients"
            return self.read_owners(folder)
        self.unused |= dict.fromkeys(SPLIT_KEYS, "samples/*.json give their splits")
        return [item for file, split in SAMPLES.items() for item in self._read_samples(folder, file, split)]

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw MediCLIP's layout as JPEG files: normal images in train, masks in `test/ground_true`."""
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        lines: dict[str, list[str]] = {"train": [], "test": []}
        wanted = {"train": (counts["train"], 0), "test": halves(counts["test"])}
        for number, scene in enumerate(scenes(self.family, self.seed, wanted, slices=2)):
            state = ("normal", "abnormal")[scene.label]
            stem = self.names[scene.label].format(number)
            row = {"filename": f"{scene.split}/{state}/{stem}.jpg", "label": scene.label, "clsname": state}
            if scene.label and self.config.masks:
                row["mask"] = f"{scene.split}/ground_true/{stem.replace('_', '_mask_')}.jpg"
                save(folder / "images" / str(row["mask"]), scene.phantom.mask)
            save(folder / "images" / str(row["filename"]), scene.phantom.image)
            lines[scene.split].append(json.dumps(row))
            yield
        (folder / "samples").mkdir()
        for split, rows in lines.items():
            (folder / "samples" / f"{split}.json").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _read_samples(self, folder: Path, name: str, split: Split) -> list[Item]:
        file, images = folder / "samples" / name, folder / "images"
        if name == "valid.json" and not file.exists():  # the published sets have none
            return []
        items: list[Item] = []
        seen: dict[Path, str] = {}
        for where, content in read_lines(file, ("filename", "label")):
            label, mask = content["label"], content.get("mask") or []
            if label not in (0, 1):
                raise DataError(f"{where}: the label {label!r} is not possible; 0 is normal and 1 abnormal.")
            path = file_below(images, str(content["filename"]), where)
            if path in seen:
                raise DataError(f"{where} names {content['filename']} again, as {seen[path]} did. Remove one line.")
            seen[path] = where
            masks: tuple[Path, ...] = ()
            if self.config.masks:
                texts = [mask] if isinstance(mask, str) else mask
                masks = tuple(file_below(images, str(text), where) for text in texts)
                if label and not masks:
                    raise DataError(f"{where}: the abnormal image has no 'mask'. Without masks: dataset.masks=false")
            patient = self.patients.of(path.stem)
            items.append(item(split, int(label), path, None, masks or None, patient, self.subgroup(path)))
        return items

    def subgroup(self, path: Path) -> str | None:
        """Return the subgroup of an image, if its name contains it."""
        return None


class KaggleBrainMRI(MediCLIP):
    """Brain MRI Images for Brain Tumor Detection (N. Chakrabarty, Kaggle 2019)."""

    expected = "samples/{train,test}.json and images/, as MediCLIP has it, or the owner's no/ and yes/"
    reads = ("folders", "split_shares", "split_seed", "folds", "fold", "patient_pattern")
    family = "brainmri"

    def owners(self, folder: Path) -> bool:
        """Whether there are the folders no and yes."""
        return (folder / "no").is_dir() and (folder / "yes").is_dir()

    def read_owners(self, folder: Path) -> list[Item]:
        """Return the images of no (normal) and yes (abnormal); the copies in brain_tumor_dataset/ are ignored."""
        items = [
            item("test", label, path) for label, name in enumerate(("no", "yes")) for path in image_files(folder / name)
        ]
        return splits_of(items, self.config)

    def places(self, folder: Path) -> Sequence[Path]:
        """Leave out brain_tumor_dataset/, which holds copies."""
        return [path for path in subfolders(folder) if path.name != "brain_tumor_dataset"]


class BUSI(MediCLIP):
    """Breast ultrasound images (Al-Dhabyani et al., Data in Brief 28, 2020)."""

    expected = "samples/{train,test}.json and images/, as MediCLIP has it, or the owner's {normal,benign,malignant}/"
    reads = ("folders", "split_shares", "split_seed", "folds", "fold", "patient_pattern")
    family = "liverct"  # a stand-in: no ultrasound is drawn
    names = ("normal_{}", "benign_{}")

    def owners(self, folder: Path) -> bool:
        """Whether there are the folders normal, benign and malignant."""
        return all((folder / name).is_dir() for name in ("normal", "benign", "malignant"))

    def read_owners(self, folder: Path) -> list[Item]:
        """Return the images of the three folders; the mask of an image is the union of its mask files."""
        items = []
        for name in ("normal", "benign", "malignant"):
            files = image_files(folder / name)
            drawn = [path for path in files if "_mask" in path.stem]
            images, label = [path for path in files if path not in drawn], int(name != "normal")
            masks = pair_masks(drawn, folder / name, ((path.name, path) for path in images)).masks
            for path in images:
                mask = None
                if label and self.config.masks:
                    mask = need_mask(masks, path, f"{path.stem}_mask.* next to it")
                items.append(item("test", label, path, None, mask, subgroup=name))
        return splits_of(items, self.config)

    def subgroup(self, path: Path) -> str | None:
        """Benign, malignant or normal, from the file name."""
        return path.stem.partition("_")[0]
