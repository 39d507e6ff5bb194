"""The items of one split, or why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.data.items import CLASSES, DatasetConfig, Item, count
from adbench.errors import DataError


def of_split(
    items: Sequence[Item], split: str, dataset: str, root: Path, config: DatasetConfig | None = None
) -> list[Item]:
    """Return the items of one split, which must have both classes where it is the test split.

    With `config`, of images that came without splits, the error says what would fill the split.
    """
    chosen = [item for item in items if item.split == split]
    normal, abnormal = count(items, split)
    if not chosen or (split == "test" and not (normal and abnormal)):
        hint = f"Look into {root}."
        if config is not None and config.split_shares is not None:
            shares = f"Images without splits are split by dataset.split_shares={config.split_shares}; try [0.5,0,0.5]."
            hint = _few_patients(items) or f"{hint} {shares}"
        raise DataError(
            f"dataset {dataset!r} at {root} has {normal} normal and {abnormal} abnormal images in its {split} split; "
            f"{'both classes are' if split == 'test' else 'at least one is'} needed. {hint}"
        )
    return chosen


def _few_patients(items: Sequence[Item]) -> str:
    """Say that all images of a class are of one patient, who is in one split; empty where none is."""
    for label, kind in enumerate(CLASSES):
        patients = {item.patient for item in items if item.label == label}
        if len(patients) == 1 and None not in patients:
            return (
                f"All {kind} images are of one patient, {patients.pop()!r}, and a patient is in one split only. Give "
                "the class a second patient; where the patient is wrong, dataset.patient_pattern or the column "
                "`patient` of a table names another; dataset.split_shares=[0,0,1] makes all images the test split."
            )
    return ""
