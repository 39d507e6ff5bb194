"""Records as the site shows them: row, page name, predictions, histogram, gallery."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow
from PIL import Image
from pyarrow import parquet

from adbench.board.leaderboard import ROW, lines
from adbench.data.fingerprint import digest
from adbench.errors import RecordError
from adbench.records import pictures
from adbench.records.record import Record

GALLERY_TITLES = {
    "miss": "Worst misses: abnormal images with the lowest scores",
    "false_alarm": "Worst false alarms: normal images with the highest scores",
    "hit": "Best hits: abnormal images with the highest scores",
}


class SiteRecord(NamedTuple):
    """A record with its row on the leaderboard (`ROW` and `dataset`) and the name of its page."""

    record: Record
    line: dict[str, str]
    name: str

    @property
    def group(self) -> tuple[str, ...]:
        """The values of `ROW`: the same for all records that are averaged."""
        return tuple(str(self.line[key]) for key in ROW)

    @property
    def content(self) -> dict[str, Any]:
        """The content of record.json."""
        return self.record.content

    @property
    def draw(self) -> str:
        """The number of the draw or the name of the support list; empty for zero-shot."""
        if self.content["support"]["shots"] == 0:
            return ""
        return str(self.content["support"]["source"]).partition(":")[2]

    @property
    def seed(self) -> str:
        """The seed as text."""
        return str(self.content["facts"]["seed"])

    @property
    def which(self) -> str:
        """Draw and seed, in which averaged records differ."""
        kind = "draw" if self.draw.isdecimal() else "support"
        return f"{kind} {self.draw}, seed {self.seed}" if self.draw else f"seed {self.seed}"

    @property
    def order(self) -> tuple[Any, ...]:
        """A sort key: draws by number, then seeds."""
        return (not self.draw.isdecimal(), self.draw.zfill(9), self.seed.zfill(9), self.name)


class Picture(NamedTuple):
    """One picture of a gallery: `row` of its test image in the predictions, and the names of its panels."""

    kind: str
    number: int
    file: Path
    row: int
    panels: tuple[str, ...]


def site_records(records: Sequence[Record]) -> list[SiteRecord]:
    """Return records with their rows and page names, sorted by key."""
    ordered = sorted(records, key=lambda record: record.key)
    return [SiteRecord(record, line, slug(record.key)) for record, line in zip(ordered, lines(ordered), strict=True)]


def slug(text: str) -> str:
    """Return a file name for any text; two texts never share one.

    >>> slug("brainmri"), slug("a/b.py:C")
    ('brainmri', 'a-b.py-C-d31c3c')
    """
    plain = re.sub(r"[^A-Za-z0-9_.@+-]", "-", text).strip(".")[:80]
    return plain if plain and plain == text == text.lower() else f"{plain or 'name'}-{digest(text)[:6]}"


def dataset_page(line: dict[str, str]) -> str:
    """Return the name of a dataset's page; phantom and real data have separate pages."""
    return slug(f"{line['data']}-{line['dataset']}")


def shots_text(shots: Any) -> str:
    """Write a number of shots, or `full`.

    >>> shots_text(1), shots_text("16"), shots_text("full")
    ('1 shot', '16 shots', 'full')
    """
    return f"{shots} shot{'s' * (str(shots) != '1')}" if str(shots).isdecimal() else str(shots)


def anchor(group: Sequence[str]) -> str:
    """Return the id of a row."""
    return "row-" + digest(json.dumps(list(group)))[:10]


def predictions(record: Record) -> pd.DataFrame:
    """Return the predictions with `share`, the fraction of normal test images that score lower, in [0, 1].

    Ties count half. Raises RecordError where they can't be read.
    """
    try:
        table = _columns(record.path / "predictions.parquet", ["image", "label", "score"]).to_pandas()
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(record, "predictions.parquet", error) from error
    normal = table.loc[table["label"] == 0, "score"].sort_values().to_numpy()
    below = normal.searchsorted(table["score"], "left") + normal.searchsorted(table["score"], "right")
    return table.assign(share=below / (2 * max(len(normal), 1)))


def histogram(record: Record) -> dict[str, Any] | None:
    """Return the columns of the pixel histogram that curves need; None without masks.

    Raises RecordError where it can't be read.
    """
    if record.content["histogram"] is None:
        return None
    try:
        table = _columns(record.path / "histogram.parquet", ["keys", "positive", "negative"])
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(record, "histogram.parquet", error) from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _columns(path: Path, names: list[str]) -> pyarrow.Table:
    # Faster for a thousand small files than read_table, which looks for partitioned data sets.
    with parquet.ParquetFile(path) as file:
        return file.read(columns=names, use_threads=False).select(names)


def gallery(record: Record, table: pd.DataFrame) -> list[Picture]:
    """Return the pictures of a record by kind, worst first; empty where it was run with gallery=0."""
    folder = record.path / "gallery"
    files = {path.name: path for path in folder.glob("*.png")} if folder.is_dir() else {}
    panels = _panels(record, files)
    rows = pictures.choose(table, len(table)) if files else {}
    chosen = []
    for kind in GALLERY_TITLES:
        for number, row in enumerate(rows.get(kind, []), 1):
            file = files.get(f"{kind}_{number:02d}.png")
            if file is None:
                break
            chosen.append(Picture(kind, number, file, row, panels))
    return chosen


def _panels(record: Record, files: dict[str, Path]) -> tuple[str, ...]:
    """Return the names of the panels, the same for all pictures of a gallery."""
    first = next((path for name, path in sorted(files.items()) if name != "overview.png"), None)
    if first is None:
        return ()
    content = record.content
    names = ["image"] + ["true outline"] * content["dataset"]["masks"] + ["map"] * content["capability"]["maps"]
    try:
        with Image.open(first) as picture:
            count = picture.width // pictures.PANEL
    except OSError as error:
        raise _unreadable(record, f"gallery/{first.name}", error) from error
    if content["resolved"].get("gallery_levels"):
        blocks = content["capability"].get("blocks", [])
        names += [f"map of block {block}" for block in blocks[: count - len(names)]]
    return tuple(names) if count == len(names) else tuple(f"panel {n}" for n in range(1, count + 1))


def _unreadable(record: Record, name: str, error: Exception) -> RecordError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return RecordError(f"{record.path / name} can't be read ({reason}). Remove {record.path} and run its cell again.")
