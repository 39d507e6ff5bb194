"""The rows of a table of the user's own images: label, split, slice and files of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adbench.data.decode import IMAGES, is_read
from adbench.data.frames import Frame
from adbench.data.items import Item, Split
from adbench.data.listing import ending_of, identity_of
from adbench.errors import DataError, did_you_mean

from .patients import WHOLE
from .splits import TABLE_SPLITS
from .tables import Row, file_below

NUMBERS = ("slice", "frame")  # columns with the number of an image in a file that holds several
LABELS = {"0": 0, "normal": 0, "1": 1, "abnormal": 1} | (  # and as other tools write them
    dict.fromkeys(("false", "good", "healthy", "ok", "negative"), 0)
    | dict.fromkeys(("true", "ungood", "bad", "anomaly", "anomalous", "diseased", "positive"), 1)
)  # fmt: skip


def label_of(row: Row) -> int:
    """Return the label of a row, 0 or 1; raises DataError for a word or number that means neither.

    >>> [label_of(Row(Path("t.csv"), 2, {"label": text})) for text in ("Normal", "1.0", "0,0", "TRUE", "bad")]
    [0, 1, 0, 1, 1]
    """
    text = re.sub(r"^([01])[.,]0+$", r"\1", row["label"].lower())
    if text not in LABELS:
        raise DataError(f"{row.where}: unknown label {row['label']!r}: {did_you_mean(text, LABELS)}")
    return LABELS[text]


def split_of(row: Row) -> Split:
    """Return the split of a row; test where there is none. Raises DataError for an unknown one."""
    text = row["split"].lower() or "test"
    if text not in TABLE_SPLITS:
        raise DataError(f"{row.where}: unknown split {row['split']!r}: {did_you_mean(text, TABLE_SPLITS)}")
    return TABLE_SPLITS[text]


def frame_of(row: Row) -> Frame | None:
    """Return the image that a row names in a file that holds several; None: all of them.

    A spreadsheet writes 3 as 3.0 in a column with gaps. Raises DataError for what is no number.
    """
    column, text = next(((name, row[name]) for name in NUMBERS if row[name]), ("", ""))
    if whole := WHOLE.match(text):
        text = whole[1]
    if text and not text.isdecimal():
        raise DataError(f"{row.where}: the {column} {text!r} is no number; the images of a file are numbered from 0.")
    return Frame(int(text)) if text else None


def image_below(base: Path, text: str, where: str, absolute: bool = False) -> Path:
    """Return the image file that a row names; raises DataError as `file_below`, and for a file that is not read."""
    file = file_below(base, text, where, absolute)
    if not is_read(file):
        ending = ending_of(file.name)
        what = f"the ending {ending}" if ending else "no ending"
        raise DataError(
            f"{where}: {text} has {what}, and its content is of no format that is read. Read are {', '.join(IMAGES)}, "
            "and with other endings DICOM and what Pillow opens, such as GIF and JPEG 2000. Save it as one of these, "
            "or remove the row."
        )
    return file


def check_masks(listed: Sequence[tuple[Row, Item]]) -> None:
    """Raise DataError for a mask that is an image of the table, and for masks of normal images alone.

    The mask of a normal image must be empty, which a run checks where it reads masks.
    """
    masked = [(row, item) for row, item in listed if item.mask_files]
    images = {identity_of(item.path): row for row, item in listed} if masked else {}
    for row, item in masked:
        for mask in item.mask_files:
            other = images.get(identity_of(mask))
            if other is not None:
                raise DataError(
                    f"{row.where}: the mask {row['mask']} is itself an image, that of row {other.number}. Name the "
                    "file of the mask, or leave it empty."
                )
    if masked and not any(item.label for _, item in masked):
        row, _ = masked[0]
        raise DataError(
            f"{row.where}: a normal image has a mask, {row['mask']}, and no abnormal image has one. Remove the mask or "
            "fix the label. Without masks: dataset.masks=false"
        )
