"""What histograms of single images allow: the weights of regions, and the AUPIMO that maps can have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.metrics.overlap import RATES, too_few
from adbench.metrics.per_image import Contributions
from adbench.verify.finding import named

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
ROUNDING = 1e-6  # of sums of region weights and of means, absolute


def check_regions(table: pd.DataFrame, parts: Contributions, lesions: pd.DataFrame | None) -> Iterator[str]:
    """Yield a sentence where region weights are not those of the abnormal pixels and lesions.

    A pixel weighs 1 / area of its region, and a region 1: with one lesion in an image, the weight of a bin is known.

    table: of the predictions. lesions: the record's, or none where an older adbench wrote it.
    """
    images, positive, weight = len(table), parts.positive.astype(np.int64), parts.region_weight
    area: Counts = np.bincount(parts.image, positive, images).astype(np.int64)
    smallest, largest = np.ones(images), np.maximum(area, 1).astype(np.float64)
    total = np.bincount(parts.image, weight, images)
    wrong = np.abs(total - np.rint(total)) > ROUNDING * np.maximum(1, total)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        yield f"the region weights of {named(table, row)} add up to {total[row]:.6g}, which is no number of lesions"
        return
    if lesions is not None:
        image, size = lesions["image"].to_numpy(np.int64), lesions["area"].to_numpy(np.int64)
        smallest, largest = np.full(images, np.inf), np.ones(images)
        np.minimum.at(smallest, image, size)
        np.maximum.at(largest, image, size)
    low, high = positive / largest[parts.image], positive / smallest[parts.image]
    wrong = (weight < low - ROUNDING * np.maximum(1, low)) | (weight > high + ROUNDING * np.maximum(1, high))
    wrong &= np.isfinite(smallest[parts.image])  # lesions that are left out are named elsewhere
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        yield (
            f"region_weight is {weight[row]:.6g} in a bin of {named(table, int(parts.image[row]))} with "
            f"{positive[row]:,} abnormal pixels, and its lesions make it {low[row]:.6g} to {high[row]:.6g}"
        )


def check_overlap(table: pd.DataFrame, parts: Contributions) -> Iterator[str]:
    """Yield a sentence where an AUPIMO of the predictions is missing, is there for no reason, or can't be had."""
    normal = table["label"].to_numpy() == 0
    area = np.where(normal, 0, np.bincount(parts.image, parts.positive, len(table)))
    pixels = _normal_pixels(parts, normal)
    for name, (low, high) in RATES.items():
        if name not in table:
            continue
        stated = table[name].to_numpy(np.float64)
        has_one = (area > 0) & (not too_few(int(normal.sum()), pixels, low))
        if (odd := np.flatnonzero(np.isfinite(stated) != has_one)).size:
            row = int(odd[0])
            value = f"is {stated[row]:.6g}" if np.isfinite(stated[row]) else "is missing"
            yield f"{name} of {named(table, row)} {value}, and {_why(normal[row], area[row], has_one[row])}"
            continue
        worst, best = overlap_bounds(parts, normal, low, high)
        odd = np.flatnonzero(has_one & ~((stated >= worst - ROUNDING) & (stated <= best + ROUNDING)))
        if odd.size:
            row = int(odd[0])
            yield (
                f"{name} of {named(table, row)} is {stated[row]:.6g}, and image_histograms.parquet allows "
                f"{worst[row]:.6g} to {best[row]:.6g} ({odd.size} of {len(table)} images differ)"
            )


def overlap_bounds(parts: Contributions, normal: NDArray[np.bool_], low: float, high: float) -> tuple[Shares, Shares]:
    """Return the lowest and the highest AUPIMO that each image can have, (N,) each; 0 without abnormal pixels.

    The share of normal pixels at or above an abnormal one is known up to the normal pixels of its bin.

    normal: (N,), true for the normal images. low, high: false positive rates, as for `aupimo`.
    """
    of_normal = normal[parts.image]
    bins, place = np.unique(parts.bin, return_inverse=True)
    negative = (parts.positive.astype(np.int64) + parts.negative)[of_normal]
    counts = np.bincount(place[of_normal], negative, bins.size).astype(np.float64)
    at_least = np.cumsum(counts[::-1])[::-1]
    pixels = max(1, _normal_pixels(parts, normal))
    area = np.maximum(1, np.bincount(parts.image, parts.positive, normal.size))
    worst, best = (
        np.bincount(parts.image, np.multiply(parts.positive, _gained(above / pixels, low, high)[place]), normal.size)
        for above in (at_least, at_least - counts)
    )
    return worst / area, best / area


def _normal_pixels(parts: Contributions, normal: NDArray[np.bool_]) -> int:
    of_normal = normal[parts.image]
    return int((parts.positive.astype(np.int64) + parts.negative)[of_normal].sum())


def _gained(rate: Shares, low: float, high: float) -> Shares:
    """Return what an abnormal pixel adds to AUPIMO, from 0 to 1: `rate` of the normal pixels are as high as it."""
    return np.asarray(np.log(high / np.clip(rate, low, high)) / np.log(high / low))


def _why(normal: bool, area: float, has_one: bool) -> str:
    if normal:
        return "the image is normal"
    if has_one:
        return "its map and mask give one"
    return "there are too few normal pixels for it" if area else "the image has no abnormal pixel"
