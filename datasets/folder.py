"""The user's own images, in folders or listed in a table.

    <root>/{normal,abnormal}/**           and <root>/masks/** with the paths of the abnormal images; or
    <root>/{train,valid,test}/{normal,abnormal,masks}/**
    <root>/images/...                     the class folders or splits, and <root>/masks/ next to images/
    <root>/{train/good,test/{good,<defect>},ground_truth/<defect>}/**     MVTec AD's layout (defects.py)
    <root>/images.csv                     path, label; and where they are known split, mask, patient, subgroup, slice

PNG, JPEG, TIFF, BMP, DICOM and NIfTI. A file that holds several images gives an item for each of them (stacks.py); the
header of a DICOM file names the patient where nothing else does. Without splits, `split_shares` and `split_seed` assign
images by patient (splits.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from adbench.data.frames import Frame
from adbench.data.items import CLASSES, Item, Split
from adbench.data.listing import below, list_images, stem_of, subfolders
from adbench.data.volumes import is_volume
from adbench.errors import DataError

from .class_folders import ClassFolder, check_ignored, class_folders, left_aside, mask_folders, read_class
from .class_masks import SplitMasks, find_masks, masks_apart, masks_by_split
from .columns import meant
from .defects import has_defects, read_defects
from .layout import Layout, entries, item, need_mask
from .rows import NUMBERS, check_masks, frame_of, image_below, label_of, split_of
from .splits import SPLIT_KEYS, SPLIT_NAMES, check_patients, splits_of
from .stacks import Stacks, in_series, look, name_patients, spread
from .tables import NamedFiles, Row, known_values, read_table
from .twice import check_apart
from .unread import unread

TABLE = "images.csv"
NEEDED, OPTIONAL = ("path", "label"), ("split", "mask", "patient", "subgroup")
NOT_SPLIT = "they have no splits, and adbench gives each patient one"


class Folder(Layout):
    """Images in folders or in a table, whose classes, masks and patients the configuration's keys describe."""

    expected = "normal/ and abnormal/ (below train/, valid/, test/ where there are splits), or a table images.csv"
    reads = (
        "folders",
        "table",
        "split_shares",
        "split_seed",
        "folds",
        "fold",
        "normal_folders",
        "abnormal_folders",
        "mask_folders",
        "ignored_folders",
        "allow_patient_overlap",
        "allow_absolute_paths",
        "patient_pattern",
        "slice_axis",
        "volume_window",
        "empty_slices",
        "lesion_free_slices",
    )
    phantom_images: ClassVar[dict[str, int]] = {"train": 60, "valid": 80, "test": 60}

    outer: Path | None = None  # set by `index`: the folder that holds the dataset's, where `data_root=` names that one

    def index(self, root: Path) -> list[Item]:
        """Return the items of all splits; masks may lie next to the folder `images/` that holds the images."""
        folder = self.folder(root)
        self.outer = None if folder == root else root
        return super().index(root)

    def looks(self, folder: Path) -> bool:
        """Whether there is a table or a class folder."""
        places = [folder, *_split_folders(folder)]
        return self._table(folder) is not None or any(class_folders(place, self.config) for place in places)

    def read(self, folder: Path) -> list[Item]:
        """Return the items of the table if there is one, otherwise those of the folders."""
        table = self._table(folder)
        items, found = self._read_table(folder, table) if table is not None else self._read_folders(folder)
        items, notes = spread(in_series(items, found), found, self.config, self.remember)
        self.notes += notes
        self._unused_of_stacks(items, found)
        return items

    def places(self, folder: Path) -> Sequence[Path]:
        """Return none: what is not read is named where it is found."""
        return []

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw brain phantoms with a table that names everything."""
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        rows = [",".join([*NEEDED, *OPTIONAL])]
        for scene in scenes("brainmri", 3, {split: halves(count) for split, count in counts.items()}, slices=2):
            name, mask = f"p{scene.patient:04d}_{scene.slice}.png", ""
            save(folder / "images" / name, scene.phantom.image)
            if scene.label:
                mask = f"masks/{name}"
                save(folder / mask, scene.phantom.mask)
            state = ("normal", "abnormal")[scene.label]
            rows.append(f"images/{name},{state},{scene.split},{mask},p{scene.patient:04d},{scene.phantom.kind}")
            yield
        (folder / TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _table(self, folder: Path) -> Path | None:
        if self.config.table is not None:
            return folder / Path(self.config.table).expanduser()  # an absolute path is kept
        if (folder / TABLE).is_file():
            return folder / TABLE
        return next((path for path in sorted(folder.iterdir()) if path.name.lower() == TABLE and path.is_file()), None)

    def _look(self, items: list[Item], found: Stacks | None = None) -> tuple[list[Item], Stacks]:
        """Look into the files of items, and fill in the patients that headers and names give."""
        found = found or look((item.path for item in items), self.config, self.remember)
        items, notes = name_patients(items, found)
        self.notes += notes
        return items, found

    def _unused_of_stacks(self, items: list[Item], found: Stacks) -> None:
        if not found.volumes:
            keys = ("slice_axis", "volume_window", "empty_slices")
            self.unused |= dict.fromkeys(keys, "none of them is a NIfTI volume")
        if not any(item.frame and item.mask for item in items):
            self.unused["lesion_free_slices"] = "no file with several images has a mask"
        elif all(is_volume(mask) for item in items for mask in item.mask_files):
            why = "in a mask volume every label above 0 is abnormal"
            self.unused |= dict.fromkeys(("mask_threshold", "mask_background"), why)

    def _read_table(self, folder: Path, table: Path) -> tuple[list[Item], Stacks]:
        rows = read_table(table, NEEDED, OPTIONAL, self.notes, NUMBERS)
        rows = [known_values(row, (*OPTIONAL[:3], *NUMBERS)) for row in rows]
        given = [row for row in rows if row["split"]]
        if given and len(given) < len(rows):
            row = next(row for row in rows if not row["split"])
            raise DataError(
                f"{row.where} has no split, while row {given[0].number} has one. Give a split to all rows or to none."
            )
        listed = [(row, self._row(folder, row)) for row in rows]
        check_masks(listed)
        self._note_masks(folder, table, rows[0])
        homes = sorted({file.path.parent for _, file in listed if file.path.is_relative_to(folder)})
        named = [file for _, file in listed]
        self.notes += unread(folder, homes, named, self.config.masks is not False, deep=False, known=(table,))
        found = look((file.path for _, file in listed), self.config, self.remember)
        self.notes += meant(table, rows[0].values, self._lacking(rows[0], found))
        files = NamedFiles()
        whole: dict[Path, Row] = {}
        items: list[Item] = []
        origin: dict[tuple[str, Frame | None], Row] = {}
        for row, file in listed:
            one = replace(file, frame=frame_of(row)) if found.holds_several(file.path) else file
            files.add(one.path, f"{row['path']}{one.frame or ''}", row, one.frame.number if one.frame else None)
            if (one.id, one.frame) in origin:
                number = origin[one.id, one.frame].number
                raise DataError(f"{row.where} has the id {one.id} of row {number}. Rename the file.")
            origin[one.id, one.frame] = row
            if one.frame is None:
                whole[one.path] = row
            items.append(one)
        for one in items:
            if one.frame and one.path in whole:
                raise DataError(
                    f"{origin[one.id, one.frame].where} names one image of {one.path.name}, and row "
                    f"{whole[one.path].number} all of them. Give a slice in every row of the file, or in none."
                )
        items, _ = self._look(items, found)
        if not self.config.allow_patient_overlap:
            _check_named(items, rows, lambda item: origin[item.id, item.frame].where)
        names = ("normal_folders", "abnormal_folders", "mask_folders", "ignored_folders")
        self.unused |= dict.fromkeys(names, f"{table.name} lists the images")
        if all(row["patient"] for row in rows):
            self.unused["patient_pattern"] = f"{table.name} gives every patient"
        if not given:
            self.unused["allow_patient_overlap"] = NOT_SPLIT
            return splits_of(items, self.config), found
        self.unused |= dict.fromkeys(SPLIT_KEYS, f"{table.name} gives their splits")
        if not self.config.allow_patient_overlap:
            check_patients(items, lambda item: origin[item.id, item.frame].where)
        return items, found

    def _lacking(self, row: Row, found: Stacks) -> list[str]:
        """Return the columns that a table lacks, and that would change how its images are read."""
        asked = {
            "patient": self.config.patient_pattern is None,
            "split": True,
            "mask": self.config.masks is not False,
            "slice": "frame" not in row.values
            and any(map(found.holds_several, (*found.volumes, *found.headers, *found.pages))),
        }
        return [name for name, wanted in asked.items() if wanted and name not in row.values]

    def _note_masks(self, folder: Path, table: Path, row: Row) -> None:
        """Add a note where there are masks and no column names them."""
        if self.config.masks is False or "mask" in row.values:
            return
        for place in mask_folders(folder, self.config):
            if list_images(place, deep=True).images:
                self.notes.append(f"{place} is not read: {table.name} has no column mask, which would name its files.")

    def _row(self, folder: Path, row: Row) -> Item:
        label, split = label_of(row), split_of(row)
        absolute = self.config.allow_absolute_paths
        path, mask = image_below(folder, row["path"], row.where, absolute), None
        if row["mask"] and self.config.masks is not False:
            texts = [text.strip() for text in row["mask"].split(";")]
            mask = tuple(image_below(folder, text, row.where, absolute) for text in texts)
        if label and mask is None and self.config.masks:
            raise DataError(f"{row.where}: the abnormal image has no mask. Without masks: dataset.masks=false")
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        patient = row["patient"] or self.patients.of(stem_of(name))
        return item(split, label, path, name, mask, patient, row["subgroup"] or None)

    def _read_folders(self, folder: Path) -> tuple[list[Item], Stacks]:
        self.unused["allow_absolute_paths"] = "there is no table"
        splits = _split_folders(folder)
        apart, notes = masks_apart(folder, self.outer, self.config)
        self.notes += notes
        near = [*mask_folders(folder, self.config), *apart]
        if not splits:
            self.unused["allow_patient_overlap"] = NOT_SPLIT
            classes = self._list(folder)
            self.notes += check_apart(classes)
            check_ignored(self._around(folder), classes, self.config)
            items, found = self._look(self._items(folder, "test", classes, near))
            return splits_of(items, self.config), found
        self.unused |= dict.fromkeys(SPLIT_KEYS, "their folders give the splits")
        loose = class_folders(folder, self.config)
        if loose:
            raise DataError(
                f"{folder} holds both {loose[0][1].name}/ and {splits[0].name}/. Put all class folders into splits, or "
                "none."
            )
        places = {place: SPLIT_NAMES[place.name.lower()] for place in splits}
        masks = masks_by_split(near, places, self.config, self.notes)
        around = [*self._around(folder), *splits]
        if has_defects(self, places, masks):
            items = read_defects(self, places, folder, masks, around)
        else:
            items = self._read_splits(folder, splits, masks, around)
        items, found = self._look(items)
        if not self.config.allow_patient_overlap:
            check_patients(items, lambda item: str(item.path))
        return items, found

    def _read_splits(
        self, folder: Path, splits: Sequence[Path], masks: SplitMasks, around: Sequence[Path]
    ) -> list[Item]:
        """Return the items of the class folders of splits; `around`: the folders that may hold ignored ones."""
        if masks.loose and self.config.masks is not False:
            place, first = masks.loose[0], splits[0].name
            raise DataError(
                f"{place} lies next to {first if place.parent == folder else folder.name}/, where it is not read. Put "
                f"masks into the folders of their splits, next to the class folders, or into {place.name}/{first}/ and "
                "so on. Without masks: dataset.masks=false"
            )
        self.notes += left_aside(folder, [*splits, *mask_folders(folder, self.config)], self.config, "splits")
        listed = {place: self._list(place) for place in splits}
        groups = [group for classes in listed.values() for group in classes]
        self.notes += check_apart(groups)
        check_ignored(around, groups, self.config)
        return [
            item
            for place, classes in listed.items()
            for item in self._items(place, SPLIT_NAMES[place.name.lower()], classes, masks.of_split[place])
        ]

    def _around(self, folder: Path) -> list[Path]:
        return [folder] if self.outer is None else [folder, self.outer]

    def _list(self, place: Path) -> list[ClassFolder]:
        """List the class folders of a place."""
        found = class_folders(place, self.config)
        if not found:
            raise DataError(f"{place} contains no normal/ or abnormal/ folder; found {entries(place)}.")
        known = [*(path for _, path in found), *mask_folders(place, self.config)]
        self.notes += left_aside(place, known, self.config)
        return [read_class(label, path, self.config, self.notes) for label, path in found]

    def _items(
        self, place: Path, split: Split, classes: Sequence[ClassFolder], mask_folders: Sequence[Path]
    ) -> list[Item]:
        """Return the items of the class folders of a place."""
        use_masks = self.config.masks is not False
        masks = find_masks(place, mask_folders, classes, self.config, self.notes) if use_masks else {}
        where = " or ".join(f"{name}/" for name in self.config.mask_folders)
        several = {label for label in range(len(CLASSES)) if _names_repeat(label, classes)}
        items = []
        for group in classes:
            for path in group.images:
                inner = below(path, group.folder)
                stem = stem_of(inner)
                mask = masks.get(path)
                if group.label and self.config.masks:
                    mask = need_mask(masks, path, f"{stem}.* in {where} in {self.outer or place}")
                name = f"{group.folder.name}/{inner}" if group.label in several else inner
                patient = self.patients.of(stem)
                items.append(item(split, group.label, path, name, mask, patient))
        return items


def _check_named(items: Sequence[Item], rows: Sequence[Row], where: Callable[[Item], str]) -> None:
    """Raise DataError where a table names patients in some rows alone, and nothing else names those of the others.

    A row without a patient may show one that another row names, in another split.
    """
    named = next((row for row in rows if row["patient"]), None)
    for one in items:
        if named and one.patient is None:
            raise DataError(
                f"{where(one)} has no patient, while row {named.number} has {named['patient']}. Give a patient to all "
                "rows or to none. To take such images for patients of their own: dataset.allow_patient_overlap=true"
            )


def _split_folders(folder: Path) -> list[Path]:
    """Return the folders of splits, sorted by name in lower case."""
    found = [path for path in subfolders(folder) if path.name.lower() in SPLIT_NAMES]
    return sorted(found, key=lambda path: path.name.lower())


def _names_repeat(label: int, classes: Sequence[ClassFolder]) -> bool:
    groups = [group for group in classes if group.label == label]
    names = [below(path, group.folder) for group in groups for path in group.images] if len(groups) > 1 else []
    return len(set(names)) < len(names)
