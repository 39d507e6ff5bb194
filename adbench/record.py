"""Records: what a cell leaves behind. A folder `runs/<cell key>` exists only once it is whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adbench.errors import RecordError
from adbench.files import unwritable

SCHEMA = 1
FILES = ("predictions.parquet", "method.safetensors")
HOST = platform.node().replace(".", "-") or "host"


@dataclass(frozen=True)
class Record:
    """A record read back: `content` is record.json; tables are read when asked for."""

    path: Path
    content: dict[str, Any]

    @property
    def key(self) -> str:
        """The cell key."""
        return str(self.content["key"])

    @property
    def metrics(self) -> dict[str, float | None]:
        """Metrics as fractions of 1; none where they don't apply."""
        return dict(self.content["metrics"])

    def predictions(self) -> pd.DataFrame:
        """One row per test image: image, label, score, map_max, map_mean, patient."""
        return pd.read_parquet(self.path / "predictions.parquet")

    def histogram(self) -> dict[str, Any] | None:
        """Return the arrays of the pixel histogram for `Histogram.from_arrays`, or none without pixel metrics."""
        head = self.content["histogram"]
        if head is None:
            return None
        table = pd.read_parquet(self.path / "histogram.parquet")
        columns: dict[str, Any] = {str(name): table[name].to_numpy() for name in table}
        return columns | {name: np.array(value) for name, value in head.items()}


def find(runs: Path, key: str) -> Record | None:
    """Return the finished record of a cell, or none."""
    return read(runs / key) if (runs / key).is_dir() else None


def read(path: Path) -> Record:
    """Read a record folder; raises RecordError where it is no record, damaged, or of another schema."""
    file = path / "record.json"
    if not file.is_file():
        raise RecordError(f"{path} is not a record: it has no record.json. Records are the folders in runs/.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        schema = content["schema"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, OSError) as error:
        raise RecordError(f"{file} is damaged ({error}). Remove {path} and run its cell again.") from error
    if schema != SCHEMA:
        raise RecordError(
            f"{path} is of record schema {schema}; this adbench {SCHEMA} reads schema {SCHEMA}. "
            "Use the adbench version that wrote it, or run its cell again in another folder: runs=DIR"
        )
    wanted = [*FILES, "histogram.parquet"] if content.get("histogram") else FILES
    missing = [name for name in wanted if not (path / name).is_file()]
    if missing or content.get("status") != "complete":
        raise RecordError(
            f"{path} is incomplete ({', '.join(missing) or 'no status'}). Remove it and run its cell again."
        )
    return Record(path, content)


def read_all(runs: Path) -> list[Record]:
    """Read every record in a folder, or the one record that `runs` itself is."""
    if (runs / "record.json").is_file():
        return [read(runs)]
    if not runs.is_dir():
        raise RecordError(f"{runs} is not a folder of records. `adbench run` makes one; runs=DIR names it.")
    return [read(path) for path in sorted(runs.iterdir()) if path.is_dir() and not path.name.startswith(".")]


@contextlib.contextmanager
def writing(runs: Path, key: str) -> Iterator[Path]:
    """Yield a temporary folder that becomes `runs/<key>` when the block ends well, and vanishes otherwise."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        _sweep(runs)
        folder = runs / f".{key}.{HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"
        folder.mkdir()
    except OSError as error:
        raise unwritable(runs, error) from error
    final, old = runs / key, folder.with_suffix(".old")
    try:
        yield folder
        if final.exists():
            final.rename(old)
        folder.rename(final)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise unwritable(final, error) from error
    finally:
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(runs: Path) -> None:
    """Mend what killed runs of this machine left: half-written folders go, a record set aside comes back."""
    for path in [*runs.glob(f".*.{HOST}.*.tmp"), *runs.glob(f".*.{HOST}.*.old")]:
        key, _, pid, _, kind = path.name[1:].split(".")
        if not Path("/proc/self").exists() or Path(f"/proc/{pid}").exists():
            continue
        if kind == "old" and not (runs / key).exists():
            path.rename(runs / key)
        else:
            shutil.rmtree(path, ignore_errors=True)


def to_json(content: Any) -> str:
    """Write dataclasses, paths and NumPy numbers as plain JSON; NaN is refused."""

    def plain(thing: Any) -> Any:
        if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
            return dataclasses.asdict(thing)
        if isinstance(thing, Path):
            return str(thing)
        if isinstance(thing, np.generic):
            return thing.item()
        raise TypeError(f"{type(thing).__name__} cannot be written to a record")

    return json.dumps(content, default=plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
