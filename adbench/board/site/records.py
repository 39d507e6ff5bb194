"""Records as the site shows them: row, page name, predictions, histogram, gallery."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adbench.board.leaderboard import ROW, lines, run_of
from adbench.data.fingerprint import digest
from adbench.errors import RecordError
from adbench.records import pictures, tables
from adbench.records.files import HISTOGRAM
from adbench.records.record import Record
from adbench.system.progress import counting

SHOWN = ("image", "label", "score", "map_max", "map_mean", "patient")  # columns of the predictions
CURVES = ("keys", "positive", "negative")  # columns of the histogram that curves are made of
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
        """Draw, seed, split and fold, in which averaged records differ."""
        kind = "draw" if self.draw.isdecimal() else "support"
        text = f"{kind} {self.draw}, seed {self.seed}" if self.draw else f"seed {self.seed}"
        if self.record.splitting:
            _, _, split, fold = run_of(self.record)
            text += f", split {split}" + (f", fold {fold}" if fold >= 0 else "")
        return text

    @property
    def order(self) -> tuple[Any, ...]:
        """A sort key: draws by number, then seeds, splits and folds."""
        return (not self.draw.isdecimal(), self.draw.zfill(9), self.seed.zfill(9), *run_of(self.record)[2:], self.name)


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
    """Return the predictions with `share`, the fraction of the other normal test images that score lower, in [0, 1].

    Ties count half. Raises RecordError where they can't be read.
    """
    table = tables.predictions(record.path, record.content["test_images"], SHOWN)
    itself = (table["label"] == 0).to_numpy()  # a normal image is not compared with itself, which would be a tie
    normal = table.loc[itself, "score"].sort_values().to_numpy()
    below = normal.searchsorted(table["score"], "left") + normal.searchsorted(table["score"], "right") - itself
    return table.assign(share=below / (2 * np.maximum(len(normal) - itself, 1)))


def histogram(record: Record) -> dict[str, Any] | None:
    """Return the columns of the pixel histogram that curves need; None without masks.

    Raises RecordError where it can't be read.
    """
    return None if record.content["histogram"] is None else tables.histogram(record.path, CURVES)


def readable(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Return the records that pages can be made of, and a sentence for each other one and each picture left out."""
    kept, left_out = [], []
    with counting("checking the records", len(records)) as count:
        for done, record in enumerate(records, 1):
            try:
                table, arrays = predictions(record), histogram(record)
                require_both_classes(record, table["label"])
                if arrays is not None:
                    for name in ("positive", "negative"):
                        if not arrays[name].sum():
                            raise tables.unreadable(record.path / HISTOGRAM, f"it has no {name} pixel")
            except RecordError as error:
                left_out.append(str(error))
            else:
                kept.append(record)
                left_out += [str(error) for _, error in _files(record, table) if isinstance(error, RecordError)]
            count(done)
    return kept, left_out


def gallery(record: Record, table: pd.DataFrame) -> list[Picture]:
    """Return the pictures of a record by kind, worst first; empty where it was run with gallery=0.

    Left out is what is no PNG, and every link: it may lead to any file of whoever writes a site.
    """
    found = [(picture, width) for picture, width in _files(record, table) if not isinstance(width, RecordError)]
    panels = _panels(record, found[0][1]) if found else ()
    return [picture._replace(panels=panels) for picture, _ in found]


def _files(record: Record, table: pd.DataFrame) -> Iterator[tuple[Picture, int | RecordError]]:
    """Yield the pictures of a gallery, without panels, each with its width in pixels or why it can't be used."""
    folder = record.path / "gallery"
    if folder.is_symlink():
        yield Picture("", 0, folder, 0, ()), RecordError(f"{folder} is left out: it is a link.")
        return
    rows = pictures.choose(table, len(table)) if folder.is_dir() else {}
    for kind in GALLERY_TITLES:
        for number, row in enumerate(rows.get(kind, []), 1):
            file = folder / f"{kind}_{number:02d}.png"
            if not os.path.lexists(file):
                break
            picture = Picture(kind, number, file, row, ())
            try:
                yield picture, tables.picture_width(file)
            except RecordError as error:
                yield picture, error


def _panels(record: Record, width: int) -> tuple[str, ...]:
    """Return the names of the panels, the same for all pictures of a gallery; `width` is that of one in pixels."""
    content = record.content
    names = ["image"] + ["true outline"] * content["dataset"]["masks"] + ["map"] * content["capability"]["maps"]
    count = max(width // pictures.PANEL, 1)
    if content["resolved"].get("gallery_levels"):
        blocks = content["capability"].get("blocks", [])
        names += [f"map of block {block}" for block in blocks[: max(count - len(names), 0)]]
    return tuple(names) if count == len(names) else tuple(f"panel {n}" for n in range(1, count + 1))


def require_both_classes(record: Record, labels: pd.Series[int]) -> None:
    """Raise RecordError where all test images are normal, or all abnormal."""
    abnormal = int((labels == 1).sum())
    if abnormal in (0, len(labels)):
        raise RecordError(
            f"{record.path}: predictions.parquet holds {abnormal} abnormal and {len(labels) - abnormal} normal images; "
            f"a test split has both. Remove {record.path} and run its cell again."
        )
