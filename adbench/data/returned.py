"""What `index` of a stranger's dataset returned, checked before anything is made of it."""

from __future__ import annotations

from pathlib import Path

from adbench.data.items import SPLITS, Item
from adbench.system.text import printable


def fault_in(items: object) -> str | None:
    """Return what is wrong with what a dataset's `index` returned, where a list of Items is needed; None: nothing.

    Looks at types only: `check_ids` finds ids that repeat, and hashing the files that are not there.
    """
    if not isinstance(items, list):
        return f"{'None' if items is None else f'a {type(items).__name__}'}, where a list of Items is needed"
    for place, item in enumerate(items):
        if not isinstance(item, Item):
            return f"a {type(item).__name__} as item {place}, where an Item is needed"
        for name, good, needed in (
            ("id", isinstance(item.id, str) and item.id, "a text"),
            ("split", item.split in SPLITS, "train, valid or test"),
            ("label", type(item.label) is int and item.label in (0, 1), "0 or 1"),
            ("path", isinstance(item.path, Path), "a Path"),
            ("mask", item.mask is None or _are_paths(item.mask), "a tuple of Paths or None"),
            ("patient", item.patient is None or isinstance(item.patient, str), "a text or None"),
            ("subgroup", item.subgroup is None or isinstance(item.subgroup, str), "a text or None"),
        ):
            if not good:
                value = printable(repr(getattr(item, name))[:100])
                return f"an Item (number {place}) with {name}={value}, where {needed} is needed"
    return None


def _are_paths(masks: object) -> bool:
    return isinstance(masks, tuple) and bool(masks) and all(isinstance(path, Path) for path in masks)
