"""What was unusual about the masks of some images: regions kept, classes, coverage. Kept next to the decoded masks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from adbench.data.items import Item
from adbench.data.masks import MAX_COVERED, percent
from adbench.errors import AdbenchError
from adbench.system.memory import recall, remember
from adbench.system.text import counted


@dataclass(frozen=True)
class MaskFacts:
    """One image's mask.

    kept: lesion regions that keep one pixel, because nearest neighbour would lose them.
    covered: the share of abnormal pixels at full size, 0 to 1.
    how, levels: see `masks.MaskReading`; `how` is empty without a mask, `levels` where the mask is plain.
    """

    kept: int = 0
    covered: float = 0.0
    how: str = ""
    levels: str = ""


def remembered(path: Path, count: int, measure: Callable[[], Sequence[MaskFacts]]) -> tuple[MaskFacts, ...]:
    """Return the facts of `count` masks from the file `path`; missing or damaged, it is measured and written again."""
    rows = recall(path).get("masks", [])
    if len(rows) == count:
        return tuple(MaskFacts(*row) for row in rows)
    facts = tuple(measure())
    with contextlib.suppress(AdbenchError):  # the cache may belong to another user
        remember(path, {"masks": [astuple(one) for one in facts]})
    return facts


def summary(facts: Sequence[MaskFacts], size: int) -> dict[str, int]:
    """Count masks, and the regions that keep one pixel at `size` pixels, for the record."""
    return {
        "size": size,
        "images": sum(bool(one.how) for one in facts),
        "kept_regions": sum(one.kept for one in facts),
        "images_with_kept_regions": sum(one.kept > 0 for one in facts),
    }


def notes(facts: Sequence[MaskFacts], items: Sequence[Item], name: str, size: int) -> list[str]:
    """Say in sentences what was unusual about the masks of the images `name`, as in "brainmri test"."""
    rows = [(one, item) for one, item in zip(facts, items, strict=True) if one.how]
    said = []

    def say(chosen: Sequence[tuple[MaskFacts, Item]], sentence: Callable[[str, MaskFacts, Item], str]) -> None:
        if chosen:
            said.append(f"{name}: {sentence(counted(len(chosen), 'mask'), *chosen[0])}")

    if shrunk := [one for one, _ in rows if one.kept]:
        regions, images = counted(sum(one.kept for one in shrunk), "lesion region"), counted(len(shrunk), "image")
        said.append(f"{name}: {regions} of {images}, lost at {size} x {size} pixels, keep one pixel each.")
    say(
        [row for row in rows if row[0].how == "classes"],
        lambda many, one, item: (
            f"{many} with several classes, as that of {item.id} ({one.levels}): whatever is above "
            "0 is abnormal. Others: dataset.mask_threshold=, dataset.mask_background="
        ),
    )
    say(
        [row for row in rows if row[0].how == "hidden classes"],
        lambda many, one, item: (
            f"{many} with values up to 127 that look like a class, as that of {item.id} "
            f"({one.levels}): the threshold calls them healthy. All classes: dataset.mask_threshold=0"
        ),
    )
    say(
        [row for row in rows if row[0].how == "transparency"],
        lambda many, one, item: (
            f"{many} of one colour, as that of {item.id} ({one.levels}): what is opaque is abnormal."
        ),
    )
    say(
        [row for row in rows if row[1].label and row[0].covered > MAX_COVERED],
        lambda many, one, item: (
            f"{many} covering more than {percent(MAX_COVERED)} of the image, as that of {item.id} "
            f"({percent(one.covered)}). Abnormal pixels must be bright, not dark."
        ),
    )
    say(
        [row for row in rows if not row[1].label and row[0].covered],
        lambda many, one, item: (
            f"{many} of normal images with abnormal pixels, as that of {item.id} "
            f"({percent(one.covered)}). Every pixel of a normal image counts as healthy."
        ),
    )
    return said
