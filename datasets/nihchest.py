"""NIH ChestX-ray14 (Wang et al., CVPR 2017, arXiv 1705.02315), as the NIH Clinical Center ships it.

    <folder>/Data_Entry_2017_v2020.csv               Image Index, Finding Labels, Patient ID, ...
    <folder>/{train_val_list,test_list}.txt          the official split by patient, a file name a line
    <folder>/images/*.png, or images_001/images/*.png ... as unpacked from the twelve archives

Normal is `No Finding`. Findings were mined from reports, so some labels are wrong. MadCLIP doesn't say which part it
tested on; adbench uses the official test list.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adbench.data.items import Item, Split
from adbench.data.text import read_text
from adbench.errors import DataError

from .layout import Layout, image_files, item
from .tables import Row, read_table

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS: dict[str, Split] = {"train_val_list.txt": "train", "test_list.txt": "test"}
NORMAL = "No Finding"
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")


class NIHChest(Layout):
    """Chest films of the NIH Clinical Center, in the official split."""

    expected = "Data_Entry_2017_v2020.csv, train_val_list.txt, test_list.txt and images/ or images_001/images/ ..."

    def looks(self, folder: Path) -> bool:
        """Whether one of the tables is there."""
        return any((folder / name).is_file() for name in TABLES)

    def read(self, folder: Path) -> list[Item]:
        """Return the items of both lists; `subgroup` holds the findings, `|` between them."""
        table = next(folder / name for name in TABLES if (folder / name).is_file())
        rows: dict[str, Row] = {}
        for row in read_table(table, COLUMNS):
            if row["Image Index"] in rows:
                other = rows[row["Image Index"]].number
                raise DataError(f"{row.where} names {row['Image Index']} again, as row {other} did. Remove one row.")
            rows[row["Image Index"]] = row
        places = [folder / "images", *sorted(folder.glob("images_*/images"))]
        images = {path.name: path for place in places for path in image_files(place)}
        listed: dict[str, str] = {}
        return [
            _item(name, split, where, rows, images, listed)
            for file, split in LISTS.items()
            for where, name in _names(folder / file)
        ]

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw chest phantoms with both classes in both lists, in two archives' folders."""
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        rows, lists = [",".join(COLUMNS)], {split: list[str]() for split in LISTS.values()}
        for scene in scenes("chestxray", 2, {split: halves(counts[split]) for split in lists}, slices=2):
            name = f"{scene.patient + 1:08d}_{scene.slice:03d}.png"
            save(folder / f"images_{1 + scene.patient % 2:03d}" / "images" / name, scene.phantom.image)
            rows.append(f"{name},{scene.phantom.kind.capitalize() or NORMAL},{scene.patient + 1}")
            lists[scene.split].append(name)
            yield
        (folder / TABLES[0]).write_text("\n".join(rows) + "\n", encoding="utf-8")
        for file, split in LISTS.items():
            (folder / file).write_text("\n".join(lists[split]) + "\n", encoding="utf-8")


def _names(file: Path) -> Iterator[tuple[str, str]]:
    if not file.is_file():
        raise DataError(f"{file} does not exist; the official split is needed: {' and '.join(LISTS)}.")
    try:
        lines = read_text(file).content.splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{file} line {number}", line.strip()


def _item(
    name: str, split: Split, where: str, rows: dict[str, Row], images: dict[str, Path], listed: dict[str, str]
) -> Item:
    if name in listed:
        raise DataError(f"{where} names {name} again, as {listed[name]} did. Remove one line.")
    listed[name] = where
    if name not in rows:
        raise DataError(f"{where} names {name}, which has no row in {next(iter(rows.values())).file}.")
    if name not in images:
        raise DataError(
            f"{where} names {name}, which is in no images folder; {len(images)} images are there. For a part of the "
            "set use dataset=folder with a table."
        )
    row = rows[name]
    findings = [text.strip() for text in row["Finding Labels"].split("|")]
    normal = NORMAL.lower() in [text.lower() for text in findings]
    if not all(findings) or (normal and len(findings) > 1):
        raise DataError(
            f"{row.where}: the findings {row['Finding Labels']!r} of {name} are not possible. Write {NORMAL} alone, or "
            "findings with | between them."
        )
    kind = NORMAL if normal else "|".join(findings)
    return item(split, int(not normal), images[name], None, None, row["Patient ID"], kind)
