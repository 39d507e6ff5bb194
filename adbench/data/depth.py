"""Images of more than 8 bits in a dataset: whether there are some, and what is to be said of their grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.data.decode import is_deep
from adbench.data.dicom import is_dicom
from adbench.data.items import DatasetConfig, Item
from adbench.errors import AdbenchError


def depth_notes(items: Sequence[Item], config: DatasetConfig, chosen: bool) -> tuple[str, ...]:
    """Return a note where images of more than 8 bits are stretched one by one.

    One image of each split and class is looked at, by its header: to open all would take as long as all else.
    `chosen`: `dataset.intensity_range` was asked for; AdbenchError where it has no effect on any image.
    """
    if config.intensity_range is not None:
        if chosen and not any(is_dicom(item.path) or _deep(item.path) for item in items):
            raise AdbenchError(
                "dataset.intensity_range has no effect on these images: all have 8 bits, and stay as they are; leave "
                "it out."
            )
        return ()
    first = {(item.split, item.label): item.path for item in reversed(items)}
    deep = next((path for path in first.values() if _deep(path)), None)
    if deep is None:
        return ()
    return (
        f"images such as {deep.name} have more than 8 bits and no window: each is stretched from its own lowest to its "
        "own highest value. One range for all, such as that of 12 bits: dataset.intensity_range=[0,4095]",
    )


def _deep(path: Path) -> bool:
    try:
        return is_deep(path)
    except AdbenchError:  # that it can't be read is said when it is decoded
        return False
