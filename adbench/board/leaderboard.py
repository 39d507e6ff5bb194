"""Rows of a leaderboard: records are read, grouped by their settings, and averaged over draws, seeds and splits."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.stand_ins import marked
from adbench.board.variants import variants
from adbench.config import groups
from adbench.config.schema import cache_folder
from adbench.data.counts import differences
from adbench.data.fingerprint import digest
from adbench.errors import AdbenchError, RecordError, did_you_mean
from adbench.records.record import Record, places
from adbench.records.standing import standing
from adbench.system.garbage import uncollected
from adbench.system.text import printable
from adbench.verify.figures import LATER
from adbench.verify.memory import agreeing

MEAN = "mean of "  # prefix of the "dataset" of an average
ROW = ["data", "standing", "method", "variant", "backbone", "schedule", "protocol", "train_on", "shots", "selection"]
FIGURES = (
    "image_auroc", "image_ap", "image_f1_max", "image_accuracy", "pixel_auroc", "pixel_ap", "pixel_f1_max",
    "pixel_aupro", "pixel_aupro_05", "pixel_aupimo", "pixel_aupimo_loose",
)  # fmt: skip
UNITS = {
    "fit_seconds": "s", "images_per_second": "images/s", "peak_gb": "GB", "gflops_per_image": "GFLOP",
    "trainable_parameters": "parameters",
}  # fmt: skip
COSTS = tuple(UNITS)
FEW = 200  # records whose intervals are computed without being asked for
OPTION, KEYWORD = "--{} {}", "{}={}"  # how a command line and Python name the records of a leaderboard
TOLERANCE = 0.01  # percentage points, the last printed decimal: machines differ in the last bits


class Collected(NamedTuple):
    """The records of some folders, one per cell, and a sentence for each record or cell that is left out."""

    records: list[Record]
    left_out: list[str]


@uncollected()
def collect(folders: Sequence[Path], processes: int = 1) -> Collected:
    """Read the records of several folders; failed cells are passed over.

    Records that can't be read are left out, and so are those that don't agree with themselves: whose files have other
    hashes than the record keeps, or whose figures are not what its tables give (`verify.memory.agreeing`, in so many
    `processes`). Of two records of one cell the first folder's is kept where all figures differ by less than
    `TOLERANCE`; else neither. Raises RecordError where there is no folder or no record.
    """
    records: dict[str, Record] = {}
    conflicts: dict[str, str] = {}
    found, damaged = agreeing([path for folder in folders for path in places(folder)], cache_folder(), processes)
    for record in found:
        other = records.setdefault(record.key, record)
        if other is record or not (differ := differing(other, record)):
            continue
        message = f"{other.path} and {record.path} are records of one cell with different figures: {differ}."
        conflicts.setdefault(record.key, f"{message} Keep one.")
    if not records and not damaged:
        raise RecordError(f"no record in {', '.join(map(str, folders))}. `adbench run` makes one.")
    kept = [record for key, record in records.items() if key not in conflicts]
    return Collected(kept, [*damaged, *conflicts.values()])


def differing(first: Record, second: Record) -> str:
    """Return the figures in which two records of one cell differ, as text; empty where they agree.

    Figures within `TOLERANCE` agree, and so does one that an older adbench did not compute with any.
    """
    differences, mine, theirs = [], figures(first), figures(second)
    for name in dict.fromkeys([*mine, *theirs]):
        a, b = mine.get(name), theirs.get(name)
        if name in LATER and (a is None or b is None):
            continue
        if a is None or b is None or abs(a - b) >= TOLERANCE:
            differences.append(f"{name} {' and '.join('missing' if v is None else f'{v:.2f}' for v in (a, b))}")
    return ", ".join(differences)


def matching(kind: str, text: str, names: Iterable[str], option: str = OPTION) -> set[str]:
    """Return those of some names that a comma-separated list of names, groups and wildcards selects.

    Raises AdbenchError where a word of the list selects none; `option` is how the message writes what was given.

    >>> sorted(matching("dataset", "bmad_masked,mvtec/*", ["busi", "mvtec/cable", "resc"]))
    ['mvtec/cable', 'resc']
    """
    known, selected = set(names), set()
    for word in text.split(","):
        patterns = groups.groups().get(word, {}).get(kind, [word])
        matches = {name for name in known if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
        if not matches:
            raise AdbenchError(f"{option.format(kind, word)} matches no record: {did_you_mean(word, known)}")
        selected |= matches
    return selected


def choose(
    records: Sequence[Record],
    method: str | None = None,
    dataset: str | None = None,
    protocol: str | None = None,
    option: str = OPTION,
) -> list[Record]:
    """Keep the records of some methods, datasets and protocols, written as for `matching`.

    `mvtec/bottle` is a category.
    """
    kept = list(records)
    chosen = ("method", method, _method), ("dataset", dataset, _dataset), ("protocol", protocol, _protocol)
    for kind, text, name in chosen:
        if text is not None:
            selected = matching(kind, text, map(name, kept), option)
            kept = [record for record in kept if name(record) in selected]
    return kept


def figures(record: Record) -> dict[str, float]:
    """Return a record's figures in per cent.

    Where the epoch was chosen on the test split, the figures of the last epoch are added as `image_auroc_last`, and the
    gain of the choice as `image_auroc_leak`.
    """
    values = {name: 100 * value for name in FIGURES if (value := record.metrics.get(name)) is not None}
    last = (record.content.get("selection") or {}).get("last") or {}
    for name in [name for name in values if last.get(name) is not None]:
        values |= {f"{name}_last": 100 * last[name], f"{name}_leak": values[name] - 100 * last[name]}
    return values


def with_leaks(names: Sequence[str]) -> list[str]:
    """Return metrics, each followed by its last-epoch and leak variants, which only oracle records have.

    >>> with_leaks(["image_auroc"])
    ['image_auroc', 'image_auroc_last', 'image_auroc_leak']
    """
    return [f"{name}{end}" for name in names for end in ("", "_last", "_leak")]


def base_of(metric: str) -> str:
    """Return the metric that a last-epoch or leak variant is of.

    >>> base_of("image_auroc_leak"), base_of("image_auroc")
    ('image_auroc', 'image_auroc')
    """
    return metric.removesuffix("_last").removesuffix("_leak")


def unit(metric: str) -> str:
    """Return the unit of a figure or cost.

    >>> unit("pixel_ap"), unit("pixel_ap_leak"), unit("peak_gb")
    ('per cent', 'points', 'GB')
    """
    return UNITS.get(metric, "points" if metric.endswith("_leak") else "per cent")


def table(records: Sequence[Record], costs: bool = False) -> pd.DataFrame:
    """Average over draws, seeds, splits and folds: one row per (`ROW` keys, dataset, metric) with mean, std and n.

    Records are averaged only where nothing but the draw, the seed and adbench's split of the same images differs. The
    folds of a cross-validation are such splits: a figure is the mean of the folds' own figures, never one over their
    pooled scores, which come from as many models. Its dataset is called `name (5 folds)`.

    Other settings, and a support list, are in the column `variant`; two contents of one dataset are two datasets,
    `name@hash`, and a content that is not the published one always has its hash. Metrics are in per cent. Costs, which
    depend on the machine, are added where asked for, each in the unit of the column `unit`.

    Further columns: `half_width`, the largest computation error of the averaged figures (0: exact; NaN for costs, and
    for the last epoch of an oracle, for which records don't hold it), `draws`, draw and seed of each record:
    `0/0 1/0`, or with other splits than that of `split_seed=0` draw, seed and split seed, and with
    folds `0/0/0.4` for fold 4, `content`, which sets of the records are not the published ones, and `stand_in`, whether
    the backbone has only ever seen drawings.
    """
    heads = lines(records)
    draws: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for record, line in zip(records, heads, strict=True):
        draws.setdefault(tuple(line.values()), []).append(run_of(record))
    texts = {key: _runs(runs) for key, runs in draws.items()}
    rows = []
    for record, line, stand_in in zip(records, heads, marked(records), strict=True):
        values = figures(record) | (_costs(record) if costs else {})
        halves = dict.fromkeys(FIGURES, 0.0) | (record.content.get("half_widths") or {})
        about = {"draws": texts[tuple(line.values())], "content": unlike_published(record), "stand_in": stand_in}
        for metric, value in values.items():
            half = 100 * halves.get(metric, float("nan"))
            rows.append(line | about | {"metric": metric, "value": value, "half_width": half})
    grouped = pd.DataFrame(rows).groupby([*ROW, "dataset", "metric"], dropna=False)
    long = grouped["value"].agg(["mean", "std", "count"]).rename(columns={"count": "n"}).reset_index()
    long["unit"] = long["metric"].map(unit)
    more = grouped.agg(
        half_width=("half_width", "max"),
        draws=("draws", "first"),
        content=("content", "max"),
        stand_in=("stand_in", "max"),
    )
    return long.merge(more.reset_index(), on=[*ROW, "dataset", "metric"])


def run_of(record: Record) -> tuple[int, int, int, int]:
    """Return in which run of its row a record is: draw (-1: none), seed, split seed and fold (-1: no cross-validation).

    The split seed is 0 where the images have splits of their own.
    """
    kind, _, number = str(record.content["support"]["source"]).partition(":")
    split = record.splitting
    fold = split.get("fold")
    draw = int(number) if kind == "draw" else -1
    return draw, int(record.content["facts"]["seed"]), int(split.get("seed", 0)), -1 if fold is None else int(fold)


def _runs(runs: Sequence[tuple[int, ...]]) -> str:
    """Write the runs of a figure as `draw/seed`, with the split where one is not 0, and with folds.

    >>> _runs([(1, 0, 0, -1), (-1, 0, 0, -1)]), _runs([(0, 0, 1, -1), (0, 0, 0, -1)]), _runs([(0, 0, 0, 4)])
    ('-/0 1/0', '0/0/0 0/0/1', '0/0/0.4')
    """
    splits = any(split for _, _, split, _ in runs)
    texts = []
    for draw, seed, split, fold in sorted(runs):
        end = f"/{split}.{fold}" if fold >= 0 else f"/{split}" if splits else ""
        texts.append(f"{'-' if draw < 0 else draw}/{seed}{end}")
    return " ".join(texts)


def partial_folds(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each cross-validation of which a fold has no record; its figures are means of the others.

    One for each row, dataset, draw, seed and split seed.
    """
    have: dict[tuple[Any, ...], set[int]] = {}
    folded = any(run_of(record)[-1] >= 0 for record in records)
    for record, line in zip(records, lines(records), strict=True) if folded else ():
        *run, fold = run_of(record)
        if fold >= 0:
            folds = int(record.splitting["folds"])
            have.setdefault((*line.values(), folds, *run, line["method"], line["dataset"]), set()).add(fold)
    sentences = []
    for (*_, folds, draw, seed, split, method, dataset), found in have.items():
        if missing := sorted(set(range(folds)) - found):
            number = f"{'' if draw < 0 else f'draw {draw}, '}seed {seed}, split {split}"
            numbers = ", ".join(map(str, missing))
            absent = f"fold {numbers} has" if len(missing) == 1 else f"folds {numbers} have"
            means = f"its figures are means of {len(found)} of {folds} folds"
            sentences.append(f"{method} on {dataset}, {number}: {absent} no record; {means}")
    return sentences


def lines(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return for each record its row, by the keys of `ROW`, and its column, `dataset`."""
    heads = [_head(record) for record in records]
    hashes = [_content(record) for record in records]
    contents: dict[tuple[str, str], set[str]] = {}
    for record, content in zip(records, hashes, strict=True):  # phantom and real data share no table
        contents.setdefault((record.content["data"], _column(record)), set()).add(content)
    settings = variants(records, heads, _lists(records, heads, hashes))
    rows = []
    for record, head, content, (schedule, variant) in zip(records, heads, hashes, settings, strict=True):
        name = _column(record)
        alone = len(contents[head["data"], name]) == 1 and _about(record).get("published") is not False
        dataset = name if alone else f"{name}@{content[:6]}"
        rows.append(head | {"schedule": schedule, "variant": printable(variant), "dataset": dataset})
    return rows


def several_versions(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each row and dataset whose records were made by several versions of adbench."""
    made: dict[tuple[str, str, str], set[str]] = {}
    for record in records:
        version = str((record.content.get("code") or {}).get("version"))
        made.setdefault((_method(record), _dataset(record), _protocol(record)), set()).add(version)
    return [
        f"{method} on {dataset}, {protocol}: records of adbench {', '.join(sorted(versions))} stand side by side"
        for (method, dataset, protocol), versions in sorted(made.items())
        if len(versions) > 1
    ]


def unlike_published(record: Record) -> str:
    """Write which sets of a record, tested or learned from, are not the published ones; empty where none is known."""
    about, tested = _about(record), record.content["facts"]["dataset"]
    parts = []
    if about.get("published") is False:
        unlike = differences(about.get("expected") or {}, about.get("counts") or {})
        parts.append(f"not the published set: {unlike}")
    seen = record.content.get("seen") or ()
    others = {str(one.get("dataset")) for one in seen if one.get("published") is False} - {tested}
    parts += [f"learned from {name}, which is not the published set" for name in sorted(others)]
    return "; ".join(parts)


def _about(record: Record) -> dict[str, Any]:
    about = record.content.get("dataset")
    return about if isinstance(about, dict) else {}


def plain(dataset: str) -> str:
    """Return the name of a dataset without the hash that distinguishes two contents.

    >>> plain("brainmri@0f3a9c"), plain("brainmri")
    ('brainmri', 'brainmri')
    """
    return re.sub("@[0-9a-f]{6}$", "", dataset)


def _head(record: Record) -> dict[str, str]:
    content = record.content
    head: dict[str, str] = {key: content["resolved"][key] for key in ("schedule", "selection")}
    head |= {"backbone": record.backbone, "method": _method(record), "data": content["data"]}
    head |= {"standing": standing(record), "protocol": content["protocol"]}
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
    """Return the tested dataset, with its category where it has several: `mvtec/bottle`."""
    category = record.content.get("dataset", {}).get("category")
    name = str(record.content["facts"]["dataset"])
    return f"{name}/{category}" if category and category != "all" else name


def _protocol(record: Record) -> str:
    return str(record.content["protocol"])


def _column(record: Record) -> str:
    """Return the name of a record's column: its dataset, with the number of folds in a cross-validation."""
    folds = record.splitting.get("folds")
    return f"{_dataset(record)} ({folds} folds)" if folds else _dataset(record)


def _content(record: Record) -> str:
    """Return a hash of what is tested: the same for all splits that adbench makes of the same images in one way."""
    facts, split = record.content["facts"], record.splitting
    # Where support images leave the test split, other draws leave others.
    images = None if split or facts.get("abnormal_support") else record.content["test_images"]
    data = [split.get(key) for key in ("images", "shares", "folds")] if split else [facts["data"], images]
    return digest(json.dumps([data, facts["dataset_facets"]], sort_keys=True))


def _lists(records: Sequence[Record], heads: Sequence[dict[str, str]], hashes: Sequence[str]) -> list[str]:
    """Return for each record the name of its support list; empty where the support is a draw.

    Where two lists of one row and dataset have the same name, a hash is added.
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
