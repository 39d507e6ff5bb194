"""OCTDL (Kulyabin et al., Scientific Data 11, 2024, arXiv 2312.08255), as its authors ship it.

    <folder>/{AMD,DME,ERM,NO,RAO,RVO,VID}/*.jpg    NO is normal
    <folder>/OCTDL_labels.csv                      file_name (without ending), disease, patient_id, ...

There is no official split: as the target of a cross-dataset table, the whole set is the test split. To draw supports,
split it by patient: `dataset.split_shares=[0.5,0,0.5]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from adbench.data.items import Item
from adbench.errors import DataError

from .layout import Layout, image_files, item
from .splits import splits_of
from .tables import Row, read_table

TABLE = "OCTDL_labels.csv"
NORMAL = "NO"
DISEASES = ("AMD", "DME", "ERM", NORMAL, "RAO", "RVO", "VID")
COLUMNS = ("file_name", "disease", "patient_id")


class OCTDL(Layout):
    """Retinal OCT slices with the diagnosis of the eye."""

    expected = f"{TABLE} and {{{','.join(DISEASES)}}}/"
    reads = ("folders", "split_shares", "split_seed", "folds", "fold")
    phantom_images: ClassVar[dict[str, int]] = {"test": 120}

    def looks(self, folder: Path) -> bool:
        """Whether the table of labels is there."""
        return (folder / TABLE).is_file()

    def read(self, folder: Path) -> list[Item]:
        """Return the items of all folders, assigned to splits; `subgroup` is the diagnosis."""
        rows: dict[str, Row] = {}
        for row in read_table(folder / TABLE, COLUMNS):
            name = Path(row["file_name"]).stem
            if row["disease"] not in DISEASES:
                raise DataError(f"{row.where}: unknown disease {row['disease']!r}. Allowed: {', '.join(DISEASES)}.")
            if name in rows:
                raise DataError(f"{row.where} names {name} again, as row {rows[name].number} did. Remove one row.")
            rows[name] = row
        items = []
        for disease in DISEASES:
            for path in image_files(folder / disease):
                if path.stem not in rows:
                    raise DataError(f"{path} has no row in {folder / TABLE}; its patient is unknown. Remove or add it.")
                row = rows[path.stem]
                if row["disease"] != disease:
                    raise DataError(f"{row.where} says {row['disease']} of {path}, which is in {disease}/.")
                label = int(disease != NORMAL)
                items.append(item("test", label, path, None, None, row["patient_id"], disease))
        return splits_of(items, self.config)

    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw retinal phantoms; the diagnoses are named in turn."""
        from .phantoms.scenes import save, scenes
        from .phantoms.write import halves

        rows = [",".join(COLUMNS)]
        ill = [name for name in DISEASES if name != NORMAL]
        for scene in scenes("oct17", 1, {"test": halves(counts["test"])}, slices=2):
            disease = ill[scene.patient % len(ill)] if scene.label else NORMAL
            name = f"{disease.lower()}_{1000 + scene.patient}_{scene.slice + 1}"
            save(folder / disease / f"{name}.jpg", scene.phantom.image)
            rows.append(f"{name},{disease},{1000 + scene.patient}")
            yield
        (folder / TABLE).write_text("\n".join(rows) + "\n", encoding="utf-8")
