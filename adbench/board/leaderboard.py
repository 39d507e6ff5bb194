"""A leaderboard is a view over records: it never runs a model. How it is written: render.py."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from adbench.board.variants import variants
from adbench.config import groups
from adbench.data.fingerprint import digest
from adbench.errors import AdbenchError, FailedCellError, RecordError, did_you_mean
from adbench.records.record import Record, places, read, uncollected

ROW = ["data", "standing", "method", "variant", "backbone", "schedule", "protocol", "train_on", "shots", "selection"]
# What sets records apart from honest ones.
MARKS = {
    "oracle": "epoch chosen on the test split (a leak)",
    "overlap": "test images or patients among the training data (a leak)",
    "transductive": "scores that depend on the other test images",
    "as published": "epoch chosen as published, mostly on the test split",
}
FIGURES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")
UNITS = {
    "fit_seconds": "s", "images_per_second": "images/s", "peak_gb": "GB", "gflops_per_image": "GFLOP",
    "trainable_parameters": "parameters",
}  # fmt: skip
COSTS = tuple(UNITS)
AGREE = 0.01  # points of a per cent, the last decimal that is printed: two machines differ in the last bits


class Collected(NamedTuple):
    """The records of some folders, one per cell, and a sentence on each record or cell that is left out."""

    records: list[Record]
    left_out: list[str]


@uncollected()
def collect(folders: Sequence[Path]) -> Collected:
    """Read the records of several folders; failed cells are passed over.

    What can't be read is left out. Of a cell found twice the first folder's record stands where all figures are less
    than `AGREE` apart; otherwise the cell is left out. Raises RecordError where there is no folder or no record.
    """
    found: dict[str, Record] = {}
    wrong: dict[str, str] = {}
    damaged: list[str] = []
    for record in _readable([path for folder in folders for path in places(folder)], damaged):
        other = found.setdefault(record.key, record)
        if other is not record and (differ := _differ(figures(other), figures(record))):
            said = f"{other.path} and {record.path} are records of one cell with different figures: {differ}. Keep one."
            wrong.setdefault(record.key, said)
    if not found and not damaged:
        raise RecordError(f"no record in {', '.join(map(str, folders))}. `adbench run` makes one.")
    return Collected([one for key, one in found.items() if key not in wrong], [*damaged, *wrong.values()])


def _readable(paths: Iterable[Path], damaged: list[str]) -> Iterator[Record]:
    """Yield the records that can be read, and add to `damaged` what is wrong with the others."""
    for path in paths:
        try:
            record = read(path)
            _head(record), figures(record)
        except FailedCellError:
            continue
        except RecordError as error:
            damaged.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            damaged.append(f"{path / 'record.json'} is damaged ({what}). Remove {path} and run its cell again.")
        else:
            yield record


def _differ(one: dict[str, float], other: dict[str, float]) -> str:
    """Say in which figures two records differ as printed, or nothing."""
    told = []
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name), other.get(name)
        if a is None or b is None or abs(a - b) >= AGREE:
            told.append(f"{name} {' and '.join('missing' if v is None else f'{v:.2f}' for v in (a, b))}")
    return ", ".join(told)


def matching(kind: str, text: str, names: Iterable[str]) -> set[str]:
    """Return which of some names are meant by names, groups and wildcards with commas between.

    Raises AdbenchError where one of the words means none of them.

    >>> sorted(matching("dataset", "bmad_masked,mvtec/*", ["busi", "mvtec/cable", "resc"]))
    ['mvtec/cable', 'resc']
    """
    known, meant = set(names), set()
    for word in text.split(","):
        own = groups.groups().get(word, {}).get(kind, [word])
        found = {name for name in known if any(fnmatch.fnmatchcase(name, one) for one in own)}
        if not found:
            raise AdbenchError(f"--{kind} {word} fits no record: {did_you_mean(word, known)}")
        meant |= found
    return meant


def choose(records: Sequence[Record], method: str | None = None, dataset: str | None = None) -> list[Record]:
    """Keep the records of some methods and of some datasets, as `matching` reads them; `mvtec/bottle` is a category."""
    kept = list(records)
    for kind, text, name in (("method", method, _method), ("dataset", dataset, _dataset)):
        if text is not None:
            meant = matching(kind, text, map(name, kept))
            kept = [record for record in kept if name(record) in meant]
    return kept


def figures(record: Record) -> dict[str, float]:
    """Return a record's figures in per cent.

    Where the epoch was chosen on the test split also those of the last epoch, `image_auroc_last`, and what was gained
    by the choice, `image_auroc_leak`.
    """
    found = {name: 100 * value for name in FIGURES if (value := record.metrics.get(name)) is not None}
    last = (record.content.get("selection") or {}).get("last") or {}
    for name in [name for name in found if last.get(name) is not None]:
        found |= {f"{name}_last": 100 * last[name], f"{name}_leak": found[name] - 100 * last[name]}
    return found


def with_leaks(names: Sequence[str]) -> list[str]:
    """Return metrics, each followed by the two that oracle records have of it.

    >>> with_leaks(["image_auroc"])
    ['image_auroc', 'image_auroc_last', 'image_auroc_leak']
    """
    return [f"{name}{end}" for name in names for end in ("", "_last", "_leak")]


def unit(metric: str) -> str:
    """Return the unit of a figure or cost.

    >>> unit("pixel_ap"), unit("pixel_ap_leak"), unit("peak_gb")
    ('per cent', 'points', 'GB')
    """
    return UNITS.get(metric, "points" if metric.endswith("_leak") else "per cent")


def table(records: Sequence[Record], costs: bool = False) -> pd.DataFrame:
    """Aggregate draws and seeds: one line per (row keys, dataset, metric) with mean, std and n.

    Metrics are in per cent; costs, which depend on the machine, only where asked for, in the unit of their name.
    Records are averaged only where nothing but the draw and the seed differs. What else was set, and a support list,
    stand in `variant`; two contents of one dataset stand apart as `name@hash`. Behind them stand `unit`, `half_width`,
    the largest of the averaged figures (0: exact; NaN for costs, and for the last epoch of an oracle, of which records
    don't hold it), and `draws`, draw and seed of each record: `0/0 1/0`.
    """
    whole = lines(records)
    draws: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for record, line in zip(records, whole, strict=True):
        draws.setdefault(tuple(line.values()), []).append(_draw(record))
    texts = {key: " ".join(f"{'-' if d < 0 else d}/{s}" for d, s in sorted(own)) for key, own in draws.items()}
    rows = []
    for record, line in zip(records, whole, strict=True):
        told = figures(record) | (_costs(record) if costs else {})
        halves = dict.fromkeys(FIGURES, 0.0) | (record.content.get("half_widths") or {})
        line = line | {"draws": texts[tuple(line.values())]}
        for metric, value in told.items():
            half = 100 * halves.get(metric, float("nan"))
            rows.append(line | {"metric": metric, "value": value, "half_width": half})
    grouped = pd.DataFrame(rows).groupby([*ROW, "dataset", "metric"], dropna=False)
    long = grouped["value"].agg(["mean", "std", "count"]).rename(columns={"count": "n"}).reset_index()
    long["unit"] = long["metric"].map(unit)
    more = grouped.agg(half_width=("half_width", "max"), draws=("draws", "first"))
    return long.merge(more.reset_index(), on=[*ROW, "dataset", "metric"])


def _draw(record: Record) -> tuple[int, int]:
    """Return draw, -1 without one, and seed."""
    kind, _, number = str(record.content["support"]["source"]).partition(":")
    return int(number) if kind == "draw" else -1, int(record.content["facts"]["seed"])


def lines(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return for each record the keys of its row, as in `ROW`, and its column's `dataset`."""
    heads = [_head(record) for record in records]
    hashes = [_content(record) for record in records]
    contents: dict[tuple[str, str], set[str]] = {}
    for record, content in zip(records, hashes, strict=True):  # phantom and real data share no table
        contents.setdefault((record.content["data"], _dataset(record)), set()).add(content)
    told = variants(records, heads, _lists(records, heads, hashes))
    found = []
    for record, head, content, (schedule, variant) in zip(records, heads, hashes, told, strict=True):
        name = _dataset(record)
        dataset = name if len(contents[head["data"], name]) == 1 else f"{name}@{content[:6]}"
        found.append(head | {"schedule": schedule, "variant": variant, "dataset": dataset})
    return found


def plain(dataset: str) -> str:
    """Return a column's dataset without the hash that tells two contents apart.

    >>> plain("brainmri@0f3a9c"), plain("brainmri")
    ('brainmri', 'brainmri')
    """
    return re.sub("@[0-9a-f]{6}$", "", dataset)


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
    head |= {"method": _method(record), "data": content["data"]}
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


def _method(record: Record) -> str:
    return str(record.content["facts"]["method"])


def _dataset(record: Record) -> str:
    """Return the tested dataset, and of one with categories the category: `mvtec/bottle`."""
    category = record.content.get("dataset", {}).get("category")
    name = str(record.content["facts"]["dataset"])
    return f"{name}/{category}" if category and category != "all" else name


def _content(record: Record) -> str:
    facts = record.content["facts"]
    return digest(json.dumps([facts["data"], facts["dataset_facets"]], sort_keys=True))


def _lists(records: Sequence[Record], heads: Sequence[dict[str, str]], hashes: Sequence[str]) -> list[str]:
    """Return for each record the name of its support list, with a hash where two of one row and dataset share it.

    Nothing where the support is a draw.
    """
    sources = [str(record.content["support"]["source"]).partition(":") for record in records]
    names = [name if kind == "list" else "" for kind, _, name in sources]
    supports = [str(record.content["facts"]["support"])[:6] for record in records]
    keys = [(name, content, *head.values()) for name, content, head in zip(names, hashes, heads, strict=True)]
    lists: dict[tuple[str, ...], set[str]] = {}
    for key, support in zip(keys, supports, strict=True):
        lists.setdefault(key, set()).add(support)
    return [
        f"{name}@{support}" if name and len(lists[key]) > 1 else name
        for name, support, key in zip(names, supports, keys, strict=True)
    ]
