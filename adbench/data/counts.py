"""Whether images are those of a published set, by their number in each split and class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from adbench.data.items import SPLITS, DatasetConfig, Item, count

Counts = Mapping[str, Sequence[int] | None]


def counts_of(items: Sequence[Item]) -> dict[str, list[int]]:
    """Return [normal, abnormal] images by split, of those that have any."""
    found = {split: list(count(items, split)) for split in SPLITS}
    return {split: numbers for split, numbers in found.items() if any(numbers)}


def is_published(expected: Counts, counts: Counts) -> bool | None:
    """Whether counts are the published ones; None where no count is known that could tell.

    A split that is missing altogether, as `train` in MVFA's repackage of BMAD, tells nothing, unless it is the test
    split. An unknown count (None) fits any.

    >>> published = {"train": [7500, 0], "valid": [39, 44], "test": [640, 3075]}
    >>> is_published(published, {"valid": [39, 44], "test": [640, 3075]})
    True
    >>> is_published(published, {"test": [12, 30]}), is_published({"test": None}, {"test": [12, 30]})
    (False, None)
    """
    if differences(expected, counts):
        return False
    return True if any(expected.get(split) is not None for split in counts) else None


def differences(expected: Counts, counts: Counts) -> str:
    """Write in which splits counts are not the published ones; empty where they fit.

    >>> differences({"train": [10, 0], "test": [640, 3075]}, {"test": [12, 30], "valid": [1, 1]})
    'valid 1 + 1 instead of none, test 12 + 30 instead of 640 + 3075'
    """
    if not expected:
        return ""
    texts = []
    for split in SPLITS:
        have, want = counts.get(split), expected.get(split, (0, 0))
        if want is None or (have is None and split != "test") or list(have or (0, 0)) == list(want):
            continue
        written = [f"{numbers[0]} + {numbers[1]}" if any(numbers) else "none" for numbers in (have or (0, 0), want)]
        texts.append(f"{split} {written[0]} instead of {written[1]}")
    return ", ".join(texts)


def without_claims(config: DatasetConfig) -> DatasetConfig:
    """Return the configuration of images in a published set's layout that are not that set: no source, no licence."""
    return replace(config, title=f"Images in the layout of {config.title}", source="", licence="", citation="")
