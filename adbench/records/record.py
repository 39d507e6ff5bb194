"""Records: the folder `runs/<cell key>` of a cell that ran. It exists only once it is complete."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adbench.errors import FailedCellError, RecordError
from adbench.system.files import BY_KEYS, replacing

SCHEMA = 2
LOGS = "logs"  # the folder in runs/ for what the cells of a sweep print
SITE = "adbench-site.txt"  # marks a site (adbench leaderboard --html), which may stand among records
FILES = ("predictions.parquet", "method.safetensors")


@dataclass(frozen=True)
class Record:
    """A record read back: its folder and what its record.json holds; tables are read when asked for.

    docs/records.md describes `content` field by field.
    """

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

    def _repr_html_(self) -> str:
        """Show what it is and its figures in a notebook."""
        resolved, support = self.content["resolved"], self.content["support"]
        rows = {
            "method": self.content["facts"]["method"],
            "dataset": f"{resolved['dataset']} ({self.content['data']} data)",
            "protocol": f"{self.content['protocol']}, {support['shots']} shots, {support['source']}",
            "backbone": resolved["backbone"],
        }
        rows |= {name.replace("_", " "): f"{100 * v:.2f} %" for name, v in self.metrics.items() if v is not None}
        rows |= {"folder": str(self.path)}
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table>{''.join(cells)}</table>"

    def predictions(self) -> pd.DataFrame:
        """One row per test image: image, label, score, map_max, map_mean, patient, subgroup."""
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
    """Return the finished record of a cell, or none; a cell that failed has none."""
    try:
        return read(runs / key) if (runs / key).is_dir() else None
    except FailedCellError:
        return None


def peek(path: Path) -> dict[str, Any] | None:
    """Return the content of record.json: {} where it can't be read, None where there is no such file."""
    try:
        content = json.loads((path / "record.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read(path: Path) -> Record:
    """Read a record folder; raises RecordError where it is none, damaged, of a failed cell or of another schema."""
    file = path / "record.json"
    if not file.is_file():
        raise RecordError(f"{path} is not a record: it has no record.json. Records are the folders in runs/.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        schema, status = content["schema"], content.get("status")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, OSError) as error:
        raise RecordError(f"{file} is damaged ({error}). Remove {path} and run its cell again.") from error
    if status == "failed":
        why = content.get("error") or {}
        raise FailedCellError(
            f"{path} is the record of a cell that failed ({why.get('kind')}: {why.get('message')}). Run it again."
        )
    if schema != SCHEMA:
        raise RecordError(
            f"{path} is of record schema {schema}; this adbench reads schema {SCHEMA}. "
            "Use the adbench version that wrote it, or run its cell again in another folder: runs=DIR"
        )
    wanted = [*FILES, "histogram.parquet"] if content.get("histogram") else FILES
    missing = [name for name in wanted if not (path / name).is_file()]
    if missing or status != "complete":
        raise RecordError(
            f"{path} is incomplete ({', '.join(missing) or 'no status'}). Remove it and run its cell again."
        )
    return Record(path, content)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause Python's cyclic garbage collector, which would scan thousands of records again and again in vain."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def read_all(runs: Path) -> list[Record]:
    """Read every finished record in a folder, or the one record that `runs` itself is; failed cells are passed over."""
    if (runs / "record.json").is_file():
        return [read(runs)]
    records = []
    for path in places(runs):
        with contextlib.suppress(FailedCellError):
            records.append(read(path))
    return records


def places(runs: Path) -> list[Path]:
    """Return the folders in `runs` that should be records, or `runs` where it is one itself."""
    if (runs / "record.json").is_file():
        return [runs]
    if not runs.is_dir():
        raise RecordError(f"{runs} is not a folder of records. `adbench run` makes one; runs=DIR names it.")
    return folders(runs)


def folders(runs: Path) -> list[Path]:
    """Return the folders in `runs` that should be records: all but hidden ones, the logs and sites."""
    if not runs.is_dir():
        return []
    paths = (path for path in sorted(runs.iterdir()) if path.name != LOGS and path.name[0] != ".")
    return [path for path in paths if path.is_dir() and not (path / SITE).is_file()]


@contextlib.contextmanager
def writing(runs: Path, key: str, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `runs/<key>` when the block ends well, and vanishes otherwise.

    A finished record that another process has put there meanwhile stays, unless `force`: one cell, one result.
    """
    with replacing(runs / key, BY_KEYS, lambda final: not force and _finished(final)) as folder:
        yield folder


def _finished(path: Path) -> bool:
    """Whether a folder holds anything but a failure; false where another process takes it away meanwhile."""
    content = peek(path)
    return content is not None and content.get("status") != "failed"


def note_failure(runs: Path, key: str, content: dict[str, Any]) -> None:
    """Leave `runs/<key>/record.json` with status `failed`: no record, which every reader passes over, but a trace."""
    head = {"schema": SCHEMA, "key": key, "status": "failed"}
    with writing(runs, key) as folder:
        (folder / "record.json").write_text(to_json(head | content), encoding="utf-8")


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
