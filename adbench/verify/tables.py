"""The tables of a record against one another and against record.json: rows, labels, names, counts of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from adbench.data.items import CLASSES, SPLITS
from adbench.metrics.keys import to_floats, to_keys
from adbench.metrics.per_image import Contributions
from adbench.metrics.table import starts
from adbench.records.record import Record
from adbench.system.text import printable
from adbench.verify.finding import named
from adbench.verify.regions import check_overlap, check_regions

SIGN = np.uint32(0x80000000)
ROUNDING = 1e-6  # of sums of region weights, relative
OF_MEANS = 1e-3  # by which a mean of 32-bit numbers may miss its bounds, relative to the largest score


def check_predictions(record: Record, table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence where names, labels and maps of the predictions are not those of the record's test split."""
    content, labels = record.content, table["label"].to_numpy()
    for name, label in zip(table["image"], labels, strict=True):
        parts = str(name).split("/")
        if len(parts) > 2 and parts[0] in SPLITS and parts[1] in CLASSES and parts[:2] != ["test", CLASSES[label]]:
            yield f"predictions.parquet calls {printable(str(name))} {CLASSES[label]}, and its name says otherwise"
            break
    stated = ((content["dataset"].get("counts") or {}).get("test")) or None
    found = [int((labels == 0).sum()), int((labels == 1).sum())]
    apart = content["facts"].get("abnormal_support") == "test"  # images that are learned from leave the test split
    if stated is not None and (
        found != stated if not apart else any(a > b for a, b in zip(found, stated, strict=True))
    ):
        yield (
            f"predictions.parquet has {found[0]} normal and {found[1]} abnormal images, and dataset.counts says that "
            f"the test split has {stated[0]} and {stated[1]}"
        )
    maps = content["capability"].get("maps")
    for column in ("map_max", "map_mean"):
        if column not in table:
            yield f"predictions.parquet has no column {column}"
        elif maps is True and table[column].isna().any():
            yield f"predictions.parquet lacks values of {column}, and capability.maps is true"
        elif maps is False and table[column].notna().any():
            yield f"predictions.parquet has values of {column}, and capability.maps is false"
    if {"map_max", "map_mean"} <= {*table}:
        over = np.flatnonzero(table["map_mean"] - table["map_max"] > OF_MEANS * table["map_max"].abs())
        if over.size:
            yield f"map_mean of {named(table, int(over[0]))} is above its map_max"
    wanted = bool(maps and content["dataset"]["masks"])
    if wanted != (content["histogram"] is not None):
        has = "has a pixel histogram" if content["histogram"] is not None else "has no pixel histogram"
        yield f"the record {has}, and its dataset {'has' if content['dataset']['masks'] else 'has no'} masks"


