"""Records: the folder `runs/<cell key>` of a cell that ran. It exists only once it is complete."""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adbench.errors import AdbenchError, FailedCellError, RecordError
from adbench.metrics.patient import How, by_patient
from adbench.metrics.per_image import Contributions, from_columns
from adbench.records import files, tables
from adbench.records.check import HASHED, problem
from adbench.records.plain import plain
from adbench.system.files import BY_KEYS, replacing
from adbench.system.text import brief, counted, printable

SCHEMA = 2
LOGS = "logs"  # the folder in runs/ for what the cells of a sweep print
SITE = "adbench-site.txt"  # marks a site (adbench leaderboard --html), which may stand among records
MOST_JSON = 2**24  # bytes of a record.json
MOST_NAMED = 50  # records that one error names


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

    @property
    def backbone(self) -> str:
        """The name of its backbone; where the method brings its own network, that network's."""
        own = self.content.get("capability", {}).get("own_backbone", False)
        return str(self.content["backbone"]["model"] if own else self.content["resolved"]["backbone"])

    @property
    def splitting(self) -> dict[str, Any]:
        """How adbench split its images; empty where they have splits of their own."""
        return dict((self.content.get("dataset") or {}).get("split") or {})

    def _repr_html_(self) -> str:
        """Show what it is and its figures in a notebook."""
        resolved, support = self.content["resolved"], self.content["support"]
        rows = {
            "method": self.content["facts"]["method"],
            "dataset": f"{resolved['dataset']} ({self.content['data']} data)",
            "protocol": f"{self.content['protocol']}, {support['shots']} shots, {support['source']}",
            "backbone": self.backbone,
        }
        rows |= {name.replace("_", " "): f"{100 * v:.2f} %" for name, v in self.metrics.items() if v is not None}
        rows |= {"folder": str(self.path)}
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(printable(str(v)))}</td></tr>" for name, v in rows.items())
        return f"<table>{''.join(cells)}</table>"

    def predictions(self) -> pd.DataFrame:
        """One row per test image: image, label, score, map_max, map_mean, patient, subgroup; with masks lesion_area,
        and with maps too aupimo and aupimo_loose.

        Raises RecordError where the file can't be used: missing, damaged, other columns, a score that is not finite.
        """
        return tables.predictions(self.path, self.content["test_images"])

    def histogram(self) -> dict[str, Any] | None:
        """Return the arrays of the pixel histogram for `Histogram.from_arrays`, or none without pixel metrics."""
        head = self.content["histogram"]
        if head is None:
            return None
        return tables.histogram(self.path) | {name: np.array(value) for name, value in head.items()}

    def patients(self, how: How = "max") -> pd.DataFrame:
        """One row per patient of the test images: patient, label, score, images.

        A patient's score is the maximum (or the `mean`) over its images, its label the maximum. An image whose patient
        is unknown is a patient of its own, without a name. Raises RecordError where that is so of all images.
        """
        from adbench.statistics import group

        table = self.predictions()
        if table["patient"].isna().all():
            raise RecordError(
                f"{self.path} knows the patient of no image, so it has no figures by patient. Name them with "
                "dataset.patient_pattern or a column `patient`, and run its cell again."
            )
        groups = group(table["patient"])
        one = by_patient(table["score"], table["label"], groups, how)
        first = np.unique(groups, return_index=True)[1]
        names = table["patient"].iloc[first].astype("string").reset_index(drop=True)
        label = one.labels.astype(np.int8)
        return pd.DataFrame({"patient": names, "label": label, "score": one.scores, "images": one.images})

    def lesions(self) -> pd.DataFrame | None:
        """One row per lesion of the test images, or none without masks and maps.

        Columns: image (its row in the predictions), area (pixels at evaluation size), score (its highest pixel's).
        A record that an older adbench wrote has none either.
        """
        return tables.lesions(self.path / files.LESIONS, self.content) if self.content.get("lesions") else None

    def false_positives(self) -> pd.DataFrame | None:
        """One row per test image and map threshold: image, specificity, threshold, regions.

        The thresholds are those that held-out normal images have so many per cent of their pixels below; none where the
        record has no such images.
        """
        head = self.content.get("lesions")
        return (
            tables.false_positives(self.path / files.FALSE_POSITIVES, self.content)
            if head and head["thresholds"]
            else None
        )

    def held_out(self) -> pd.DataFrame | None:
        """One row per held-out image: image, label, score, map_max, patient; None where there are none.

        `records.held_out` makes thresholds of them. Raises RecordError where the file can't be used.
        """
        head = self.content.get("held_out")
        if not head or not head["images"]:
            return None
        return tables.held_out(self.path / files.HELD_OUT, head["images"])

    def held_out_pixels(self) -> dict[str, Any] | None:
        """Return the histogram of the pixels of held-out normal images, `bin` and `pixels` (B,); None without maps."""
        head = self.content.get("held_out")
        if not head or head["shift"] is None:
            return None
        return tables.held_out_pixels(self.path / files.HELD_OUT_PIXELS, head["shift"])

    def contributions(self) -> Contributions | None:
        """Return what each test image contributes to the pixel metrics, on coarse bins, or none without pixel metrics.

        Raises RecordError for a record that was written before these were kept.
        """
        if self.content["histogram"] is None:
            return None
        head = self.content.get("image_histograms")
        if head is None:
            raise RecordError(
                f"{self.path} holds no histograms of single images, which intervals of pixel metrics need; an older "
                "adbench wrote it. Run its cell again with force=true."
            )
        columns = tables.image_histograms(self.path / files.IMAGE_HISTOGRAMS)
        return from_columns(columns, head["shift"], self.content["test_images"])


