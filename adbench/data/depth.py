"""Notes on a dataset from the headers of its images: more than 8 bits without a window, and damaged DICOM headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from adbench.data.decode import DECODING, is_deep
from adbench.data.dicom import is_dicom
from adbench.data.fingerprint import digest
from adbench.data.frames import ImagePath
from adbench.data.items import DatasetConfig, Item
from adbench.data.stamps import measured
from adbench.errors import AdbenchError


def depth_notes(items: Sequence[Item], config: DatasetConfig, chosen: bool) -> tuple[str, ...]:
    """Return a note where images of more than 8 bits are stretched one by one.

    One image of each split and class is looked at, by its header: to open all would take as long as all else.
    `chosen`: `dataset.intensity_range` was asked for; AdbenchError where it has no effect on any image.
    """
    if config.intensity_range is not None:
        if chosen and not any(is_dicom(item.path) or _deep(item.image) for item in items):
            raise AdbenchError(
                "dataset.intensity_range has no effect on these images: all have 8 bits, and stay as they are; leave "
                "it out."
            )
        return ()
    first = {(item.split, item.label): item.image for item in reversed(items)}
    said = stretched(first.values())
    return (f"{said} One range for all, such as that of 12 bits: dataset.intensity_range=[0,4095]",) if said else ()


def stretched(images: Iterable[ImagePath]) -> str:
    """Say that images of more than 8 bits are stretched one by one, with the first of them; empty where none is."""
    deep = next((image for image in images if _deep(image)), None)
    if deep is None:
        return ""
    return (
        f"images such as {deep.name} have more than 8 bits and no window: each is stretched from its own lowest to its "
        "own highest value, so one bright spot darkens the rest of its image."
    )


def damage_notes(items: Sequence[Item], cache: Path, name: str, keep: bool) -> tuple[str, ...]:
    """Return a note that names the DICOM files with a damaged header, whether or not a run needs them.

    Where the first images of all splits and classes are other files, none is looked at. What was found is kept in
    `cache`, and updated there with `keep`.
    """
    first = {(item.split, item.label): item.path for item in reversed(items)}
    if not any(map(is_dicom, first.values())):
        return ()
    paths = [path for path in dict.fromkeys(item.path for item in items) if is_dicom(path)]
    memory = cache / "headers" / f"{digest(f'{DECODING} {paths[0].parent.absolute()} {name}')[:16]}.json"
    found = measured(paths, lambda path: (_damage(path),), memory, f"headers of {name}", lambda row: not row[0], keep)
    damaged = [str(row[0]) for row in found.rows.values() if row[0]]
    if not damaged:
        return ()
    more = f" {len(damaged) - 1} more are damaged: adbench data check lists them." if len(damaged) > 1 else ""
    return (f"a damaged file, at which a run stops that needs it: {damaged[0]}{more}",)


def _damage(path: Path) -> str:
    try:
        is_deep(path)
    except AdbenchError as error:
        return str(error)
    return ""


def _deep(image: ImagePath) -> bool:
    try:
        return is_deep(image)
    except AdbenchError:  # that it can't be read is said when it is decoded
        return False
