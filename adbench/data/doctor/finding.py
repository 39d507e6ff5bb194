"""What the data doctor looks at, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adbench.data.doctor.facts import ImageFacts, MaskFacts
from adbench.data.items import DatasetConfig, Item

Level = Literal["error", "warning", "ok"]
LEVELS: tuple[Level, ...] = ("error", "warning", "ok")
EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: `error` makes a result wrong, `warning` can mislead, `ok` was looked at.

    `check` names the line whatever its level. `count` things are concerned, of which `where` names up to three; `why`
    says why it matters and what to do.
    """

    check: str
    level: Level
    what: str
    count: int = 0
    where: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Case:
    """What the doctor looks at: the items of a dataset and what their files hold.

    `masks` is empty for a dataset without masks. `phantom`: drawn by adbench, so published counts don't apply.
    """

    root: Path
    items: Sequence[Item]
    config: DatasetConfig
    images: Mapping[Path, ImageFacts]
    masks: Mapping[Path, MaskFacts] = field(default_factory=dict)
    phantom: bool = False


def mask_files(item: Item) -> tuple[Path, ...]:
    """Return the mask files of an item: none, one, or several whose union is the mask."""
    return item.mask or ()


def finding(check: str, level: Level, what: str, bad: Sequence[str], why: str, ok: str) -> Finding:
    """Return the finding for the `bad` things, or, where there are none, the line `ok`."""
    if not bad:
        return Finding(check, "ok", ok)
    return Finding(check, level, what, len(bad), tuple(bad[:EXAMPLES]), why)


def short(path: Path, root: Path) -> str:
    """Return a path as seen from the dataset's folder."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
