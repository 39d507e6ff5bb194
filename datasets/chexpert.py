"""CheXpert (Irvin et al., AAAI 2019, arXiv 1901.07031): MediCLIP's selection of it, and Stanford's own archives.

    MediCLIP    see mediclip.py
    Stanford    <folder>/{train,valid}.csv    Path, Frontal/Lateral, No Finding and 13 observations: 1, 0, -1 or empty
                <folder>/{train,valid}/patient00001/study1/view1_frontal.jpg

Of Stanford's archives frontal views are read. Normal is `No Finding` 1; abnormal is a 1 in any other observation
except `Support Devices`. Films with neither (uncertain, or devices alone), or with both, are left out.
The train table is the train split; the valid table, read by radiologists, is the test split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from adbench.data.items import Item, Split
from adbench.errors import DataError
from adbench.system.text import counted

from .layout import item
from .mediclip import MediCLIP
from .tables import Row, file_below, read_table

TABLES: dict[str, Split] = {"train.csv": "train", "valid.csv": "test"}
FINDINGS = (
    "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
)  # fmt: skip
PATIENT = re.compile(r".*?(patient\d+)/")
VALUES = {"": None, "1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1}


class CheXpert(MediCLIP):
    """Chest films of Stanford Hospital."""

    expected = "samples/{train,test}.json and images/, as MediCLIP has it, or Stanford's {train,valid}.csv with images"
    reads = ("folders", "patient_pattern")
    family = "chestxray"
    names: ClassVar[tuple[str, str]] = ("{:05d}", "{:05d}")

    def owners(self, folder: Path) -> bool:
        """Whether there are Stanford's two tables."""
        return all((folder / name).is_file() for name in TABLES)

    def read_owners(self, folder: Path) -> list[Item]:
        """Return the frontal films of both tables that are normal or abnormal."""
        return [film for name, split in TABLES.items() for film in _read_films(folder, name, split, self.notes)]

    def places(self, folder: Path) -> Sequence[Path]:
        """Return none for Stanford's archives, of which lateral and uncertain films are left out."""
        return [] if self.owners(folder) else super().places(folder)


def label_of(row: Row) -> tuple[int | None, str | None]:
    """Return (0, None) for a normal film, (1, findings) for an abnormal one, (None, None) for one of neither class."""
    values = {}
    for column in ("No Finding", *FINDINGS):
        if row[column] not in VALUES:
            raise DataError(f"{row.where}: {column} is {row[column]!r}; 1, 0, -1 and empty are possible.")
        values[column] = VALUES[row[column]]
    findings = [name for name in FINDINGS if values[name] == 1]
    if values["No Finding"] == 1:
        return (None, None) if findings else (0, None)
    return (1, "|".join(findings)) if findings else (None, None)


def _read_films(folder: Path, name: str, split: Split, notes: list[str]) -> list[Item]:
    films, lateral, unclear = [], 0, 0
    for row in read_table(folder / name, ("Path", "Frontal/Lateral", "No Finding", *FINDINGS)):
        label, findings = label_of(row)
        if row["Frontal/Lateral"] != "Frontal" or label is None:
            lateral += row["Frontal/Lateral"] != "Frontal"
            unclear += row["Frontal/Lateral"] == "Frontal"
            continue
        # `Path` starts with the archive's name, whatever the folder is called here.
        text = row["Path"].partition("/")[2]
        path = file_below(folder, text, row.where)
        match = PATIENT.match(text)
        patient = match[1] if match else None
        films.append(item(split, label, path, text.partition("/")[2], None, patient, findings))
    if lateral or unclear:
        notes.append(f"{name}: {counted(lateral, 'film')} from the side and {unclear} of neither class are left out.")
    return films
