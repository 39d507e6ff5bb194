"""index.html: one page about all images of a call, without any other file but its pictures; it opens from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from adbench.board.site.build import filler
from adbench.exports.results import Applied, Cut, ImageRow
from adbench.records import pictures
from adbench.statistics.calibration import Platt
from adbench.system.text import counted

KINDS = {
    "heatmap": "heatmap", "outline": "outline", "mask": "mask", "map": "map", "segmentation": "DICOM Segmentation",
    "capture": "DICOM Secondary Capture", "map_volume": "map of the volume", "mask_volume": "mask of the volume",
}  # fmt: skip


def page(
    applied: Applied, cuts: Mapping[str, Cut], platt: Platt | str, scale: tuple[float, float] | None,
    rows: Sequence[ImageRow], left_out: Sequence[str], notes: Sequence[str], finished: str,
) -> str:  # fmt: skip
    """Return the page's text; the arguments are those of `results.content`."""
    record = applied.record
    templates = files("adbench.board.site.templates")
    style, script = (templates.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    abnormal = None if cuts["image"].value is None else sum(bool(row.abnormal) for row in rows)
    content = {
        "title": f"{counted(len(rows), 'image')} scored by {record.content['facts']['method']}",
        "style": Markup(style), "script": Markup(script), "abnormal": abnormal,
        "facts": [
            ("record", record.key), ("method", record.content["facts"]["method"]),
            ("trained for", f"{record.content['resolved']['dataset']} ({record.content['data']} data)"),
            ("backbone", record.backbone), ("finished", finished),
        ],
        "lines": [
            ("image threshold", _cut(cuts["image"])), ("map threshold", _cut(cuts["pixel"])),
            ("probabilities", f"none: {platt}" if isinstance(platt, str) else
             f"Platt scaling on {platt.normal} normal and {platt.abnormal} abnormal held-out images"),
            *_prompts(applied),
        ],
        "phantom": record.content["data"] == "phantom", "stand_in": bool(record.content["backbone"].get("stand_in")),
        "bar": None if scale is None else _bar(scale, cuts["pixel"].value),
        "probable": any(row.probability is not None for row in rows),
        "mapped": any(row.map_max is not None for row in rows),
        "rows": [_row(row) for row in rows], "left_out": list(left_out), "notes": list(notes),
    }  # fmt: skip
    return filler("adbench.exports")("scores.html", content, "")


def _cut(cut: Cut) -> str:
    return cut.words if cut.value is None else f"{cut.value:.9g}: {cut.words}"


def _prompts(applied: Applied) -> list[tuple[str, str]]:
    lines = []
    for name, value in applied.params.items():
        if name == "prompts" and isinstance(value, Mapping):
            lines += [(f"prompts, {state}", "; ".join(map(str, words))) for state, words in value.items() if words]
    if applied.changed:
        lines.append(("replaced for these scores", ", ".join(applied.changed)))
    return lines


def _row(row: ImageRow) -> dict[str, Any]:
    linked = [(KINDS[kind], quote(name)) for kind, name in row.files.items()]
    preview = row.files.get("heatmap")
    return {"row": row, "links": linked, "preview": None if preview is None else quote(preview)}


def _bar(scale: tuple[float, float], threshold: float | None) -> dict[str, Any]:
    """Return the colour bar: its ends, its colours as CSS, and where the map threshold lies, in per cent."""
    low, high = scale
    levels = np.linspace(low, high, 11, dtype=np.float32)[None]
    stops = ", ".join("#" + bytes(colour).hex() for colour in pictures.heatmap(levels, low, high)[0])
    at = None if threshold is None or not low < threshold < high else 100 * (threshold - low) / (high - low)
    return {"low": low, "high": high, "stops": Markup(stops), "threshold": threshold, "at": at}