def check_histograms(record: Record, table: pd.DataFrame, arrays: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence where the pixel histogram is not that of so many maps of the stated size."""
    size = record.content["facts"].get("eval_size")
    masks = record.content.get("masks") or {}
    pixels = int(arrays["positive"].sum() + arrays["negative"].sum())
    if size is not None and pixels != len(table) * size * size:
        yield f"histogram.parquet counts {pixels:,} pixels, and {len(table)} maps of {size} x {size} have others"
    if size is not None and masks.get("size", size) != size:
        yield f"masks.size is {masks['size']}, and maps are evaluated at {size} x {size}"
    regions = float(arrays["region_weight"].sum())
    if abs(regions - int(arrays["n_regions"])) > ROUNDING * max(regions, 1):
        stated = int(arrays["n_regions"])
        yield f"histogram.n_regions is {stated}, and the weights of histogram.parquet add up to {regions:.6g}"


def check_contributions(
    record: Record, table: pd.DataFrame, arrays: dict[str, Any], parts: Contributions
) -> Iterator[str]:
    """Yield a sentence where the histograms of single images don't add up to the histogram, or contradict the table."""
    size, images = record.content["facts"].get("eval_size"), len(table)
    total = parts.positive.astype(np.int64) + parts.negative
    by_image = np.bincount(parts.image, total, images).astype(np.int64)
    if size is not None and (by_image != size * size).any():
        odd = int(np.flatnonzero(by_image != size * size)[0])
        found = by_image[odd]
        yield f"image_histograms.parquet counts {found:,} pixels of {named(table, odd)}, which has {size * size:,}"
    positive = np.bincount(parts.image, parts.positive, images)
    wrong = np.flatnonzero((positive > 0) & (table["label"].to_numpy() == 0))
    if wrong.size:
        yield f"{named(table, int(wrong[0]))} is normal, and image_histograms.parquet counts abnormal pixels in it"
    if (difference := _coarsened_differs(arrays, parts)) is not None:
        yield f"the histograms of single images don't add up to histogram.parquet: {difference}"
    order = parts.image.astype(np.int64) << 32 | parts.bin.astype(np.int64) + 2**31
    if (np.diff(order) <= 0).any() or (np.bincount(parts.image, minlength=images) == 0).any():
        yield "image_histograms.parquet has not every image, in the order of predictions.parquet, with rising bins"
        return
    yield from check_regions(table, parts, record.lesions())
    yield from check_overlap(table, parts)
    yield from _check_maps(table, parts, by_image)


def _coarsened_differs(arrays: dict[str, Any], parts: Contributions) -> str | None:
    """Say in what the sum over images is not the histogram on the same coarse bins; None where it is."""
    shift = max(parts.shift, int(arrays["shift"]))
    keys = (np.asarray(arrays["keys"], np.uint32) ^ SIGN).view(np.int32) >> shift
    names = ("positive", "negative", "region_weight")
    whole = _sums(keys, [np.asarray(arrays[name]) for name in names])
    order = np.argsort(parts.bin, kind="stable")
    bins = parts.bin[order].astype(np.int64) >> (shift - parts.shift)
    summed = _sums(bins, [getattr(parts, name)[order].astype(np.float64) for name in names])
    if not np.array_equal(whole[0], summed[0]):
        return f"they fill {len(summed[0])} of its bins, and it fills {len(whole[0])}, or others"
    for name, mine, theirs in zip(names, whole[1], summed[1], strict=True):
        slack = ROUNDING if name == "region_weight" else 0
        if (np.abs(mine - theirs) > slack * np.maximum(1, mine)).any():
            odd = int(np.flatnonzero(np.abs(mine - theirs) > slack * np.maximum(1, mine))[0])
            return f"{name} is {theirs[odd]:.6g} and {mine[odd]:.6g} in one bin"
    return None


def _sums(bins: Any, columns: list[Any]) -> tuple[Any, list[Any]]:
    begin = starts(bins)
    return np.asarray(bins[begin], np.int64), [np.add.reduceat(column.astype(np.float64), begin) for column in columns]


def _check_maps(table: pd.DataFrame, parts: Contributions, pixels: Any) -> Iterator[str]:
    """Yield a sentence where map_max or map_mean is outside of the bins of its image."""
    if "map_max" not in table or "map_mean" not in table or table[["map_max", "map_mean"]].isna().any(axis=None):
        return
    last = np.append(np.flatnonzero(np.diff(parts.image)), len(parts.image) - 1)
    highest = to_keys(table["map_max"].to_numpy(np.float32)).astype(np.int64) >> parts.shift
    wrong = np.flatnonzero(highest != parts.bin[last])
    if wrong.size:
        yield f"map_max of {named(table, int(wrong[0]))} is not in the highest bin of its map's histogram"
    low = to_floats(parts.bin.astype(np.int64) << parts.shift).astype(np.float64)
    high = to_floats(((parts.bin.astype(np.int64) + 1) << parts.shift) - 1).astype(np.float64)
    total, images = parts.positive.astype(np.float64) + parts.negative, len(table)
    least, most = (np.bincount(parts.image, edge * total, images) / np.maximum(pixels, 1) for edge in (low, high))
    means = table["map_mean"].to_numpy(np.float64)
    slack = OF_MEANS * np.maximum(np.abs(means), np.abs(most))
    wrong = np.flatnonzero((means < least - slack) | (means > most + slack))
    if wrong.size:
        yield f"map_mean of {named(table, int(wrong[0]))} is not the mean of its map's histogram"
