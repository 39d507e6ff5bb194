"""What the page is about: its cells, its images, the fits that run, and the folder of cases."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

import matplotlib
import numpy as np

from adbench.data.decode import open_image
from adbench.data.items import CLASSES
from adbench.data.levels import IntensityRange
from adbench.errors import AdbenchError
from adbench.serve import cases, prompts, sources
from adbench.serve.cells import ServedCell
from adbench.serve.fits import Fit, chosen
from adbench.serve.sources import Dropped, Listed, Shown

COLOURS = ("inferno", "viridis", "cividis", "turbo", "gray")
PAGE = files("adbench.serve.web")
STYLE = files("adbench.board.site.templates")  # the site's style sheet, shared
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@dataclass
class Server:
    """The state behind the page, for one person.

    cells: the records, in the order of the page; `add` appends one that was fitted here.
    listed: the folder given on the command line. folder: where cases are saved.
    """

    cells: list[ServedCell]
    folder: cases.Folder
    listed: Listed | None = None
    dropped: Dropped = field(default_factory=Dropped)
    fits: list[Fit] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def cell(self, key: str) -> ServedCell:
        """Return the cell of a record's key."""
        for cell in self.cells:
            if cell.record.key == key:
                return cell
        raise AdbenchError(f"no cell {key[:40]} is on this page. Load the page again.")

    @property
    def _how(self) -> tuple[str, Sequence[float]]:
        dataset = self.cells[0].record.content["dataset"]
        return dataset["slice_axis"], dataset["volume_window"]

    @property
    def intensity_range(self) -> IntensityRange | None:
        """The values that become black and white, as the first cell's dataset says."""
        found = self.cells[0].record.content["dataset"].get("intensity_range")
        return None if found is None else (float(found[0]), float(found[1]))

    def state(self) -> dict[str, Any]:
        """Return what the page shows first."""
        steps = np.linspace(0, 1, 256)
        colours = {
            name: (np.asarray(matplotlib.colormaps[name](steps))[:, :3] * 255).round().astype(int).flatten().tolist()
            for name in COLOURS
        }
        return {
            "cells": [{"key": cell.record.key, "name": cell.name} for cell in self.cells],
            "folder": None
            if self.listed is None
            else {"name": self.listed.folder.name, "count": len(self.listed.paths)},
            "out": str(self.folder.path),
            "colours": colours,
            "reviews": self.folder.reviews(),
        }

    def drop(self, content: bytes, name: str) -> dict[str, Any]:
        """Take a file from the browser."""
        return self._described(self.dropped.add(content, name, *self._how), 0)

    def images(self, key: str) -> tuple[list[Shown], int]:
        """Return the images of the file that a key such as `folder-12-0` names, and which of them it means."""
        kind, _, rest = key.partition("-")
        first, _, second = rest.partition("-")
        if kind in ("test", "support", "pool") and second.isdecimal():
            cell = self.cell(first)
            found = list({"test": cell.tested, "support": cell.learned, "pool": cell.pool}[kind])
            if int(second) < len(found):
                return [found[int(second)]], 0
        elif kind in ("folder", "dropped") and first.isdecimal() and (second or "0").isdecimal():
            if kind == "dropped":
                found = self.dropped.images(int(first))
            elif self.listed is None:
                raise AdbenchError("no folder was given. Start the page with one: adbench serve RUN --images DIR")
            else:
                found = self.listed.images(int(first), *self._how)
            if int(second or "0") < len(found):
                return found, int(second or "0")
        raise AdbenchError(f"there is no image {key[:60]!r} here.")

    def shown(self, key: str) -> Shown:
        """Return the image of a key."""
        found, place = self.images(key)
        return found[place]

    def describe(self, key: str) -> dict[str, Any]:
        """Return name, size and frames of the image of a key."""
        return self._described(*self.images(key))

    def _described(self, found: Sequence[Shown], place: int) -> dict[str, Any]:
        shown = found[place]
        width, height = sources.size_of(shown)
        size = {"width": width, "height": height, "frames": len(found)}
        return {"key": shown.key, "name": shown.name, "id": shown.id, "content": sources.content_of(shown), **size}

    def support(self, key: str) -> dict[str, Any]:
        """Return a cell's support and the images that could be in it; raises where they are not on this machine."""
        cell = self.cell(key)
        one_set = bool(cell.labels) and len(cell.cell.training_sets) == 1
        learned, pool = map(_listed, (cell.learned, cell.pool if one_set else ()))
        return {"learned": learned, "pool": pool}

    def explain(self, cell: str, image: str) -> dict[str, Any]:
        """Return the support patch that explains the hottest patch of an image."""
        served = self.cell(cell)
        found = served.explain(self.shown(image))
        if found is None:
            return {
                "why": f"{served.record.content['facts']['method']} compares no patches with a memory of the support."
            }
        return asdict(found) | {"image": served.learned[found.support].key, "name": served.learned[found.support].name}

    def fit(self, cell: str, without: Sequence[int], added: Sequence[int]) -> int:
        """Start fitting a cell with another support, and return the number of the fit."""
        with self.lock:
            if any(not one.json()["finished"] for one in self.fits):
                raise AdbenchError("another fit is running. Wait until it is done.")
            served = self.cell(cell)
            items, runs = chosen(served, without, added), served.record.path.parent
            self.fits.append(Fit(served, items, runs, self.folder.path))
            return len(self.fits) - 1

    def progress(self, number: int) -> dict[str, Any]:
        """Return how far a fit is; once it is done, its cell is among `cells`."""
        with self.lock:
            if not 0 <= number < len(self.fits):
                raise AdbenchError("there is no such fit. Load the page again.")
            fit = self.fits[number]
            if fit.record is None:
                return fit.json()
            if all(cell.record.key != fit.record.key for cell in self.cells):
                base = self.cells[0]
                self.cells.append(ServedCell(fit.record, base.keys, base.data_root, base.session))
            return fit.json() | {"cell": fit.record.key}

    def save(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Save a case: image, mask, and of each cell on the page its map, score, prompts and thresholds."""
        shown = self.shown(str(asked["image"]))
        pixels = open_image(shown.image, self.intensity_range)
        pixels = pixels if pixels.mode in ("L", "RGB") else pixels.convert("RGB")
        maps, said = {}, []
        for one in asked.get("cells", []):
            cell, overrides = self.cell(str(one["cell"])), one.get("overrides") or {}
            scored = cell.score(shown, overrides)
            if scored.map is not None:
                maps[cell.record.key] = scored.map.numpy()
            numbers = {name: _number(one.get(name)) for name in ("threshold", "map_threshold")}
            texts = prompts.editable(cell.fitted) | dict(overrides)
            facts = {"cell": cell.record.key, "method": cell.record.content["facts"]["method"], "score": scored.score}
            said.append(facts | numbers | {"parameters": texts})
        case = cases.Case(
            pixels, shown.id, _label(asked.get("label")), str(asked.get("split")),
            cases.read_painted(str(asked.get("mask") or ""), pixels.size),
            (shown.item.patient if shown.item else None) or "", maps,
            {"cells": said, "note": str(asked.get("note") or "")},
        )  # fmt: skip
        name = self.folder.save(case)
        return {"case": name, "count": len(self.folder.rows()), "out": str(self.folder.path)}

    def review(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Put a decision on an image on the review list."""
        row = {name: asked.get(name, "") for name in cases.REVIEW}
        shown, cell = self.shown(str(asked["image"])), self.cell(str(asked["cell"]))
        row |= {"image": shown.id, "content": sources.content_of(shown), "score": ""}
        if row["decision"] or row["note"]:  # the page may not have its score yet
            row["score"] = str(cell.score(shown, asked.get("overrides") or {}).score)
        count = self.folder.review(row)
        return {"count": count, "reviews": self.folder.reviews()}


def _label(text: Any) -> int:
    if text not in CLASSES:
        raise AdbenchError(f"label={text!r} is not possible: {' or '.join(CLASSES)}.")
    return CLASSES.index(text)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _listed(images: Sequence[Shown]) -> list[dict[str, Any]]:
    return [{"key": one.key, "name": one.name, "label": one.item.label if one.item else None} for one in images]