def find(runs: Path, key: str) -> Record | None:
    """Return the finished record of a cell, or none; a cell that failed has none.

    Raises RecordError for a damaged one, and for that of another cell.
    """
    try:
        return read(runs / key) if (runs / key).is_dir() else None
    except FailedCellError:
        return None


def damaged(path: Path, why: str) -> RecordError:
    """Return the error for a record whose record.json can't be used."""
    return RecordError(
        f"{path / 'record.json'} is damaged ({why}). Remove {path} and run its cell again; force=true does both."
    )


def peek(path: Path) -> dict[str, Any] | None:
    """Return the content of record.json: {} where it can't be read, None where there is no such file."""
    if not os.path.lexists(path / files.RECORD):
        return None
    try:
        return _content(path)
    except RecordError:
        return {}


def read(path: Path) -> Record:
    """Read a record folder; raises RecordError where it is none, damaged, of a failed cell or of another schema.

    Of its files, record.json is read, and checked key by key (`check.problem`).
    """
    if not os.path.lexists(path / files.RECORD):
        if _is_archive(path):
            raise RecordError(f"{path} is a bundle, not a record. Unpack it and name one of its records: records/<key>")
        if inside := [folder for folder in folders(path) if os.path.lexists(folder / files.RECORD)]:
            raise RecordError(
                f"{path} is a folder of {counted(len(inside), 'record')}. Name one, such as {inside[0]}; "
                f"adbench leaderboard {path} shows all."
            )
        raise RecordError(f"{path} is not a record: it has no record.json. Records are the folders in runs/.")
    content = _content(path)
    schema, status = content.get("schema"), content.get("status")
    if status == "failed":
        error = content.get("error")
        given = error if isinstance(error, dict) else {}
        kind, message = (printable(str(given.get(name))[:1000]) for name in ("kind", "message"))
        raise FailedCellError(f"{path} is the record of a cell that failed ({kind}: {message}). Run it again.")
    if type(schema) is not int:
        raise damaged(path, f"schema is {brief(schema)}" if "schema" in content else "schema is missing")
    if schema != SCHEMA:
        raise RecordError(
            f"{path} is of record schema {brief(schema)}; this adbench reads schema {SCHEMA}. "
            "Use the adbench version that wrote it, or run its cell again in another folder: runs=DIR"
        )
    odd = {name: why for name in needed(content) if (why := tables.regular(path / name))}
    missing = [name for name, why in odd.items() if why == tables.MISSING]
    if missing or status != "complete":
        raise RecordError(
            f"{path} is incomplete ({', '.join(missing) or 'no status'}). Remove it and run its cell again."
        )
    for name, why in odd.items():
        raise tables.unreadable(path / name, why)
    if why := problem(content):
        raise damaged(path, why)
    if HASHED.fullmatch(path.name) and content["key"] != path.name:
        raise damaged(path, f"it is the record of another cell, {content['key']}")
    return Record(path, content)


