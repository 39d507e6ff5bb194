"""The tables of lesions and of false positives against predictions, histograms and masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from adbench.metrics.keys import to_keys
from adbench.metrics.per_image import Contributions
from adbench.records.record import Record
from adbench.verify.finding import named

LOSSLESS = 2  # of the fact mask_reading: no lesion is lost where a mask is shrunk


def check_areas(record: Record, table: pd.DataFrame, parts: Contributions | None) -> Iterator[str]:
    """Yield a sentence where `lesion_area`, the histograms of single images and `masks` count other abnormal pixels."""
    content, labels = record.content, table["label"].to_numpy()
    areas = table["lesion_area"].to_numpy(np.int64) if "lesion_area" in table else None
    inside = None if parts is None else np.bincount(parts.image, parts.positive, len(table)).astype(np.int64)
    if areas is not None and not content["dataset"]["masks"]:
        yield "predictions.parquet has a column lesion_area, and its dataset has no masks"
    elif areas is None and content["dataset"]["masks"] and content.get("lesions") is not None:
        yield "predictions.parquet has no column lesion_area, and its dataset has masks"
    if areas is not None and inside is not None and (odd := np.flatnonzero(areas != inside)).size:
        at = int(odd[0])
        yield (
            f"lesion_area of {named(table, at)} is {areas[at]:,}, and image_histograms.parquet counts {inside[at]:,} "
            "abnormal pixels"
        )
    found = areas if areas is not None else inside
    size = content["facts"].get("eval_size")
    if found is None or not content["dataset"]["masks"]:
        return
    if (odd := np.flatnonzero((found > 0) & (labels == 0))).size:
        yield f"{named(table, int(odd[0]))} is normal, and its lesion_area is {found[odd[0]]:,}"
    if size is not None and (odd := np.flatnonzero(found > size * size)).size:
        yield f"lesion_area of {named(table, int(odd[0]))} is {found[odd[0]]:,}, and its map has {size * size:,} pixels"
    empty = np.flatnonzero((found == 0) & (labels == 1))
    lossless = content["facts"]["dataset_facets"].get("mask_reading", 0) >= LOSSLESS
    if empty.size and lossless and content["dataset"].get("empty_masks", "allow") != "allow":
        yield f"{named(table, int(empty[0]))} is abnormal without an abnormal pixel, and dataset.empty_masks is error"
    yield from _check_masks(content, labels)


def _check_masks(content: Mapping[str, Any], labels: Any) -> Iterator[str]:
    """Yield a sentence where `masks` counts fewer masks than abnormal images, which all have one, or too many."""
    if (masks := content.get("masks")) is None:
        if "masks" in content:
            yield "masks is null, and its dataset has masks"
        return
    abnormal, images = int((labels == 1).sum()), masks.get("images", 0)
    if not abnormal <= images <= len(labels):
        yield f"masks.images is {images}, and {abnormal} of {len(labels)} test images are abnormal: each has a mask"
    kept, by_image = masks.get("kept_regions", 0), masks.get("images_with_kept_regions", 0)
    if by_image > min(kept, abnormal) or (kept > 0) != (by_image > 0):
        yield f"masks.kept_regions is {kept}, and masks.images_with_kept_regions {by_image}"


def check_lesions(
    record: Record, lesions: pd.DataFrame, table: pd.DataFrame, parts: Contributions | None
) -> Iterator[str]:
    """Yield a sentence where lesions are others than the masks have, or score what their maps do not hold."""
    image, area = lesions["image"].to_numpy(np.int64), lesions["area"].to_numpy(np.int64)
    score, images = lesions["score"].to_numpy(np.float32), len(table)
    stated = record.content["histogram"]["n_regions"] if record.content["histogram"] else 0
    if len(lesions) != stated:
        yield f"lesions.parquet has {len(lesions)} lesions, and histogram.n_regions is {stated}"
    if (odd := np.flatnonzero(table["label"].to_numpy()[image] == 0)).size:
        yield f"lesions.parquet has a lesion in {named(table, int(image[odd[0]]))}, which is normal"
    covered = np.bincount(image, area, images).astype(np.int64)
    if "lesion_area" in table and (odd := np.flatnonzero(covered != table["lesion_area"].to_numpy(np.int64))).size:
        at = int(odd[0])
        said = table["lesion_area"].iloc[at]
        yield f"the lesions of {named(table, at)} have {covered[at]:,} pixels, and its lesion_area is {said:,}"
    if "map_max" in table and (odd := np.flatnonzero(score > table["map_max"].to_numpy(np.float32)[image])).size:
        at = int(odd[0])
        yield f"a lesion of {named(table, int(image[at]))} has the score {score[at]:.6g}, above its image's map_max"
    if parts is not None:
        yield from _check_bins(lesions, table, parts)


def _check_bins(lesions: pd.DataFrame, table: pd.DataFrame, parts: Contributions) -> Iterator[str]:
    """Yield a sentence where an image has other lesions, or other highest abnormal pixels, than its histogram."""
    image, images = lesions["image"].to_numpy(np.int64), len(table)
    number = np.bincount(image, minlength=images)
    if (odd := np.flatnonzero(number != parts.regions)).size:
        at = int(odd[0])
        yield (
            f"lesions.parquet has {number[at]} lesions of {named(table, at)}, and image_histograms.parquet "
            f"{parts.regions[at]}"
        )
    keys = to_keys(lesions["score"].to_numpy(np.float32)).astype(np.int64) >> parts.shift
    holds = parts.positive > 0
    abnormal = _codes(parts.image[holds].astype(np.int64), parts.bin[holds].astype(np.int64))
    scored = _codes(image, keys)
    if (odd := np.flatnonzero(~np.isin(scored, abnormal))).size:
        at = int(odd[0])
        score = lesions["score"].iloc[at]
        yield (
            f"a lesion of {named(table, int(image[at]))} has the score {score:.6g}, where the histogram of its map has "
            "no abnormal pixel"
        )
        return
    highest, best = np.full(images, -(2**40)), np.full(images, -(2**40))
    np.maximum.at(highest, parts.image[holds], parts.bin[holds].astype(np.int64))
    np.maximum.at(best, image, keys)
    if (odd := np.flatnonzero(highest != best)).size:
        yield (
            f"the lesions of {named(table, int(odd[0]))} have another highest score than the abnormal pixels of its map"
        )


def _codes(image: Any, bins: Any) -> Any:
    """Return one number for each pair of an image and a bin."""
    return (image << 32) + bins + 2**31


def check_false_positives(
    record: Record, found: pd.DataFrame | None, thresholds: Mapping[float, float], table: pd.DataFrame,
    parts: Contributions | None,
) -> Iterator[str]:  # fmt: skip
    """Yield a sentence where false positives are not those of every test image at every threshold, or can't be.

    found: false_positives.parquet, None where record.json names none. thresholds: those that held-out normal pixels
        give, by specificity.
    """
    head = record.content["lesions"]
    if record.content.get("held_out") is not None and head["thresholds"] != len(thresholds):
        yield f"lesions.thresholds is {head['thresholds']}, and the held-out normal images give {len(thresholds)}"
        return
    if found is None:
        return
    images, many = len(table), head["thresholds"]
    if (found["image"].to_numpy() != np.repeat(np.arange(images), many)).any():
        yield "false_positives.parquet has not every test image at every threshold, in their order"
        return
    specificity, value = (
        found[name].to_numpy(np.float64).reshape(images, many) for name in ("specificity", "threshold")
    )
    if (specificity != specificity[0]).any() or (value != value[0]).any():
        yield "false_positives.parquet has other thresholds for one image than for another"
        return
    if (np.diff(specificity[0]) <= 0).any() or (np.diff(value[0]) < 0).any():
        yield "the thresholds of false_positives.parquet don't rise with their specificity"
    if thresholds and dict(zip(specificity[0].tolist(), value[0].tolist(), strict=True)) != dict(thresholds):
        yield (
            f"false_positives.parquet counts at the threshold {value[0, 0]:.9g}, and held-out normal pixels give "
            f"{next(iter(thresholds.values())):.9g}"
        )
    yield from _check_regions(found["regions"].to_numpy().reshape(images, many), value[0], table, parts)


def _check_regions(regions: Any, thresholds: Any, table: pd.DataFrame, parts: Contributions | None) -> Iterator[str]:
    """Yield a sentence for the first image with false positives that its map can't have, or without those it has."""
    if "map_max" not in table:
        return
    reached = table["map_max"].to_numpy(np.float64)[:, None] >= thresholds
    normal = table["label"].to_numpy()[:, None] == 0
    for odd, said in (
        ((regions > 0) & ~reached, "has false positives at a threshold above its map_max"),
        ((regions == 0) & reached & normal, "is normal without false positives at a threshold that its map reaches"),
    ):
        if odd.any():
            yield f"{named(table, int(np.flatnonzero(odd.any(axis=1))[0]))} {said}"
    if parts is None:
        return
    for column, key in enumerate(to_keys(thresholds.astype(np.float32)).astype(np.int64) >> parts.shift):
        above = np.bincount(parts.image, parts.negative * (parts.bin >= key), len(table))
        if (odd := np.flatnonzero(regions[:, column] > above)).size:
            at = int(odd[0])
            yield (
                f"{named(table, at)} has {regions[at, column]} false positives at {thresholds[column]:.6g}, and "
                f"{int(above[at])} normal pixels that reach it"
            )
            return
