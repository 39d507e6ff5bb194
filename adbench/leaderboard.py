"""A leaderboard is a view over records: it never runs a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adbench.data.fingerprint import digest
from adbench.errors import RecordError
from adbench.record import Record, read_all

ROW = ["data", "method", "variant", "backbone", "schedule", "protocol", "shots", "selection"]
# Facts that tell draws, seeds and datasets apart, not methods.
APART = ("support", "seed", "dataset", "data", "dataset_facets")
HEADLINE = ("image_auroc", "pixel_auroc")
FIGURES = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")


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


def table(records: Sequence[Record]) -> pd.DataFrame:
    """Aggregate draws and seeds: one line per (row keys, dataset, metric) with mean, std and n, in per cent.

    Records are averaged only where nothing but support and seed differs. What else differs between rows of one name
    stands in `variant`; two contents of one dataset stand apart as `name@hash`.
    """
    settings = [setting(record) for record in records]
    heads = [_head(record) for record in records]
    variants = _variants(heads, settings)
    contents: dict[str, set[str]] = {}
    for record in records:
        contents.setdefault(record.content["facts"]["dataset"], set()).add(_content(record))
    rows = []
    for record, head, variant in zip(records, heads, variants, strict=True):
        name = record.content["facts"]["dataset"]
        dataset = name if len(contents[name]) == 1 else f"{name}@{_content(record)[:6]}"
        figures = ((metric, record.metrics.get(metric)) for metric in FIGURES)
        whole = head | {"variant": variant, "dataset": dataset}
        rows += [whole | {"metric": metric, "value": 100 * value} for metric, value in figures if value is not None]
    grouped = pd.DataFrame(rows).groupby([*ROW, "dataset", "metric"], dropna=False)["value"]
    return grouped.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n"})


def setting(record: Record) -> dict[str, str]:
    """Return what a record's cell is made of, flat, without support, seed and dataset."""
    facts = {k: v for k, v in record.content["facts"].items() if k not in APART}
    flat = pd.json_normalize(facts, sep=".").iloc[0]
    return {str(key): str(value) for key, value in flat.items()}


def _head(record: Record) -> dict[str, Any]:
    resolved = record.content["resolved"]
    head = {key: resolved[key] for key in ("method", "backbone", "schedule", "selection")}
    shots = record.content["support"]["shots"]
    return head | {"data": record.content["data"], "protocol": record.content["protocol"], "shots": shots}


def _content(record: Record) -> str:
    facts = record.content["facts"]
    return digest(json.dumps([facts["data"], facts["dataset_facets"]], sort_keys=True))


def _variants(heads: Sequence[dict[str, Any]], settings: Sequence[dict[str, str]]) -> list[str]:
    """Return for each record the settings in which the records of its row name differ, as `key=value` words."""
    groups: dict[str, list[int]] = {}
    for i, head in enumerate(heads):
        groups.setdefault(json.dumps(head, sort_keys=True), []).append(i)
    texts = [""] * len(heads)
    for members in groups.values():
        keys = sorted({key for i in members for key in settings[i]})
        for i in members:
            differ = [key for key in keys if len({settings[j].get(key) for j in members}) > 1]
            words = [f"{key.removeprefix('params.')}={_short(settings[i].get(key, 'none'))}" for key in differ]
            if settings[i]["weights"].startswith("random") and "weights" not in differ:
                words.append("weights=random")
            texts[i] = " ".join(words)
    return texts


def _short(text: str) -> str:
    if text.startswith("random-"):
        return "random"
    return text if len(text) <= 24 else digest(text)[:6]


def parts(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Yield (title, header, rows) for phantom and for real data: figures never stand in one table.

    What all rows share goes into the title; figures read `mean ± std (n)`, best first column on top.
    """
    for data, part in long[long["metric"].isin(figures)].groupby("data", sort=True):
        cells = part.assign(
            column=part["dataset"] + " " + part["metric"].str.replace("_", " "),
            text=[_cell(m, s, n) for m, s, n in zip(part["mean"], part["std"], part["n"], strict=True)],
        )
        names = [f"{d} {m.replace('_', ' ')}" for d in sorted(set(part["dataset"])) for m in figures]
        names = [name for name in names if name in set(cells["column"])]
        keys = [key for key in ROW if key != "data" and (part[key].nunique() > 1 or key == "method")]
        shared = [f"{key} {part[key].iloc[0]}" for key in ROW if key not in (*keys, "data") and str(part[key].iloc[0])]
        laid = cells.pivot(index=keys, columns="column", values="text").reindex(columns=names).fillna("missing")
        value = cells[cells["column"] == names[0]].set_index(keys)["mean"]
        laid = laid.loc[value.reindex(laid.index).sort_values(ascending=False, kind="stable").index].reset_index()
        title = f"{str(data).capitalize()} data; per cent; {', '.join(shared)}"
        yield title, [*keys, *names], [[str(v) for v in row] for row in laid.itertuples(index=False)]


def _cell(mean: float, std: float, n: int) -> str:
    return f"{mean:.2f}" if n == 1 else f"{mean:.2f} ± {std:.2f} ({n})"


def to_csv(long: pd.DataFrame) -> str:
    """Return the aggregated table as CSV, one line per figure, per cent with two decimals."""
    return str(long.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def to_markdown(long: pd.DataFrame) -> str:
    """Return one Markdown table for phantom and one for real data; figures in per cent, mean ± std (n)."""
    tables = []
    for title, header, rows in parts(long):
        lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
        tables.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(tables)
