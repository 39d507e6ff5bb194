"""Phantom datasets on disk, in the layout of the BMAD archives."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from adbench.errors import AdbenchError
from adbench.system.files import check_lease, scratch

from .brushes import stream
from .phantom import FAMILIES, PHANTOM_VERSION, draw_each

FOLDERS = {
    "brainmri": "Brain",
    "liverct": "Liver",
    "resc": "Retina_RESC",
    "oct17": "Retina_OCT2017",
    "chestxray": "Chest",
    "his": "Histopathology",
}
MASKED = ("brainmri", "liverct", "resc")  # the others have no masks and no `img` level
MARK = "PHANTOM"  # a file that marks the folder as a phantom, so that no record treats it as real data
IMAGES = {"train": 60, "valid": 80, "test": 120}
FEW_HEALTHY = {("oct17", "valid"): (8, 24)}  # (healthy, diseased), as in BMAD itself
SLICES = {True: (1, 4), False: (1, 1)}  # fewest and most images of one patient, in masked and in image-level sets


def halves(count: int) -> tuple[int, int]:
    """Return (healthy, diseased) for a number of images; the odd one is healthy."""
    return count - count // 2, count // 2


def images_of(family: str) -> dict[str, int]:
    """Return the number of images in each split of a phantom.

    >>> images_of("brainmri"), images_of("oct17")["valid"]
    ({'train': 60, 'valid': 80, 'test': 120}, 32)
    """
    return IMAGES | {split: sum(pair) for (name, split), pair in FEW_HEALTHY.items() if name == family}


def classes(family: str, split: str, number: int) -> tuple[int, int]:
    """Return (healthy, diseased) for a number of images in a split.

    All are healthy in train, elsewhere half of them; but the 32 of oct17's valid are 8 and 24.

    >>> classes("brainmri", "valid", 80), classes("oct17", "valid", 32), classes("oct17", "test", 120)
    ((40, 40), (8, 24), (60, 60))
    """
    if split == "train":
        return number, 0
    pair = FEW_HEALTHY.get((family, split), (0, 0))
    return pair if sum(pair) == number else halves(number)


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Yield a hidden folder that takes the name `target`, marked as a phantom, once the block ends without an error."""
    if target.exists():
        raise AdbenchError(f"{target} already exists. Remove it to draw it again, or choose another folder.")
    with scratch(target, "folder with --root DIR") as part:
        yield part
        (part / MARK).write_text(f"Drawn by adbench, phantom version {PHANTOM_VERSION}; no image of a patient.\n")
        check_lease(part, target)
        os.rename(part, target)


def _plan(family: str, seed: int, counts: dict[str, tuple[int, int]]) -> list[tuple[str, int, int, bool]]:
    """(split, patient, slice, abnormal) of every image. A patient is in one split, and healthy or diseased."""
    rng = stream(PHANTOM_VERSION, FAMILIES.index(family), seed)
    plan, patient = [], 0
    fewest, most = SLICES[family in MASKED]
    for split, (good, bad) in counts.items():
        for abnormal, wanted in ((False, good), (True, bad)):
            while wanted > 0:
                slices = min(wanted, int(rng.integers(fewest, most + 1)))
                plan += [(split, patient, slice_, abnormal) for slice_ in range(slices)]
                wanted, patient = wanted - slices, patient + 1
        if FEW_HEALTHY.get((family, split)) == (good, bad):
            patient += IMAGES[split] - good - bad  # the next split has the patients that it has elsewhere
    return plan


def write_bmad(
    family: str,
    root: Path,
    seed: int = 0,
    train: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw one set and return its folder, `root / FOLDERS[family]`.

    `train`, `valid` and `test` are numbers of images, by default those of `images_of`; `classes` says how many of them
    are healthy. Files are
    `<patient>_<slice>.png` (.jpeg for oct17): `{split}/good` and `{split}/Ungood` hold them directly, masked sets
    below `img` with masks (8 bit, 0 or 255) of the same name below `Ungood/anomaly_mask`. The folder appears at once,
    complete; AdbenchError if it is there. `progress` is called with the number of images drawn so far.
    """
    target = Path(root) / FOLDERS[family]
    asked = {"train": train, "valid": valid, "test": test}
    images = images_of(family) | {split: number for split, number in asked.items() if number is not None}
    with whole(target) as part:
        drawn = draw_bmad(family, part, seed, images)
        for done, _ in enumerate(drawn, start=1):
            if progress is not None:
                progress(done)
    return target


def draw_bmad(family: str, root: Path, seed: int, images: dict[str, int]) -> Iterator[None]:
    """Draw one set into the folder `root`, yielding after each image; see `write_bmad`. `images`: in each split."""
    counts = {split: classes(family, split, number) for split, number in images.items()}
    level = "img" if family in MASKED else ""
    options: dict[str, Any]
    suffix, options = (".jpeg", {"quality": 92}) if family == "oct17" else (".png", {"compress_level": 1})
    plan = _plan(family, seed, counts)
    drawn = draw_each(family, seed, [(patient, slice_, abnormal) for _, patient, slice_, abnormal in plan])
    for (split, patient, slice_, abnormal), phantom in zip(plan, drawn, strict=True):
        folder = root / split / ("Ungood" if abnormal else "good")
        name = f"{patient:04d}_{slice_}{suffix}"
        (folder / level).mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image).save(folder / level / name, **options)
        if abnormal and family in MASKED:
            (folder / "anomaly_mask").mkdir(exist_ok=True)
            mask = Image.fromarray(phantom.mask.astype("uint8") * 255)
            mask.save(folder / "anomaly_mask" / name, compress_level=1)
        yield
