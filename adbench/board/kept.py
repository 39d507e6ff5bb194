"""Intervals in the cache: computed once for a set of records, found again by the content of their files."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pandas as pd

from adbench.board.intervals import LEVEL, Measured, measure
from adbench.board.leaderboard import ROW
from adbench.data.fingerprint import digest, hash_files
from adbench.errors import AdbenchError
from adbench.records.files import IMAGE_HISTOGRAMS, PREDICTIONS, RECORD
from adbench.records.record import Record
from adbench.system.files import discard, write_atomically
from adbench.system.progress import counting
from adbench.system.text import warn

VERSION = 3  # of what is computed; another one computes again
FOLDER = "intervals"  # in the cache
TABLES = ("records", "rows", "pairs")


def intervals_of(records: Sequence[Record], long: pd.DataFrame, metrics: Sequence[str], cache: Path) -> Measured:
    """Return the intervals of some records and of the rows of `long`, their leaderboard; they are computed once.

    metrics: those of them that have intervals are used. A damaged file of the cache is made again, with a warning. What
    can't be kept is not kept, with a warning too, and neither is what has problems: a record that can't be read may be
    readable the next time.
    """
    file = cache / FOLDER / f"{_key(records, long, metrics, cache)}.zip"
    if file.exists():
        try:
            return _read(file)
        except Exception as error:  # zipfile and pyarrow raise a dozen unrelated types for damaged files
            discard(file, error)
    with counting("computing intervals", len(records)) as count:
        measured = measure(records, long, metrics, count)
    if not measured.problems:
        try:
            write_atomically(file, _packed(measured))
        except AdbenchError as error:
            warn(f"the intervals are not kept for the next time: {error}")
    return measured


def _key(records: Sequence[Record], long: pd.DataFrame, metrics: Sequence[str], cache: Path) -> str:
    """Hash the contents of the records' files, the rows that they are grouped to, and the metrics."""
    names = (RECORD, PREDICTIONS, IMAGE_HISTOGRAMS)
    files = [[record.path / name for name in names if os.path.lexists(record.path / name)] for record in records]
    where = digest(ascii("".join(sorted(str(record.path.parent.absolute()) for record in records))))
    every, memory = [file for some in files for file in some], cache / "hashes" / f"{where[:20]}.json"
    try:
        found = hash_files(every, memory, "records").rows
    except AdbenchError:  # the cache may be full, or another user's
        found = hash_files(every, memory, "records", keep=False).rows
    contents = sorted(
        [record.key, *(found[file][0] for file in some)] for record, some in zip(records, files, strict=True)
    )
    rows = pd.util.hash_pandas_object(long[[*ROW, "dataset", "metric", "draws", "n"]].astype(str), index=False)
    text = json.dumps(
        [VERSION, LEVEL, sorted(metrics), contents, sha256(rows.sort_values().to_numpy().tobytes()).hexdigest()]
    )
    return digest(text)[:32]


def _packed(measured: Measured) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:  # it holds a checksum of each file
        for name in TABLES:
            archive.writestr(f"{name}.parquet", getattr(measured, name).to_parquet(index=False))
    return packed.getvalue()


def _read(file: Path) -> Measured:
    with zipfile.ZipFile(file) as archive:
        records, rows, pairs = (pd.read_parquet(io.BytesIO(archive.read(f"{name}.parquet"))) for name in TABLES)
    return Measured(records, rows, pairs, ())
