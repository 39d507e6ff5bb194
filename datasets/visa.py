"""VisA (Zou et al., ECCV 2022, arXiv 2207.14315): 12 categories of industrial objects.

    <folder>/split_csv/1cls.csv                          object, split, label (normal or anomaly), image, mask
    <folder>/<category>/Data/Images/{Normal,Anomaly}/*   the files of `image`
    <folder>/<category>/Data/Masks/Anomaly/*             the files of `mask`; small numbers for kinds of defect, else 0

`dataset.category=candle` reads one category, `dataset.category=all` (the default) all of them as one set. The owner's
other splits: `dataset.table=split_csv/2cls_fewshot.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.items import Item, Split
from adbench.errors import DataError

from .layout import Layout, categories_asked, chosen, item
from .tables import Row, file_below, read_table

LABELS = {"normal": 0, "anomaly": 1}
SPLIT_NAMES: dict[str, Split] = {"train": "train", "test": "test"}
COLUMNS = ("object", "split", "label", "image", "mask")


class VisA(Layout):
    """One category of VisA, or all."""

    expected = "split_csv/1cls.csv and <category>/Data/{Images,Masks}"
    reads = ("folders", "category", "categories", "table")

    def looks(self, folder: Path) -> bool:
        """Whether the table of splits is there."""
        return self._table(folder).is_file()

    def read(self, folder: Path) -> list[Item]:
        """Return the items of the categories asked for, in the split of the table."""
        wanted, seen, items = chosen(self.config), dict[Path, str](), list[Item]()
        for row in read_table(self._table(folder), COLUMNS):
            if row["object"] not in self.config.categories:
                known = ", ".join(self.config.categories)
                raise DataError(f"{row.where}: unknown object {row['object']!r}. Allowed: {known}.")
            if row["object"] not in wanted:
                continue
            image = self._item(folder, row)
            if image.path in seen:
                raise DataError(f"{row.where} names {row['image']} again, as {seen[image.path]} did. Remove one row.")
            seen[image.path] = f"row {row.number}"
            items.append(image)
        return items

    def places(self, folder: Path) -> Sequence[Path]:
        """Leave out the categories that are not asked for."""
        return categories_asked(folder, self.config)

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw the categories asked for, `counts` dealt over them; masks hold 0 and 1, as the owner's small numbers."""
        from .phantoms import FAMILIES
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        rows = [",".join(COLUMNS)]
        names = chosen(self.config)
        train, test = (max(2, counts[split] // len(names)) for split in ("train", "test"))
        for name in names:
            number = list(self.config.categories).index(name)
            wanted = {"train": (train, 0), "test": halves(test)}
            for i, scene in enumerate(scenes(FAMILIES[number % len(FAMILIES)], 30 + number, wanted)):
                place = ("Normal", "Anomaly")[scene.label]
                image, mask = f"{name}/Data/Images/{place}/{i:03d}.JPG", ""
                save(folder / image, scene.phantom.image)
                if scene.label:
                    mask = f"{name}/Data/Masks/Anomaly/{i:03d}.png"
                    save(folder / mask, scene.phantom.mask.astype("uint8"))
                rows.append(",".join([name, scene.split, ("normal", "anomaly")[scene.label], image, mask]))
                yield
        (folder / "split_csv").mkdir()
        (folder / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _table(self, folder: Path) -> Path:
        return folder / (self.config.table or "split_csv/1cls.csv")

    def _item(self, folder: Path, row: Row) -> Item:
        for column, allowed in (("label", LABELS), ("split", SPLIT_NAMES)):
            if row[column] not in allowed:
                raise DataError(f"{row.where}: unknown {column} {row[column]!r}. Allowed: {', '.join(allowed)}.")
        label, mask = LABELS[row["label"]], None
        if label and self.config.masks:
            if not row["mask"]:
                raise DataError(f"{row.where}: the abnormal image has no mask. Without masks: dataset.masks=false")
            mask = (file_below(folder, row["mask"], row.where),)
        path = file_below(folder, row["image"], row.where)
        prefix = f"{row['object']}/" if len(chosen(self.config)) > 1 else ""
        return item(SPLIT_NAMES[row["split"]], label, path, f"{prefix}{path.name}", mask, None, row["object"])
