"""The user's own images, in folders or listed in a table.

    <root>/{normal,abnormal}/**           and <root>/masks/** with the paths of the abnormal images; or
    <root>/{train,valid,test}/{normal,abnormal,masks}/**
    <root>/images.csv                     path, label; and where they are known split, mask, patient, subgroup

PNG, JPEG, TIFF, BMP and DICOM. Without splits, `split_shares` and `split_seed` assign images by patient (splits.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from adbench.data.items import Item, Split
from adbench.errors import DataError, did_you_mean

from .layout import Layout, entries, image_files, item, need_mask, pair_masks, patient_of
from .splits import check_patients, deal
from .tables import Row, file_below, read_table

TABLE = "images.csv"
NEEDED, OPTIONAL = ("path", "label"), ("split", "mask", "patient", "subgroup")
LABELS = {"0": 0, "normal": 0, "1": 1, "abnormal": 1}
NOT_SPLIT = "they have no splits, and adbench gives each patient one"
SPLIT_NAMES: dict[str, Split] = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}


class Folder(Layout):
    """Images in folders or in a table, whose classes, masks and patients the configuration's keys describe."""

    expected = "normal/ and abnormal/ (below train/, valid/, test/ where there are splits), or a table images.csv"
    reads = (
        "folders",
        "table",
        "split_shares",
        "split_seed",
        "normal_folders",
        "abnormal_folders",
        "mask_folders",
        "allow_patient_overlap",
        "allow_absolute_paths",
        "patient_pattern",
    )
    phantom_images: ClassVar[dict[str, int]] = {"train": 60, "valid": 60, "test": 60}

    def looks(self, folder: Path) -> bool:
        """Whether there is a table or a class folder."""
        places = [folder, *(path for path in folder.iterdir() if path.name.lower() in SPLIT_NAMES and path.is_dir())]
        return self._table(folder) is not None or any(self._classes(place) for place in places)

    def read(self, folder: Path) -> list[Item]:
        """Return the items of the table if there is one, otherwise those of the folders."""
        table = self._table(folder)
        return self._read_table(folder, table) if table is not None else self._read_folders(folder)

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
        return folder / TABLE if (folder / TABLE).is_file() else None

    def _read_table(self, folder: Path, table: Path) -> list[Item]:
        rows = read_table(table, NEEDED, OPTIONAL)
        given = [row for row in rows if row["split"]]
        if given and len(given) < len(rows):
            row = next(row for row in rows if not row["split"])
            raise DataError(
                f"{row.where} has no split, while row {given[0].number} has one. Give a split to all rows or to none."
            )
        seen: dict[Path, Row] = {}
        items: list[Item] = []
        origin: dict[str, Row] = {}
        for row in rows:
            item = self._row(folder, row)
            if item.path in seen:
                raise DataError(f"{row.where} names {row['path']} again, as row {seen[item.path].number} did.")
            if item.id in origin:
                raise DataError(f"{row.where} has the id {item.id} of row {origin[item.id].number}. Rename the file.")
            seen[item.path] = origin[item.id] = row
            items.append(item)
        names = ("normal_folders", "abnormal_folders", "mask_folders")
        self.unused |= dict.fromkeys(names, f"{table.name} lists the images")
        if not given:
            self.unused["allow_patient_overlap"] = NOT_SPLIT
            return deal(items, self.config.split_shares, self.config.split_seed)
        self.unused |= dict.fromkeys(("split_shares", "split_seed"), f"{table.name} gives their splits")
        if not self.config.allow_patient_overlap:
            check_patients(items, lambda item: origin[item.id].where)
        return items

    def _row(self, folder: Path, row: Row) -> Item:
        label, split = LABELS.get(row["label"].lower()), SPLIT_NAMES.get(row["split"].lower() or "test")
        if label is None:
            raise DataError(f"{row.where}: unknown label {row['label']!r}: {did_you_mean(row['label'], LABELS)}")
        if split is None:
            raise DataError(f"{row.where}: unknown split {row['split']!r}: {did_you_mean(row['split'], SPLIT_NAMES)}")
        absolute = self.config.allow_absolute_paths
        path, mask = file_below(folder, row["path"], row.where, absolute), None
        if row["mask"] and not label:
            raise DataError(f"{row.where}: a normal image has a mask, {row['mask']}. Remove the mask or fix the label.")
        if row["mask"] and self.config.masks is not False:
            mask = tuple(file_below(folder, text.strip(), row.where, absolute) for text in row["mask"].split(";"))
        if label and mask is None and self.config.masks:
            raise DataError(f"{row.where}: the abnormal image has no mask. Without masks: dataset.masks=false")
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        patient = row["patient"] or patient_of(self.config.patient_pattern, name.rpartition(".")[0])
        return item(split, label, path, name, mask, patient, row["subgroup"] or None)

    def _read_folders(self, folder: Path) -> list[Item]:
        splits = {p.name.lower(): p for p in folder.iterdir() if p.is_dir() and p.name.lower() in SPLIT_NAMES}
        self.unused["allow_absolute_paths"] = "there is no table"
        if not splits:
            self.unused["allow_patient_overlap"] = NOT_SPLIT
            return deal(self._place(folder, "test"), self.config.split_shares, self.config.split_seed)
        self.unused |= dict.fromkeys(("split_shares", "split_seed"), "their folders give the splits")
        loose = self._classes(folder)
        if loose:
            raise DataError(
                f"{folder} holds both {loose[0][1].name}/ and {next(iter(splits.values())).name}/. Put all class "
                "folders into splits, or none."
            )
        items = [item for name, place in sorted(splits.items()) for item in self._place(place, SPLIT_NAMES[name])]
        if not self.config.allow_patient_overlap:
            check_patients(items, lambda item: str(item.path))
        return items

    def _classes(self, place: Path) -> list[tuple[int, Path]]:
        """The class folders in a place, as (label, folder)."""
        names = {name.lower(): 0 for name in self.config.normal_folders}
        names |= {name.lower(): 1 for name in self.config.abnormal_folders}
        return [(names[p.name.lower()], p) for p in sorted(place.iterdir()) if p.is_dir() and p.name.lower() in names]

    def _place(self, place: Path, split: Split) -> list[Item]:
        classes, masks = self._classes(place), self._masks(place)
        if not classes:
            raise DataError(f"{place} contains no normal/ or abnormal/ folder; found {entries(place)}.")
        items = []
        for label, folder in classes:
            for path in image_files(folder, deep=True):
                inner = path.relative_to(folder)
                stem, mask = inner.with_suffix("").as_posix(), None
                if label and self.config.masks:
                    names = " or ".join(f"{name}/" for name in self.config.mask_folders)
                    mask = need_mask(masks, stem, path, f"{stem}.* in {names} in {place}")
                elif label:
                    mask = masks.get(stem)
                patient = patient_of(self.config.patient_pattern, stem)
                items.append(item(split, label, path, inner.as_posix(), mask, patient))
        return items

    def _masks(self, place: Path) -> dict[str, tuple[Path, ...]]:
        wanted = {name.lower() for name in self.config.mask_folders} if self.config.masks is not False else set()
        masks: dict[str, tuple[Path, ...]] = {}
        for folder in sorted(path for path in place.iterdir() if path.is_dir() and path.name.lower() in wanted):
            for image, files in pair_masks(image_files(folder, deep=True), folder).items():
                masks[image] = (*masks.get(image, ()), *files)
        return masks
