"""Phantoms for layouts other than BMAD's: drawings of other patients, saved by the writer of each layout."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.items import SPLITS, Split

from .phantom import PHANTOM_VERSION, Phantom, draw_each

WRITERS = 1  # raised when a layout's writer puts other files on disk


@dataclass(frozen=True)
class Scene:
    """One phantom of a set; `patient` counts from 0 over the whole set, `slice` within the patient."""

    split: Split
    patient: int
    slice: int
    phantom: Phantom

    @property
    def label(self) -> int:
        """0 healthy, 1 diseased."""
        return int(bool(self.phantom.kind))


def scenes(
    family: str, seed: int, counts: Mapping[str, tuple[int, int]], slices: int = 1, first: int = 0
) -> Iterator[Scene]:
    """Draw (healthy, diseased) images of each split; a patient has `slices` of them, is in one split and one class.

    BMAD's phantoms have seed 0: other seeds are other patients. `first` is the number of the first patient.
    """
    plan: list[tuple[Split, int, int, bool]] = []
    patient = first
    for split in SPLITS:
        for abnormal, wanted in enumerate(counts.get(split, (0, 0))):
            for number in range(wanted):
                slice_ = number % slices
                if number and not slice_:
                    patient += 1
                plan.append((split, patient, slice_, bool(abnormal)))
            patient += wanted > 0
    drawn = draw_each(family, seed, [(patient, slice_, abnormal) for _, patient, slice_, abnormal in plan])
    for (split, patient, slice_, _), phantom in zip(plan, drawn, strict=True):
        yield Scene(split, patient, slice_, phantom)


def save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> None:
    """Save an image, or a mask as 0 and 255, in the format of the ending: quick PNG, good JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"compress_level": 1} if path.suffix.lower() == ".png" else {"quality": 90}
    values = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    Image.fromarray(values).save(path, **options)


def version(counts: Mapping[str, int], category: str | None = None) -> str:
    """Name a phantom by the drawings' version, the writers', its size and its category, where it has one."""
    parts = [f"v{PHANTOM_VERSION}w{WRITERS}", *map(str, counts.values()), category]
    return "-".join(part for part in parts if part)
