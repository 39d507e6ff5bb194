"""AUPIMO: the recall of each abnormal image at false positive rates so low that normal images stay clean.

Bertoldo, Ameln, Vaidya & Akçay, "AUPIMO: Redefining Visual Anomaly Detection Benchmarks with High Speed and Low
Tolerance", BMVC 2024 (arXiv 2401.01984). Thresholds come from normal images alone. At a threshold t the shared false
positive rate F(t) is the share of their pixels above t (the mean over images, which are all of one size). For an
abnormal image the *per-image overlap* is the share of its own abnormal pixels above t; AUPIMO is the area under it over
log F from `low` to `high`, divided by log(high / low).

The area has a closed form. An abnormal pixel x lies above the threshold of rate z exactly where z is at least the share
of normal pixels at or above x, G(x). So it adds log(high / clip(G(x), low, high)) / log(high / low), a number from 0 to
1, and the AUPIMO of an image is the mean of these over its abnormal pixels. No grid of thresholds is needed, and normal
pixels below the highest share `high` are never looked at again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError
from adbench.metrics.arrays import as_booleans, as_float32, as_maps, as_scores

Floats32 = npt.NDArray[np.float32]
STRICT = (1e-5, 1e-4)  # the paper's range of false positive rates
LOOSE = (1e-4, 1e-2)  # for fewer normal images
RATES = {"aupimo": STRICT, "aupimo_loose": LOOSE}  # columns of a record's predictions; pixel_aupimo… is their mean
FEWEST_PIXELS = 10  # normal pixels that lie above the strictest threshold
FEWEST_IMAGES = 10  # normal images: the highest pixels of one image alone say nothing of others
SPARE = 2**16  # normal pixels that are held before the lowest are dropped


def aupimo(
    scores: Any, masks: Any, normal: Any = None, low: float = STRICT[0], high: float = STRICT[1]
) -> npt.NDArray[np.float64]:
    """Return the AUPIMO of each image, (N,), in [0, 1]; NaN where an image has no abnormal pixel.

    Args:
        scores: (N, H, W), finite; higher is more abnormal.
        masks: (N, H, W), boolean or 0/1; true where abnormal.
        normal: (N,), true for the normal images, which set the thresholds; by default those with an empty mask.
        low: lowest false positive rate.
        high: highest false positive rate; 0 < low < high <= 1.

    Raises:
        AdbenchError: wrong shapes or rates, or too few normal pixels for `low` (see `too_few`).
        NumericalError: a score is NaN or infinite.

    >>> maps, masks = np.zeros((11, 300, 400)), np.zeros((11, 300, 400))
    >>> maps[0, 0, :] = 1  # 400 of 1.2 million normal pixels: a share of 1 / 3000
    >>> masks[10, 0, :2], maps[10, 0, :2] = 1, (1, 2)
    >>> aupimo(maps, masks, low=1e-4, high=1e-2)[9:].round(4)  # log(0.01 * 3000) / log(100) and 1, halved
    array([   nan, 0.8693])

    """
    maps, truth = as_maps(scores, masks)
    clean = ~truth.any(axis=(1, 2)) if normal is None else as_booleans(normal, "normal")
    if clean.shape != maps.shape[:1]:
        raise AdbenchError(f"normal has shape {clean.shape}; one value for each of {len(maps)} images is needed.")
    check_rates(low, high)
    pixels = int(clean.sum()) * maps[0].size if len(maps) else 0
    if why := too_few(int(clean.sum()), pixels, low):
        raise AdbenchError(why)
    collected = PerImageOverlap(pixels, high)
    collected.update(0, maps, truth, clean)
    return collected.values(low, high)


def check_rates(low: float, high: float) -> None:
    """Raise AdbenchError unless 0 < low < high <= 1."""
    if not 0 < low < high <= 1:
        raise AdbenchError(
            f"AUPIMO from {low:g} to {high:g} is not possible: false positive rates 0 < low < high <= 1."
        )


def too_few(images: int, pixels: int, low: float) -> str:
    """Say why a false positive rate of `low` means nothing with so many normal images and pixels; empty where it does.

    The rule: at least `FEWEST_IMAGES` normal images, and `FEWEST_PIXELS` normal pixels above the threshold of `low`. At
    240 x 240 pixels a rate of 1e-5 needs 18 normal images.

    >>> too_few(18, 18 * 240 * 240, 1e-5)
    ''
    >>> too_few(17, 17 * 240 * 240, 1e-5)
    'AUPIMO from 1e-05 needs 10 normal images and 1,000,000 normal pixels, not 17 and 979,200. Use 0.0001 to 0.01.'
    """
    wanted = round(FEWEST_PIXELS / low)
    if images >= FEWEST_IMAGES and pixels >= wanted:
        return ""
    instead = f" Use {LOOSE[0]:g} to {LOOSE[1]:g}." if images >= FEWEST_IMAGES and low < LOOSE[0] else ""
    return (
        f"AUPIMO from {low:g} needs {FEWEST_IMAGES} normal images and {wanted:,} normal pixels, not {images} and "
        f"{pixels:,}.{instead}"
    )


class PerImageOverlap:
    """Collects score maps for the AUPIMO of each image, batch by batch; exact, whatever the batches and their order.

    pixels: of all normal images that will be added. high: the largest false positive rate that will be asked for.
    Kept are the highest share `high` of the normal pixels, and the abnormal ones that may still lie above them: at most
    4 bytes for each abnormal pixel, in practice a few megabytes.
    """

    def __init__(self, pixels: int, high: float = LOOSE[1]) -> None:
        self.pixels = pixels
        self.most = int(high * pixels) + 1  # normal pixels that are looked at
        self.high = high
        self.seen = 0
        self.tail: list[Floats32] = []
        self.cut = -np.inf  # at least `most` normal pixels are this high: an abnormal one no higher adds nothing
        self.above: dict[int, Floats32] = {}  # abnormal pixels by image
        self.area: dict[int, int] = {}  # how many an image has in all

    def update(self, first: int, scores: Any, masks: Any, normal: Any) -> None:
        """Add images number `first`, `first` + 1, ...: scores and masks (N, H, W), normal (N,), as for `aupimo`."""
        values, _ = as_float32(as_scores(scores))
        truth, clean = as_booleans(masks, "masks"), as_booleans(normal, "normal")
        self._add_normal(values[clean].ravel())
        for number, (own, mask, is_normal) in enumerate(zip(values, truth, clean, strict=True), first):
            abnormal = np.empty(0, np.float32) if is_normal else own[mask]
            self.area[number] = abnormal.size
            self.above[number] = abnormal[abnormal > self.cut]

    def merge(self, other: PerImageOverlap) -> None:
        """Add the images of another process."""
        self.seen += other.seen
        self.tail += other.tail
        self.area |= other.area
        self.above |= other.above
        self._prune()

    def values(self, low: float, high: float) -> npt.NDArray[np.float64]:
        """Return the AUPIMO of each image in the order of their numbers, (N,); NaN without an abnormal pixel.

        Raises AdbenchError for a `high` above that of the collector, and where normal pixels are missing.
        """
        check_rates(low, high)
        if high > self.high:
            raise AdbenchError(f"AUPIMO was collected up to a false positive rate of {self.high:g}, not {high:g}.")
        if self.seen != self.pixels:
            raise AdbenchError(f"{self.seen:,} normal pixels were added, not {self.pixels:,}.")
        self._prune()
        tail = np.sort(np.concatenate([np.empty(0, np.float32), *self.tail]))
        figures = np.full(len(self.area), np.nan)
        for place, number in enumerate(sorted(self.area)):
            if self.area[number]:
                rate = (tail.size - np.searchsorted(tail, self.above[number], "left")) / self.pixels
                gained = np.log(high / np.clip(rate, low, high)) / np.log(high / low)
                figures[place] = gained.sum() / self.area[number]
        return figures

    def _add_normal(self, values: Floats32) -> None:
        self.seen += values.size
        self.tail.append(values[values > self.cut])
        if sum(part.size for part in self.tail) > 2 * self.most + SPARE:
            self._prune()

    def _prune(self) -> None:
        tail = np.concatenate([np.empty(0, np.float32), *self.tail])
        if tail.size > self.most:
            tail = np.partition(tail, tail.size - self.most)[-self.most :]
        self.tail = [tail]
        if tail.size == self.most:
            self.cut = float(tail.min())
            self.above = {number: part[part > self.cut] for number, part in self.above.items()}
