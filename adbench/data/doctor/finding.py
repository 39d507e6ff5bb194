"""Findings of the data doctor, and the scanned dataset that its checks examine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adbench.data.doctor.measure import ImageStats, MaskStats
from adbench.data.frames import ImagePath, located
from adbench.data.items import DatasetConfig, Item

Level = Literal["error", "warning", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "ok")
EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    check: the name of the check, the same at every level.
    level: "error" makes a result wrong, "warning" can mislead, "ok" is in order.
    what: the finding in a few words.
    count, where: the number of affected files, and up to three of them.
    why: why it matters, and what to do.
    """

    check: str
    level: Level
    what: str
    count: int = 0
    where: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class ScannedDataset:
    """The items of a dataset and the measurements of their files.

    root: the folder that was scanned; paths are reported relative to it.
    images, masks: measurements by file or frame; no masks for a dataset without masks.
    phantom: drawn by adbench, so published counts don't apply.
    """

    root: Path
    items: Sequence[Item]
    config: DatasetConfig
    images: Mapping[ImagePath, ImageStats]
    masks: Mapping[ImagePath, MaskStats] = field(default_factory=dict)
    phantom: bool = False


def checked(check: str, level: Level, what: str, bad: Sequence[str], why: str, ok: str) -> Finding:
    """Return a finding about the `bad` files; without any, the line `ok`."""
    if not bad:
        return Finding(check, "ok", ok)
    return Finding(check, level, what, len(bad), tuple(bad[:EXAMPLES]), why)


def relative(image: ImagePath, root: Path) -> str:
    """Return a path relative to the dataset's folder, as text."""
    path, frame = located(image)
    return f"{path.relative_to(root).as_posix() if path.is_relative_to(root) else path}{frame or ''}"
