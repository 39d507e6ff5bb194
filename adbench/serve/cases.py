"""Cases that the page saves: a folder that `dataset=folder` and `support=` read, and a list of reviews.

<folder>/images.csv            path, label, split, mask, patient: one row per case
<folder>/images/<case>.png     the image with 8 bits, as adbench reads it
<folder>/masks/<case>.png      its mask, where one was painted
<folder>/maps/<case>_<cell>.npy, cases/<case>.json     map, score, prompts, thresholds
<folder>/support.txt           the cases to learn from, for support=
<folder>/review.csv            accepted, rejected, notes
"""

from __future__ import annotations

import base64
import binascii
import csv
import glob
import hashlib
import io
import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.items import CLASSES
from adbench.data.support import LIST_KEYS
from adbench.errors import AdbenchError
from adbench.serve.sources import png
from adbench.system.clock import timestamp
from adbench.system.files import alone, unwritable, write_atomically
from adbench.system.text import inert, printable

INSTEAD = "folder with --out DIR"
COLUMNS = ("path", "label", "split", "mask", "patient")
REVIEW = ("image", "content", "decision", "note", "cell", "score", "threshold", "when")
ONE_REVIEW = ("image", "content", "cell")  # what a row is about: files of one name may differ
DECISIONS = ("accept", "reject", "")
SPLITS = ("train", "test")
PREFIX = "data:image/png;base64,"


@dataclass(frozen=True)
class Case:
    """What is saved: the image (H, W, 3) or (H, W), its name, and what a person and the cells said of it.

    split: "train", to learn from, or "test". mask: (H, W), or None. maps: (S, S) by the key of a cell.
    """

    pixels: Image.Image
    name: str
    label: int
    split: str
    mask: NDArray[np.bool_] | None
    patient: str
    maps: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any]


