"""The files of a record, read with bounds: a few bytes of Parquet or PNG may stand for gigabytes."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adbench.errors import RecordError
from adbench.metrics.keys import HIGHEST, LOWEST
from adbench.metrics.per_image import BINS
from adbench.records.files import HISTOGRAM, PREDICTIONS
from adbench.system.text import printable

MOST_BINS = 2**24  # rows of a histogram
MOST_CONTRIBUTIONS = 2**26  # rows of the histograms of single images
MOST_BYTES = 2**31  # of a file, and of a table's texts in memory
MISSING = "it is missing"
MOST_PNG, MOST_SIDE = 2**26, 16_384
SMALLEST, LARGEST = float(np.finfo(np.float32).smallest_subnormal), float(np.finfo(np.float32).max)
PREDICTIONS_COLUMNS = {
    "image": "text", "label": "integer", "score": "float", "map_max": "float", "map_mean": "float", "patient": "text",
    "subgroup": "text", "lesion_area": "integer", "aupimo": "float", "aupimo_loose": "float",
}  # fmt: skip
HELD_OUT_COLUMNS = {"image": "text", "label": "integer", "score": "float", "map_max": "float", "patient": "text"}
HELD_OUT_PIXELS_COLUMNS = {"bin": "integer", "pixels": "integer"}
HISTOGRAM_COLUMNS = {
    "keys": "integer", "positive": "integer", "negative": "integer", "region_weight": "float", "mixed": "boolean",
}  # fmt: skip
IMAGE_HISTOGRAMS_COLUMNS = {
    "image": "integer", "bin": "integer", "positive": "integer", "negative": "integer", "region_weight": "float",
}  # fmt: skip
LESIONS_COLUMNS = {"image": "integer", "area": "integer", "score": "float"}
FALSE_POSITIVES_COLUMNS = {"image": "integer", "specificity": "float", "threshold": "float", "regions": "integer"}


def regular(file: Path, most: int = MOST_BYTES) -> str | None:
    """Return why a file of a record is not read: it is missing, a link, no file, or too large; None for a good one."""
    try:
        status = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except (OSError, ValueError) as error:
        return reason(error)
    if stat.S_ISLNK(status.st_mode):
        return "it is a link, and a record holds its files itself"
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_size > most:
        return f"it has {status.st_size:,} bytes, more than {most:,}"
    return None


def reason(error: BaseException) -> str:
    """Return the first line of an error, or its class where it has no text."""
    lines = str(error.strerror if isinstance(error, OSError) and error.strerror else error).split("\n")
    return printable(lines[0][:200]) or type(error).__name__


def read_table(file: Path, kinds: Mapping[str, str], rows: range, needed: int) -> pd.DataFrame:
    """Read a Parquet file of a record.

    Args:
        file: where it lies.
        kinds: what its columns may be; others are not read.
        rows: how many rows it may have.
        needed: so many of `kinds`, the first ones, must be there.

    Raises:
        RecordError: it is missing, damaged, too large, or has other columns. Nothing large is read before that is
            known.

    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    if why := regular(file):
        raise unreadable(file, why)
    is_kind = {
        "text": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind),
        "integer": pa.types.is_integer, "float": pa.types.is_floating, "boolean": pa.types.is_boolean,
    }  # fmt: skip
    texts = [name for name, kind in kinds.items() if kind == "text"]
    try:
        with parquet.ParquetFile(file) as opened:
            count, schema = opened.metadata.num_rows, opened.schema.to_arrow_schema()
            if count not in rows:
                wanted = f"{rows[0]}" if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
                raise unreadable(file, f"it has {count:,} rows, not {wanted}")
            names = [name for name in kinds if name in schema.names]
            for place, (name, kind) in enumerate(kinds.items()):
                found = schema.names.count(name)
                if found > 1 or (not found and place < needed):
                    raise unreadable(file, f"it has {found} columns {name}")
                if found and not is_kind[kind](schema.field(name).type):
                    raise unreadable(file, f"its column {name} is {schema.field(name).type}, not {kind}")
            groups = [opened.metadata.row_group(i) for i in range(opened.metadata.num_row_groups)]
            if sum(group.total_byte_size for group in groups) > MOST_BYTES:
                raise unreadable(file, "it holds too much")
        texts = [name for name in texts if name in names]
        # Texts stay in their dictionary, where one that is repeated a billion times is there once.
        with parquet.ParquetFile(file, read_dictionary=texts) as opened:
            table = opened.read(columns=names, use_threads=False).select(names)
        for name in texts:
            if pa.types.is_dictionary(table[name].type):
                lengths = [compute.max(compute.binary_length(part.dictionary)).as_py() for part in table[name].chunks]
                if max(filter(None, lengths), default=0) * count > MOST_BYTES:
                    raise unreadable(file, f"the texts of its column {name} are too long")
                table = table.set_column(names.index(name), name, table[name].cast(pa.large_string()))
        frame: pd.DataFrame = table.to_pandas()
    except RecordError:
        raise
    except Exception as error:  # pyarrow and pandas raise a dozen unrelated types for damaged files
        raise unreadable(file, reason(error)) from error
    if list(frame) != names or len(frame) != count:
        raise unreadable(file, "its columns and its metadata disagree")
    return frame


