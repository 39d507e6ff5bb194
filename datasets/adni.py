"""ADNI (Alzheimer's Disease Neuroimaging Initiative), as LONI's archive delivers a collection of MR images.

    <folder>/<collection>.csv                                        Image Data ID, Subject, Group, ...
    <folder>/<subject>/<description>/<date>/<image data id>/*.dcm    one file for each slice of the volume

A volume gives one image: its middle slice, by the slice numbers in the file names. Normal is group CN, abnormal is AD;
other groups (MCI, ...) are left out. How MadCLIP made images of ADNI is not published, so figures on this dataset
compare with no published table. Slices already exported as pictures are read with `dataset=folder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from adbench.data.items import Item
from adbench.data.listing import is_hidden
from adbench.errors import DataError
from adbench.system.text import counted

from .layout import Layout, image_files, item
from .splits import splits_of
from .tables import Row, read_table

COLUMNS = ("Image Data ID", "Subject", "Group")
GROUPS = {"CN": 0, "AD": 1}
SLICE = re.compile(r"_(\d+)(?:_S\d+)?(?:_I\d+)?$")  # ADNI_002_S_0295_MR_..._87_S13408_I13722.dcm is slice 87


class ADNI(Layout):
    """Middle slices of brain volumes: cognitively normal against Alzheimer's disease."""

    expected = "LONI's table (*.csv) and <subject>/<description>/<date>/<image data id>/*.dcm"
    reads = ("folders", "table", "split_shares", "split_seed", "folds", "fold")
    phantom_images: ClassVar[dict[str, int]] = {"test": 80}

    def looks(self, folder: Path) -> bool:
        """Whether there are a table and a folder whose name is that of a subject."""
        return bool(_tables(folder)) and any(folder.glob("[0-9][0-9][0-9]_S_[0-9]*"))

    def read(self, folder: Path) -> list[Item]:
        """Return one item for each volume of the groups CN and AD, assigned to splits by subject."""
        volumes = {path.name: path for path in sorted(folder.glob("*_S_*/*/*/I*")) if path.is_dir()}
        items, seen = [], dict[str, Row]()
        for row in read_table(self._table(folder), COLUMNS):
            name = row["Image Data ID"]
            if name in seen:
                raise DataError(f"{row.where} names {name} again, as row {seen[name].number} did. Remove one row.")
            seen[name] = row
            if row["Group"] not in GROUPS:
                continue
            if name not in volumes:
                raise DataError(f"{row.where}: there is no folder {row['Subject']}/*/*/{name} in {folder}.")
            path = middle_slice(volumes[name])
            items.append(item("test", GROUPS[row["Group"]], path, path.name, None, row["Subject"], row["Group"]))
        if unlisted := sorted(set(volumes) - set(seen)):
            self.notes.append(
                f"{counted(len(unlisted), 'volume')} in {folder.name}/ without a row in the table "
                f"{'is' if len(unlisted) == 1 else 'are'} left out: for example {unlisted[0]}."
            )
        return splits_of(items, self.config)

    def places(self, folder: Path) -> Sequence[Path]:
        """Return none: of each volume one slice is read."""
        return []

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw brain phantoms of three slices each, as PNG so that it needs no pydicom; the middle one is scored."""
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        rows = [",".join(COLUMNS)]
        healthy, ill = halves(counts["test"])
        for scene in scenes("brainmri", 2, {"test": (3 * healthy, 3 * ill)}, slices=3):
            subject, image = f"{scene.patient % 100:03d}_S_{scene.patient:04d}", f"I{10_000 + scene.patient}"
            name = f"ADNI_{subject}_MR_MPRAGE_{scene.slice + 1}_S{scene.patient}_{image}.png"
            save(folder / subject / "MPRAGE" / "2006-04-18_20_13_11.0" / image / name, scene.phantom.image)
            if scene.slice == 1:
                rows.append(f"{image},{subject},{('CN', 'AD')[scene.label]}")
                yield
        (folder / "phantom.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _table(self, folder: Path) -> Path:
        if self.config.table:
            return folder / self.config.table
        tables = _tables(folder)
        if len(tables) > 1:
            raise DataError(
                f"{folder} holds {len(tables)} tables, {tables[0].name} and {tables[1].name} among them. Name the one "
                f"that is meant: dataset.table={tables[0].name}"
            )
        return tables[0]


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.csv") if not is_hidden(path.name))


def middle_slice(volume: Path) -> Path:
    """Return the file of a volume's middle slice by slice number; of an even number of slices the upper middle one."""
    files = image_files(volume)
    if not files:
        raise DataError(
            f"{volume} holds no DICOM slices. NIfTI volumes (.nii) are not read: export the slices as pictures and use "
            "dataset=folder."
        )
    numbers = {path: SLICE.search(path.stem) for path in files}
    unnumbered = [path for path, match in numbers.items() if match is None]
    if unnumbered and len(files) > 1:
        raise DataError(f"{unnumbered[0]} has no slice number in its name, so the middle of the volume is unknown.")
    files.sort(key=lambda path: int(match[1]) if (match := numbers[path]) else 0)
    return files[len(files) // 2]