def read_painted(text: str, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return the mask (H, W) of a PNG as a data address, None where no pixel is painted; size: (width, height)."""
    if not text:
        return None
    try:
        content = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != size:
                raise AdbenchError(
                    f"the mask is {image.size[0]} x {image.size[1]} pixels, its image {size[0]} x {size[1]}."
                )
            mask = np.asarray(image.convert("RGBA"))[..., 3] > 127
    except (binascii.Error, OSError, ValueError, SyntaxError) as error:
        raise AdbenchError("the mask is no PNG. Load the page again.") from error
    return mask if mask.any() else None


class Folder:
    """The folder of cases; nothing is written before the first is saved. Several servers may save into one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, case: Case) -> str:
        """Write a case, in place of an older one of the same pixels, and return its name.

        Raises AdbenchError where it would make the folder unreadable as a dataset, or can't be written.
        """
        if case.split not in SPLITS or case.label not in (0, 1):
            raise AdbenchError("a case is normal or abnormal, and to learn from or to test on.")
        if case.label == 0 and case.mask is not None:
            raise AdbenchError("a normal image has no mask. Erase it, or save the image as abnormal.")
        name = case_name(case.name, case.pixels)
        with self._alone():
            mark = name.rpartition("-")[2]
            there = self.rows()
            older = [row for row in there if row["path"].endswith(f"-{mark}.png")]
            rows = [row for row in there if row not in older]
            _check_masks(rows, case)
            row = dict(
                zip(COLUMNS, (f"images/{name}.png", CLASSES[case.label], case.split, "", case.patient), strict=True)
            )
            files = {row["path"]: png(case.pixels), f"cases/{name}.json": _json(case, name)}
            if case.mask is not None:
                row["mask"] = f"masks/{name}.png"
                files[row["mask"]] = png((case.mask * 255).astype(np.uint8))
            for key, values in case.maps.items():
                files[f"maps/{name}_{key}.npy"] = _npy(values)
            rows.append(row)
            files["support.txt"] = support_text(rows).encode()
            files["images.csv"] = table(COLUMNS, rows)  # last: it says that all is there
            self._write(files)
            for row in older:
                self._remove(Path(row["path"]).stem, files)
        return name

    def review(self, row: Mapping[str, Any]) -> int:
        """Add a decision on an image to the review list, in place of an older one of it; return the number of rows.

        An empty decision without a note takes the image off the list.
        """
        if row.get("decision") not in DECISIONS:
            raise AdbenchError(f"decision={row.get('decision')!r} is not possible: accept or reject.")
        clean = {name: printable(str(row.get(name, ""))[:2000]) for name in REVIEW}
        with self._alone():
            rows = [one for one in self.reviews() if any(one[name] != clean[name] for name in ONE_REVIEW)]
            rows += [clean] if clean["decision"] or clean["note"] else []
            self._write({"review.csv": table(REVIEW, rows)})
        return len(rows)

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of images.csv."""
        return self._read("images.csv", COLUMNS)

    def reviews(self) -> list[dict[str, str]]:
        """Return the rows of the review list."""
        return self._read("review.csv", REVIEW)

    def _alone(self) -> AbstractContextManager[object]:
        """Return a lock: what is read under it is what the next writing replaces, in threads and other servers too."""
        return alone(self.path / "images.csv", INSTEAD)

    def _read(self, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
        file = self.path / name
        if not file.exists():
            return []
        try:
            with file.open(encoding="utf-8", newline="") as opened:
                reader = csv.DictReader(opened)
                rows = list(reader)
        except (OSError, ValueError, csv.Error) as error:
            raise AdbenchError(f"{file} can't be read: {error}. Move it, or choose another {INSTEAD}.") from error
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise AdbenchError(
                f"{file} was not written by adbench serve: its columns are {', '.join(reader.fieldnames or ())}. "
                f"Choose another {INSTEAD}."
            )
        return [{key: _plain(value) for key, value in row.items() if key is not None} for row in rows]

    def _remove(self, name: str, kept: Collection[str]) -> None:
        """Remove the files of an older case of the same pixels, but for those that were just written."""
        for kind in ("images", "masks", "maps", "cases"):
            for file in (self.path / kind).glob(f"{glob.escape(name)}[._]*"):
                if f"{kind}/{file.name}" not in kept:
                    file.unlink(missing_ok=True)

    def _write(self, files: Mapping[str, bytes]) -> None:
        try:
            for name, content in files.items():
                file = self.path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, content, INSTEAD)
        except OSError as error:
            raise unwritable(self.path, error, INSTEAD) from error


def case_name(name: str, pixels: Image.Image) -> str:
    """Return the file name of a case: letters of the image's name, and a hash of its pixels.

    >>> case_name("test/normal/a b.png", Image.new("L", (1, 1)))
    'a_b-e4a1bf79'
    """
    last = name.rpartition("/")[2]
    stem = last if "#" in last else last.rpartition(".")[0] or last
    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_")[:60] or "image"
    content = f"{pixels.mode} {pixels.size} ".encode() + pixels.tobytes()
    return f"{kept}-{hashlib.sha256(content).hexdigest()[:8]}"


def support_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the support list of the cases to learn from: one line for each class that has some."""
    lines = []
    for key, kind in zip(LIST_KEYS, CLASSES, strict=True):
        names = [shlex.quote(row["path"]) for row in rows if row["split"] == "train" and row["label"] == kind]
        lines += [f"{key}: {' '.join(names)}"] if names else []
    return "".join(f"{line}\n" for line in lines)


def table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
    r"""Return rows as CSV; a text with which a formula could begin is led by an apostrophe.

    >>> table(("note",), [{"note": "=1+1"}])
    b"note\r\n'=1+1\r\n"
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({key: inert(value) for key, value in row.items()})
    return text.getvalue().encode()


def _plain(value: str | None) -> str:
    value = value or ""
    return value[1:] if value.startswith("'") and inert(value[1:]) != value[1:] else value


def _check_masks(rows: Sequence[Mapping[str, str]], case: Case) -> None:
    """Raise AdbenchError where some abnormal cases would have masks and others none: no dataset reads that."""
    abnormal = [row for row in rows if row["label"] == CLASSES[1]]
    if case.label == 1 and abnormal and bool(abnormal[0]["mask"]) != (case.mask is not None):
        there = "have masks: paint this one's too" if abnormal[0]["mask"] else "have none: erase this one's"
        raise AdbenchError(f"the abnormal cases that are saved already {there}, or choose another {INSTEAD}.")


def _json(case: Case, name: str) -> bytes:
    facts = {
        "case": name, "image": case.name, "label": CLASSES[case.label], "split": case.split,
        "saved": timestamp(), **case.facts,
    }  # fmt: skip
    return (json.dumps(facts, indent=1) + "\n").encode()


def _npy(values: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