def held_out(file: Path, images: int) -> pd.DataFrame:
    """Read held_out.parquet of a record of `images` held-out images."""
    return _scored(file, HELD_OUT_COLUMNS, images)


def held_out_pixels(file: Path, shift: int) -> dict[str, Any]:
    """Read held_out_pixels.parquet of a record: its columns as arrays (B,), a row per bin of `shift`."""
    table = read_table(file, HELD_OUT_PIXELS_COLUMNS, range(1, BINS + 1), len(HELD_OUT_PIXELS_COLUMNS))
    if table.isna().to_numpy().any():
        raise unreadable(file, "a value is missing")
    bins, pixels = (table[name].to_numpy() for name in HELD_OUT_PIXELS_COLUMNS)
    if (bins[1:] <= bins[:-1]).any() or bins[0] < LOWEST >> shift or bins[-1] > HIGHEST >> shift:
        raise unreadable(file, "its bins don't rise, or are of no number of 32 bits")
    if (pixels < 0).any() or not 0 < pixels.astype(np.float64).sum() <= 2**53:
        raise unreadable(file, "a count is negative or too large")
    return {"bin": bins, "pixels": pixels}


def predictions(folder: Path, images: int, names: Sequence[str] = tuple(PREDICTIONS_COLUMNS)) -> pd.DataFrame:
    """Read predictions.parquet of a record of `images` test images: some columns, those that it has.

    names: the columns; image, label and score, which every record has, come first.
    """
    file = folder / PREDICTIONS
    return _scored(file, {name: PREDICTIONS_COLUMNS[name] for name in names}, images)


def _scored(file: Path, kinds: Mapping[str, str], images: int) -> pd.DataFrame:
    """Read a table of `images` scored images, whose first columns are image, label and score."""
    table = read_table(file, kinds, range(images, images + 1), 3)
    if table["image"].isna().any() or not table["label"].isin((0, 1)).all():
        raise unreadable(file, "an image has no name, or a label other than 0 and 1")
    if not table["image"].is_unique:
        raise unreadable(file, "two images have one name")
    scores = np.abs(table["score"].to_numpy(np.float64))
    if not ((scores == 0) | ((scores >= SMALLEST) & (scores <= LARGEST))).all():  # NaN is neither
        raise unreadable(file, "a score is not a finite number of 32 bits")
    for name, most in (("lesion_area", 2**53), ("aupimo", 1 + 1e-9), ("aupimo_loose", 1 + 1e-9)):
        if name in table and not table[name].dropna().between(0, most).all():
            raise unreadable(file, f"a value of {name} is negative or too large")
    return table


