"""results.json: what scored which images, with what thresholds, and what each image got."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from adbench.records import provenance
from adbench.records.plain import plain
from adbench.records.record import Record
from adbench.statistics.calibration import Platt
from adbench.statistics.thresholds import Threshold
from adbench.system.text import counted

SCHEMA = 1
RESULTS = "results.json"  # it names every file of the folder, and marks it as one that may be replaced
PURPOSE = "For research. Not a medical device."
OUTPUT_PACKAGES = ("highdicom", "nibabel", "pydicom")


@dataclass(frozen=True)
class Cut:
    """A threshold of one call, and where it is from.

    value: a score that reaches it is abnormal; None where there is none. source: "given", "held_out" or "none".
    specificity, reached, images, patients, split: of one that held-out images fix, see `statistics.thresholds`.
    why: why there is none.
    """

    value: float | None = None
    source: str = "none"
    specificity: float | None = None
    reached: float | None = None
    images: int | None = None
    patients: int | None = None
    split: str | None = None
    why: str = ""

    @classmethod
    def of(cls, threshold: Threshold, specificity: float, split: str) -> Cut:
        """Return the cut that held-out images of a record fix."""
        if threshold.value is None:
            return cls(why=threshold.why)
        return cls(
            threshold.value, "held_out", specificity, threshold.reached, threshold.images, threshold.patients, split
        )

    @property
    def words(self) -> str:
        """Where it is from, in words."""
        if self.source == "given":
            return "given on the command line or in the call"
        if self.source == "none":
            return f"none: {self.why}"
        what = f"{counted(self.images or 0, 'held-out normal image')} of {counted(self.patients or 0, 'patient')}"
        return f"specificity {self.specificity:g} asked for, {self.reached:.4g} reached, on {what}, {self.split}"


@dataclass
class ImageRow:
    """What one image got.

    image: its path, with `#012` where the file holds several. width, height: of the upright image.
    map_max, map_mean: of its map at the input size; None without maps. files: names in the folder, by their kind.
    """

    image: str
    width: int
    height: int
    score: float
    abnormal: bool | None = None
    probability: float | None = None
    map_max: float | None = None
    map_mean: float | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Applied:
    """A record as it was applied in one call: `params` are its parameters now, of which `changed` were replaced."""

    record: Record
    method: str
    params: Mapping[str, Any]
    changed: Sequence[str]
    precision: str
    batch_size: int
    device: str


def content(
    applied: Applied, cuts: Mapping[str, Cut], platt: Platt | str, scale: tuple[float, float] | None,
    rows: Sequence[ImageRow], left_out: Sequence[str], notes: Sequence[str], finished: str,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of results.json, of plain values alone.

    cuts: "image" and "pixel". platt: the map to probabilities, or why there is none. scale: of the colours.
    """
    record, resolved = applied.record, applied.record.content["resolved"]
    prompts = {name: value for name, value in applied.params.items() if name in ("prompts", "templates")}
    return {
        "schema": SCHEMA,
        "purpose": PURPOSE,
        "finished": finished,
        "record": {
            "key": record.key, "path": str(record.path), "finished": record.content["finished"],
            "data": record.content["data"], "dataset": resolved["dataset"], "protocol": record.content["protocol"],
            "shots": record.content["support"]["shots"], "support": record.content["support"]["source"],
            "backbone": record.backbone, "made_with": record.content["code"] | {"packages": record.content["packages"]},
        },
        "method": {
            "name": record.content["facts"]["method"], "parameters": plain(applied.params)[0],
            "prompts": plain(prompts)[0] or None, "changed": list(applied.changed),
            "object_name": record.content["dataset"].get("object_name"),
        },
        "thresholds": {name: _known(cut) for name, cut in cuts.items()},
        "probabilities": {"source": "none", "why": platt} if isinstance(platt, str) else (
            {"source": "held_out"} | plain(platt)[0]
        ),
        "colours": None if scale is None else {"map": "inferno", "low": scale[0], "high": scale[1]},
        "versions": provenance.code() | {"packages": provenance.packages() | _installed()},
        "machine": provenance.device(applied.device) | {"precision": applied.precision},
        "batch_size": applied.batch_size,
        "left_out": list(left_out),
        "notes": list(notes),
        "images": [dataclasses.asdict(row) for row in rows],
    }  # fmt: skip


def to_json(filled: Mapping[str, Any]) -> str:
    """Return the text of results.json; a lone surrogate of a file's name is escaped."""
    return json.dumps(filled, indent=1, allow_nan=False) + "\n"


def files_of(text: str) -> set[str]:
    """Return the files that a results.json names, itself included; raises ValueError for one that is none."""
    try:
        found = json.loads(text)
        names = {str(name) for row in found["images"] for name in row["files"].values()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no results.json: {error}") from error
    return {name for name in names if "/" not in name} | {RESULTS, "scores.csv", "index.html"}


def _known(cut: Cut) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(cut).items() if value not in (None, "")} | {
        "value": cut.value
    }


def _installed() -> dict[str, str]:
    found = {}
    for name in OUTPUT_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
