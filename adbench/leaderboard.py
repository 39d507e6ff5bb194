"""A leaderboard is a view over records: it never runs a model. How it is written: render.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adbench.data.fingerprint import digest
from adbench.errors import RecordError
from adbench.record import Record, read_all

ROW = ["data", "standing", "method", "variant", "backbone", "schedule", "protocol", "train_on", "shots", "selection"]
# Facts that tell draws, seeds and datasets apart, not methods.
APART = ("support", "seed", "dataset", "data", "dataset_facets", "sources")
# What sets records apart from honest ones.
MARKS = {
    "oracle": "epoch chosen on the test split (a leak)",
    "overlap": "test images or patients among the training data (a leak)",
    "transductive": "scores that depend on the other test images",
}
FIGURES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")
COSTS = ("fit_seconds", "images_per_second", "peak_gb", "gflops_per_image", "trainable_parameters")


def collect(folders: Sequence[Path]) -> list[Record]:
    """Read the records of several folders; one cell found twice counts once, if both agree."""
    found: dict[str, Record] = {}
    for record in (record for folder in folders for record in read_all(folder)):
        other = found.setdefault(record.key, record)
        if other.metrics != record.metrics:
            raise RecordError(
                f"{other.path} and {record.path} are records of one cell with different figures. Keep one of them."
            )
    if not found:
        raise RecordError(f"no record in {', '.join(map(str, folders))}. `adbench run` makes one.")
    return list(found.values())


def table(records: Sequence[Record], costs: bool = False) -> pd.DataFrame:
    """Aggregate draws and seeds: one line per (row keys, dataset, metric) with mean, std and n.

    Metrics are in per cent; costs, which depend on the machine, only where asked for, in the unit of their name.
    Records are averaged only where nothing but support and seed differs. What else differs between rows of one name
    stands in `variant`; two contents of one dataset stand apart as `name@hash`.
    """
    rows = []
    for record, whole in zip(records, lines(records), strict=True):
        figures = {m: 100 * v for m in FIGURES if (v := record.metrics.get(m)) is not None}
        rows += [whole | {"metric": m, "value": v} for m, v in (figures | (_costs(record) if costs else {})).items()]
    grouped = pd.DataFrame(rows).groupby([*ROW, "dataset", "metric"], dropna=False)["value"]
    return grouped.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n"})


def lines(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return for each record the keys of its row, as in `ROW`, and its column's `dataset`."""
    settings = [setting(record) for record in records]
    heads = [_head(record) for record in records]
    contents: dict[tuple[str, str], set[str]] = {}
    for record in records:  # phantom and real data share no table: each has a name to itself
        contents.setdefault((record.content["data"], _dataset(record)), set()).add(_content(record))
    found = []
    for record, head, variant in zip(records, heads, _variants(heads, settings), strict=True):
        name = _dataset(record)
        dataset = name if len(contents[head["data"], name]) == 1 else f"{name}@{_content(record)[:6]}"
        found.append(head | {"variant": variant, "dataset": dataset})
    return found


def setting(record: Record) -> dict[str, str]:
    """Return what a record's cell is made of, flat, without support, seed and dataset."""
    return dict(flat({k: v for k, v in record.content["facts"].items() if k not in APART}))


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of nested mappings.

    >>> list(flat({"a": {"b": 1}, "c": {}}))
    [('a.b', '1'), ('c', '{}')]
    """
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def _standing(record: Record) -> str:
    """Return why a record may not be compared with honest ones: keys of `MARKS` joined by " and ", or "clean"."""
    content = record.content
    marks = {
        "oracle": content["resolved"]["selection"] == "oracle",
        "overlap": content["overlap"] > 0,
        "transductive": content.get("capability", {}).get("transductive", False),
    }
    return " and ".join(name for name, marked in marks.items() if marked) or "clean"


def meaning(standing: str) -> str:
    """Say in words what a standing other than "clean" means, and nothing for that.

    >>> meaning("oracle and transductive")
    'epoch chosen on the test split (a leak); scores that depend on the other test images'
    """
    return "; ".join(MARKS[name] for name in standing.split(" and ") if name != "clean")


def _head(record: Record) -> dict[str, str]:
    content = record.content
    head: dict[str, str] = {key: content["resolved"][key] for key in ("backbone", "schedule", "selection")}
    head |= {"method": content["facts"]["method"], "data": content["data"]}
    head |= {"standing": _standing(record), "protocol": content["protocol"]}
    return head | {"shots": str(content["support"]["shots"]), "train_on": content["facts"].get("train_on") or ""}


def _costs(record: Record) -> dict[str, float]:
    content = record.content
    memory = content["peak_memory"]
    return {
        "fit_seconds": content["seconds"]["fit"],
        "images_per_second": content["images_per_second"],
        "peak_gb": (memory.get("device_bytes") or memory["host_bytes"]) / 1e9,
        "gflops_per_image": content["gflops_per_image"],
        "trainable_parameters": content["parameters"]["trainable"],
    }


def _dataset(record: Record) -> str:
    """Return the tested dataset, and of one with categories the category: `mvtec/bottle`."""
    category = record.content.get("dataset", {}).get("category")
    name = str(record.content["facts"]["dataset"])
    return f"{name}/{category}" if category and category != "all" else name


def _content(record: Record) -> str:
    facts = record.content["facts"]
    return digest(json.dumps([facts["data"], facts["dataset_facets"]], sort_keys=True))


def _variants(heads: Sequence[dict[str, str]], settings: Sequence[dict[str, str]]) -> list[str]:
    """Return for each record the settings in which the records of its row name differ, as `key=value` words."""
    groups: dict[str, list[int]] = {}
    for i, head in enumerate(heads):
        groups.setdefault(json.dumps(head, sort_keys=True), []).append(i)
    texts = [""] * len(heads)
    for members in groups.values():
        keys = sorted({key for i in members for key in settings[i]})
        differ = [key for key in keys if len({settings[j].get(key) for j in members}) > 1]
        for i in members:
            words = [f"{key.removeprefix('params.')}={_short(settings[i].get(key, 'none'))}" for key in differ]
            if settings[i]["weights"].startswith("random") and "weights" not in differ:
                words.append("weights=random")
            texts[i] = " ".join(words)
    return texts


def _short(text: str) -> str:
    if text.startswith("random-"):
        return "random"
    return text if len(text) <= 24 else digest(text)[:6]
