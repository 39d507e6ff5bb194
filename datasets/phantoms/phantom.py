"""Phantoms: each image is drawn from a few integers."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adbench.system.cores import available

from .brushes import Mask, Size, noise, stream
from .lesions import LESIONS, NARROW
from .organs import Scene, brain, chest, liver
from .retina import oct17, resc
from .tissue import his

PHANTOM_VERSION = 2  # part of every stream: raising it draws other images
FAMILIES = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")
PAINTERS = {"brainmri": brain, "liverct": liver, "resc": resc, "oct17": oct17, "chestxray": chest, "his": his}
SIZES: dict[str, Size] = {
    "brainmri": (240, 240),
    "liverct": (192, 192),
    "resc": (144, 288),
    "oct17": (192, 200),
    "chestxray": (184, 184),
    "his": (176, 176),
}
# Beta distribution of lesion size and contrast in the benchmark, from nearly invisible to plain.
EXTENT = {
    "brainmri": (1.3, 1.0),
    "liverct": (1.0, 1.4),
    "resc": (3.0, 1.0),
    "oct17": (6.0, 1.0),
    "chestxray": (8.0, 1.0),
    "his": (6.0, 1.0),
}
_ANATOMY, _SLICE, _LESION, _SCANNER = range(4)


@dataclass(frozen=True)
class Phantom:
    """A drawn image with its truth.

    `image` is uint8, (H, W) grey or (H, W, 3) RGB. `mask` (H, W) is True on the lesion and empty when healthy;
    `kind`, `place` and `size_word` describe the lesion in words and are "" when healthy.
    """

    family: str
    image: NDArray[np.uint8]
    mask: Mask
    kind: str
    place: str
    size_word: str


def _scanned(scene: Scene, image: NDArray[np.float64], rng: np.random.Generator, speckled: bool) -> NDArray[np.uint8]:
    """Noise, gamma and 8 bits. Coherent light speckles in proportion to the signal, other noise is added."""
    shape = scene.site.shape
    grain = rng.standard_normal(shape)
    if speckled:
        grain[:, 1:] = 0.8 * grain[:, 1:] + 0.6 * grain[:, :-1]
        image = image * (1 + scene.grain * grain) + 0.1 * scene.grain * rng.random()
    elif image.ndim == 3:
        image = image + 0.8 * scene.grain * grain[..., None]
    else:
        outside = scene.marks.get("body")
        image = image + scene.grain * grain * (1.0 if outside is None else outside)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _place(family: str, centre: tuple[float, float], size: Size) -> str:
    """Return the place of a lesion in words. Films and axial slices show the patient's right on the left."""
    y, x = centre
    hand = "right" if x < 0 else "left"
    if family == "brainmri":
        lobe = "frontal" if y < -0.25 else "occipital" if y > 0.4 else "temporal" if abs(x) > 0.3 else "parietal"
        return f"{hand} {lobe} lobe"
    if family == "liverct":
        return f"segment {('VII', 'VI', 'IV', 'III')[(x > -0.1) * 2 + (y > 0 if x <= -0.1 else y > -0.2)]}"
    if family == "chestxray":
        return f"{hand} {'upper' if y < -0.3 else 'lower' if y > 0.15 else 'middle'} lung"
    if family == "his":
        return ("upper" if y < 0 else "lower") + (" left" if x < 0 else " right") + " field"
    return "macular region" if abs(x) < 0.35 * size[1] / size[0] else "peripheral retina"


def draw(
    family: str,
    seed: int,
    patient: int,
    slice_: int,
    abnormal: bool,
    size: Size | None = None,
    narrow: bool = False,
) -> Phantom:
    """Draw one phantom: a pure function of its arguments.

    The same `seed`, `patient` and `slice_` with `abnormal` on and off give one anatomy with and without a lesion.
    `size` is (H, W) in pixels, default `SIZES[family]`. `narrow` limits lesions to the kinds, sizes and contrasts
    that phantom-clip is pretrained on. Raises KeyError for a family not in `FAMILIES`.
    """
    size = SIZES[family] if size is None else size
    key = (PHANTOM_VERSION, FAMILIES.index(family), seed, patient)
    scene = PAINTERS[family](stream(*key, _ANATOMY), stream(*key, _SLICE, slice_), size)
    image, mask, kind, place, size_word = scene.image, np.zeros(size, dtype=bool), "", "", ""
    if abnormal:
        rng = stream(*key, _LESION, slice_)
        kinds = NARROW[family] if narrow else tuple(LESIONS[family])
        while not mask.any():  # a small lesion may fall between the pixels
            kind = kinds[rng.integers(len(kinds))]
            bulk, vigour = rng.uniform(0.25, 0.75), rng.uniform(0.35, 0.85)
            if not narrow:
                bulk, vigour = rng.beta(*EXTENT[family]), rng.beta(*EXTENT[family])
            lesion = LESIONS[family][kind](scene, rng, bulk, vigour)
            image, mask, place = lesion.image, lesion.mask, _place(family, lesion.centre, size)
        share = float(mask.mean())
        size_word = "tiny" if share < 0.004 else "small" if share < 0.015 else "medium" if share < 0.05 else "large"
    rng = stream(*key, _SCANNER, slice_)
    if family in ("brainmri", "chestxray"):
        image = image * (1 + 0.02 * noise(rng, size, 3))
    return Phantom(family, _scanned(scene, image, rng, family in ("resc", "oct17")), mask, kind, place, size_word)


def draw_each(family: str, seed: int, which: Iterable[tuple[int, int, bool]]) -> Iterator[Phantom]:
    """Draw phantoms (patient, slice, abnormal), in their order, as many at a time as there are cores.

    Not by `cores.each`, which imports torch.
    """
    with ThreadPoolExecutor(available()) as threads:
        yield from threads.map(lambda one: draw(family, seed, *one), which)


def fingerprint(family: str, seed: int = 0, n: int = 4) -> str:
    """SHA-256 over images and masks of `n` patients, healthy and diseased, of the benchmark's distribution."""
    digest = hashlib.sha256()
    for patient in range(n):
        phantom = draw(family, seed, patient, patient, abnormal=patient % 2 == 1)
        digest.update(phantom.image.tobytes() + phantom.mask.tobytes())
    return digest.hexdigest()
