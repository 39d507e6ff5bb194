"""The tables of held-out images against record.json, the support and the test split."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from adbench.data.items import CLASSES, SPLITS
from adbench.metrics.keys import to_keys, upper_edges
from adbench.records.record import Record
from adbench.statistics.patients import group
from adbench.statistics.thresholds import pixel_thresholds
from adbench.system.text import brief, printable
from adbench.verify.standing import learned


def check_held_out(record: Record, table: pd.DataFrame | None, pixels: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield a sentence where held-out images are not those that record.json counts, or their pixels not theirs.

    table, pixels: held_out.parquet and held_out_pixels.parquet, None where record.json names none.
    """
    content = record.content
    if (head := content.get("held_out")) is None:
        return
    asked = content["resolved"].get("operating", "valid")
    if (head["source"] == "none") != (head["images"] == 0) or head["source"] not in ("none", asked):
        yield (
            f"held_out.source is {brief(head['source'])} with {head['images']} images, and resolved.operating is "
            f"{brief(asked)}"
        )
    if head["images"] and content["capability"].get("transductive"):
        yield "held_out counts images, and a transductive method has none"
    if table is None:
        return
    yield from _check_counts(head, table)
    yield from _check_names(head, table)
    maps = content["capability"]["maps"]
    if "map_max" not in table or (table["map_max"].isna() if maps else table["map_max"].notna()).any():
        yield f"held_out.parquet {'lacks' if maps else 'has'} values of map_max, and capability.maps is {_json(maps)}"
    elif (pixels is None) == bool(maps and head["normal"]):
        yield (
            f"held_out.shift is {_json(head['shift'])}, and {head['normal']} normal images were scored "
            f"{'with' if maps else 'without'} maps"
        )
    elif pixels is not None:
        yield from _check_pixels(content, table, pixels)


def _json(value: Any) -> str:
    return "null" if value is None else str(value).lower()


def _check_counts(head: Mapping[str, Any], table: pd.DataFrame) -> Iterator[str]:
    labels = table["label"].to_numpy()
    found = {
        "normal": int((labels == 0).sum()), "abnormal": int((labels == 1).sum()),
        "patients": len(np.unique(group(table["patient"]))) if "patient" in table else len(table),
    }  # fmt: skip
    for name, many in found.items():
        if many != head[name]:
            yield f"held_out.{name} is {head[name]}, and held_out.parquet has {many}"


def _check_names(head: Mapping[str, Any], table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for the first image whose name tells another class or split."""
    said = str(head["split"]).partition(" split")[0].removeprefix("the ").split(" and ")
    for name, label in zip(table["image"], table["label"], strict=True):
        parts = str(name).split("/")
        if len(parts) < 3 or parts[0] not in SPLITS or parts[1] not in CLASSES:
            continue
        if parts[1] != CLASSES[label]:
            yield f"held_out.parquet calls {printable(str(name))} {CLASSES[label]}, and its name says otherwise"
            return
        if parts[0] not in said or (head["source"] == "valid" and parts[0] == "test"):
            yield f"held_out.parquet names {printable(str(name))}, and held_out.split is {brief(head['split'])}"
            return


def _check_pixels(content: Mapping[str, Any], table: pd.DataFrame, pixels: Mapping[str, Any]) -> Iterator[str]:
    head, size = content["held_out"], content["facts"].get("eval_size")
    normal = table.loc[table["label"] == 0, "map_max"].to_numpy(np.float32)
    counted = int(pixels["pixels"].sum())
    if size is not None and counted != len(normal) * size * size:
        yield (
            f"held_out_pixels.parquet counts {counted:,} pixels, and {len(normal)} maps of {size} x {size} have others"
        )
    if len(normal) and int(to_keys(normal.max(keepdims=True))[0]) >> head["shift"] != int(pixels["bin"][-1]):
        yield "the highest bin of held_out_pixels.parquet is not that of the largest map_max of held_out.parquet"


def check_apart(record: Record, table: pd.DataFrame, predictions: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence where a held-out image was learned from or tested, or its patient was tested.

    With operating=support_cv the held-out images are the support's, whose leaks `overlap` counts.
    """
    content = record.content
    support = {name for dataset, *_, name in learned(content) if dataset == content["facts"]["dataset"]}
    leaks = _shared(table, "image", set(predictions["image"]))
    by_patient = _shared(table, "patient", set(predictions["patient"].dropna()) if "patient" in predictions else set())
    if content["held_out"]["source"] == "support_cv":
        if set(table["image"]) != support:
            yield "held_out.parquet names other images than support, and operating=support_cv holds out those"
        many = int((leaks | by_patient).sum())
        if many > content["overlap"]:
            yield (
                f"overlap is {content['overlap']}, and {many} held-out images of the support are test images or of "
                "their patients: a leak cannot stand as clean"
            )
        return
    learned_from = _shared(table, "image", support)
    for found, column, said in (
        (leaks, "image", "is held out and tested"),
        (learned_from, "image", "is held out and in the support"),
        (by_patient, "patient", "is a patient of held-out images and of test images"),
    ):
        if found.any():
            yield f"{printable(str(table[column][found].iloc[0]))} {said} (one of {int(found.sum())} held-out images)"


def _shared(table: pd.DataFrame, column: str, others: Collection[object]) -> pd.Series:
    found = table[column] if column in table else pd.Series([None] * len(table), table.index, dtype=object)
    return found.notna() & (found != "").fillna(False) & found.isin(list(others))


def thresholds_of(record: Record, table: pd.DataFrame | None, pixels: Mapping[str, Any] | None) -> dict[float, float]:
    """Return the map thresholds that held-out normal images give, by specificity; none without them or maps."""
    if table is None or pixels is None or "patient" not in table:
        return {}
    upper = upper_edges(pixels["bin"], record.content["held_out"]["shift"]).astype(np.float64)
    return pixel_thresholds(upper, pixels["pixels"], group(table.loc[table["label"] == 0, "patient"]))