def histogram(folder: Path, names: Sequence[str] = tuple(HISTOGRAM_COLUMNS)) -> dict[str, Any]:
    """Read histogram.parquet of a record: some columns as arrays (B,), a row per bin.

    names: the columns; `keys` is one of them.
    """
    file = folder / HISTOGRAM
    table = read_table(file, {name: HISTOGRAM_COLUMNS[name] for name in names}, range(1, MOST_BINS + 1), len(names))
    if table.isna().to_numpy().any():
        raise unreadable(file, "a value is missing")
    columns = {str(name): table[name].to_numpy() for name in table}
    keys, amounts = columns["keys"], [column for name, column in columns.items() if name not in ("keys", "mixed")]
    if keys[0] < 0 or keys[-1] >= 2**32 or (keys[1:] <= keys[:-1]).any():
        raise unreadable(file, "its keys don't rise from 0 to 2**32")
    if any(
        (column < 0).any() or not np.isfinite(column).all() or column.astype(np.float64).sum() > 2**53
        for column in amounts
    ):
        raise unreadable(file, "a count is negative or too large")
    return columns


def image_histograms(file: Path) -> dict[str, Any]:
    """Read image_histograms.parquet of a record: its columns as arrays (R,), a row per image and bin."""
    table = read_table(file, IMAGE_HISTOGRAMS_COLUMNS, range(1, MOST_CONTRIBUTIONS + 1), len(IMAGE_HISTOGRAMS_COLUMNS))
    if table.isna().to_numpy().any():
        raise unreadable(file, "a value is missing")
    columns = {str(name): table[name].to_numpy() for name in table}
    if any((column < 0).any() or not np.isfinite(column).all() for name, column in columns.items() if name != "bin"):
        raise unreadable(file, "a count is negative or too large")
    if np.ptp(columns["bin"].astype(np.int64)) >= BINS:
        raise unreadable(file, f"it has more than {BINS} bins")
    return columns


def lesions(file: Path, content: Mapping[str, Any]) -> pd.DataFrame:
    """Read lesions.parquet of a record with that record.json: one row per lesion."""
    number = content["lesions"]["number"]
    table = _of_images(file, LESIONS_COLUMNS, range(number, number + 1), content["test_images"])
    if (table["area"] < 1).any():
        raise unreadable(file, "a lesion has no pixel")
    return table


def false_positives(file: Path, content: Mapping[str, Any]) -> pd.DataFrame:
    """Read false_positives.parquet of a record with that record.json: one row per test image and threshold."""
    rows = content["test_images"] * content["lesions"]["thresholds"]
    table = _of_images(file, FALSE_POSITIVES_COLUMNS, range(rows, rows + 1), content["test_images"])
    if (table["regions"] < 0).any() or not table["specificity"].between(0, 1).all():
        raise unreadable(file, "a count is negative, or a specificity not from 0 to 1")
    return table


def _of_images(file: Path, kinds: Mapping[str, str], rows: range, images: int) -> pd.DataFrame:
    table = read_table(file, kinds, rows, len(kinds))
    if table.isna().to_numpy().any() or not np.isfinite(table.to_numpy(np.float64)).all():
        raise unreadable(file, "a value is missing or not finite")
    if not table["image"].between(0, images - 1).all():
        raise unreadable(file, f"it names an image that is not one of {images}")
    return table


def picture_width(file: Path) -> int:
    """Return the width of a PNG in pixels, read from its header; raises RecordError for any other file."""
    if why := regular(file, MOST_PNG):
        raise RecordError(f"{file} is left out: {why}.")
    try:
        with file.open("rb") as opened:
            head = opened.read(24)
    except OSError as error:
        raise RecordError(f"{file} is left out: {reason(error)}.") from error
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise RecordError(f"{file} is left out: it is no PNG.")
    width, height = struct.unpack(">II", head[16:24])
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE):
        raise RecordError(f"{file} is left out: it is {width} x {height} pixels large.")
    return int(width)


def unreadable(file: Path, why: str) -> RecordError:
    """Return the error for a file of a record that can't be used."""
    return RecordError(f"{file} can't be read ({why}). Remove {file.parent} and run its cell again.")