def incomplete(of: str, sentences: Sequence[str]) -> RecordError:
    """Return the error that names the records which `of` (such as "of the leaderboard") left out, and why.

    >>> print(incomplete("of the leaderboard", ["a is damaged.", "b is damaged."]))
    left out of the leaderboard: a is damaged. b is damaged.
    """
    more = len(sentences) - MOST_NAMED
    rest = [f"And {more} more: `adbench verify RUNS` has a line for each record."] if more > 0 else []
    return RecordError(" ".join([f"left out {of}:", *sentences[:MOST_NAMED], *rest]))


def needed(content: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that a record with this record.json has, pictures apart."""
    lesions, held = (found if type(found := content.get(name)) is dict else {} for name in ("lesions", "held_out"))
    names = {
        files.HISTOGRAM: content.get("histogram"), files.IMAGE_HISTOGRAMS: content.get("image_histograms"),
        files.LESIONS: lesions, files.FALSE_POSITIVES: lesions.get("thresholds"), files.HELD_OUT: held.get("images"),
        files.HELD_OUT_PIXELS: held.get("shift") is not None,
    }  # fmt: skip
    return [*files.ALWAYS, *(name for name, there in names.items() if there)]


def _content(path: Path) -> dict[str, Any]:
    """Read record.json as it is; raises RecordError where it is no JSON object, too large or too deep."""
    file = path / files.RECORD
    if why := tables.regular(file, MOST_JSON):
        raise damaged(path, why)
    try:
        data = file.read_bytes()
        if not data:
            raise damaged(path, "it is empty")
        content = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_refused, parse_float=_finite)
    except (OSError, ValueError) as error:
        raise damaged(path, tables.reason(error)) from error
    except (RecursionError, MemoryError) as error:
        raise damaged(path, "it is nested too deeply") from error
    if type(content) is not dict:
        raise damaged(path, f"it holds {brief(content)}, not an object")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is there twice")
    return content


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def read_all(runs: str | os.PathLike[str]) -> list[Record]:
    """Read every finished record in a folder, or the one record that `runs` itself is; failed cells are passed over.

    A record in the folder that can't be used is passed over with a warning; as `runs` itself it raises RecordError.
    Raises AdbenchError for what is no path.
    """
    if not isinstance(runs, (str, os.PathLike)):
        raise AdbenchError(
            f"read_all takes a folder of records, as in 'runs', and an object of type {type(runs).__name__} is given."
        )
    runs = Path(runs).expanduser()
    paths = places(runs)
    if paths == [runs]:
        return [read(runs)]
    records = []
    for path in paths:
        try:
            records.append(read(path))
        except FailedCellError:
            continue
        except RecordError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return records


def files_of(records: Iterable[Record]) -> Iterator[Path]:
    """Yield the files of records, pictures too: none of them may be an output of a command that reads them."""
    for record in records:
        yield from (file for file in record.path.rglob("*") if file.is_file())


def places(runs: Path) -> list[Path]:
    """Return the folders in `runs` that should be records, or `runs` where it is one itself."""
    if os.path.lexists(runs / files.RECORD):
        return [runs]
    if _is_archive(runs):
        raise RecordError(f"{runs} is a bundle, not a folder of records. Unpack it and name its folder: records")
    if not runs.is_dir():
        what = "is not a folder of records" if os.path.lexists(runs) else "does not exist"
        raise RecordError(f"{runs} {what}. Name a folder of records, such as runs.")
    return folders(runs)


def _is_archive(path: Path) -> bool:
    return path.is_file() and zipfile.is_zipfile(path)


def folders(runs: Path) -> list[Path]:
    """Return the folders in `runs` that should be records: all but hidden ones, the logs and sites."""
    try:
        if not runs.is_dir():
            return []
        paths = (path for path in sorted(runs.iterdir()) if path.name != LOGS and path.name[0] != ".")
        return [path for path in paths if path.is_dir() and not os.path.isfile(path / SITE)]
    except OSError as error:
        raise RecordError(f"{runs} can't be read: {tables.reason(error)}.") from error


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
        (folder / files.RECORD).write_text(to_json(head | content), encoding="utf-8")


def to_json(content: Mapping[str, Any]) -> str:
    """Return the text of a record.json.

    A computed cell is never lost to a value that JSON doesn't know: it is kept as null or as a text, see `plain`, and
    the record's `notes` say so.
    """
    kept, changed = plain(content)
    if changed:
        kept["notes"] = [*(kept.get("notes") or []), *changed]
    text = json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # of names that are not UTF-8, as JSON escapes them
