"""Phantom datasets on disk, in the layout of the BMAD archives."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from adbench.errors import AdbenchError

from .brushes import stream
from .phantom import FAMILIES, PHANTOM_VERSION, draw

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
SLICES = {True: (1, 4), False: (1, 1)}  # fewest and most images of one patient, in masked and in image-level sets


def halves(count: int) -> tuple[int, int]:
    """Return (healthy, diseased) for a number of images; the odd one is healthy."""
    return count - count // 2, count // 2


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Yield a hidden folder that takes the name `target`, marked as a phantom, once the block ends without an error."""
    if target.exists():
        raise AdbenchError(f"{target} already exists. Remove it to draw it again, or choose another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield part
        (part / MARK).write_text(f"Drawn by adbench, phantom version {PHANTOM_VERSION}; no image of a patient.\n")
        part.chmod(0o755)
        os.rename(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


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
    return plan


def write_bmad(
    family: str,
    root: Path,
    seed: int = 0,
    train: int = 60,
    valid: int = 80,
    test: int = 120,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Draw one set and return its folder, `root / FOLDERS[family]`.

    `train` images are healthy; `valid` and `test` are totals, the odd one and half of the rest healthy. Files are
    `<patient>_<slice>.png` (.jpeg for oct17): `{split}/good` and `{split}/Ungood` hold them directly, masked sets
    below `img` with masks (8 bit, 0 or 255) of the same name below `Ungood/anomaly_mask`. The folder appears at once,
    complete; AdbenchError if it is there. `progress` is called with the number of images drawn so far.
    """
    target = Path(root) / FOLDERS[family]
    with whole(target) as part:
        drawn = draw_bmad(family, part, seed, {"train": train, "valid": valid, "test": test})
        for done, _ in enumerate(drawn, start=1):
            if progress is not None:
                progress(done)
    return target


def draw_bmad(family: str, root: Path, seed: int, images: dict[str, int]) -> Iterator[None]:
    """Draw one set into the folder `root`, yielding after each image; see `write_bmad`. `images`: in each split."""
    counts = {split: (number, 0) if split == "train" else halves(number) for split, number in images.items()}
    level = "img" if family in MASKED else ""
    options: dict[str, Any]
    suffix, options = (".jpeg", {"quality": 92}) if family == "oct17" else (".png", {"compress_level": 1})
    for split, patient, slice_, abnormal in _plan(family, seed, counts):
        phantom = draw(family, seed, patient, slice_, abnormal)
        folder = root / split / ("Ungood" if abnormal else "good")
        name = f"{patient:04d}_{slice_}{suffix}"
        (folder / level).mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom.image).save(folder / level / name, **options)
        if abnormal and family in MASKED:
            (folder / "anomaly_mask").mkdir(exist_ok=True)
            mask = Image.fromarray(phantom.mask.astype("uint8") * 255)
            mask.save(folder / "anomaly_mask" / name, compress_level=1)
        yield
