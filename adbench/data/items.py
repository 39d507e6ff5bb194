"""What a dataset is: a table of items in fixed splits, and the facts that its configuration states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from adbench.errors import DataError

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
CLASSES = ("normal", "abnormal")


@dataclass(frozen=True)
class Item:
    """One image on disk.

    `id` is `<split>/<normal|abnormal>/<file name>` and so the same in every layout of a dataset. `label` is 0 for
    normal and 1 for abnormal. `mask` is the file of the lesion mask, or none. `patient` is none where unknown.
    """

    id: str
    split: Split
    label: int
    path: Path
    mask: Path | None = None
    patient: str | None = None


@dataclass
class DatasetConfig:
    """The facts in configs/dataset/*.yaml. Those that change a result enter the cell key: see `facets`."""

    title: str
    object_name: str
    modality: str = ""
    organ: str = ""
    folders: list[str] = field(default_factory=list)
    masks: bool = True
    mask_threshold: int = 127
    empty_masks: str = "error"
    support_split: str = "valid"
    patient_pattern: str | None = None
    licence: str = ""
    source: str = ""
    citation: str = ""
    expected: dict[str, list[int] | None] = field(default_factory=dict)

    def facets(self) -> dict[str, object]:
        """The part of the configuration that can change a score or a figure."""
        names = ("object_name", "masks", "mask_threshold", "empty_masks", "support_split", "patient_pattern")
        return {name: getattr(self, name) for name in names}


class Dataset(Protocol):
    """What a registered dataset class offers. The constructor stores its arguments and does nothing else."""

    def __init__(self, name: str, config: DatasetConfig) -> None: ...

    def index(self, root: Path) -> list[Item]:
        """Look at the folder `root` and return every item; raises DataError where it can't be this dataset."""
        ...

    def phantom_version(self) -> str:
        """Return a name that changes whenever the phantoms do."""
        ...

    def draw_phantom(self, root: Path, counts: dict[str, int] | None = None) -> None:
        """Write a phantom of this dataset below `root`, in the real one's layout; `counts`: images per split."""
        ...

    def is_phantom(self, root: Path) -> bool:
        """Whether the images at `root` were drawn by `draw_phantom`, wherever they lie."""
        ...


def count(items: Sequence[Item], split: str) -> tuple[int, int]:
    """Return (normal, abnormal) images of a split."""
    labels = Counter(item.label for item in items if item.split == split)
    return labels[0], labels[1]


def of_split(items: Sequence[Item], split: str, dataset: str, root: Path) -> list[Item]:
    """Return the items of one split, which must have both classes where it is the test split."""
    chosen = [item for item in items if item.split == split]
    normal, abnormal = count(items, split)
    if not chosen or (split == "test" and not (normal and abnormal)):
        raise DataError(
            f"dataset {dataset!r} at {root} has {normal} normal and {abnormal} abnormal images in its {split} split; "
            f"{'both classes are' if split == 'test' else 'at least one is'} needed. Look into {root}."
        )
    return chosen
