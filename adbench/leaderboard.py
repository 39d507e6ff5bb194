"""A leaderboard is a view over records: it never runs a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from adbench.errors import RecordError
from adbench.record import Record, read_all

ROW = ["data", "method", "variant", "backbone", "schedule", "protocol", "shots", "selection"]
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
    """Aggregate draws and seeds: one row per (row keys, dataset, metric) with mean, std and n, in per cent."""
    rows = []
    for record in records:
        resolved = record.content["resolved"]
        head = {
            "data": record.content["data"],
            "method": resolved["method"],
            "variant": variant(resolved["overrides"]),
            "backbone": resolved["backbone"],
            "schedule": resolved["schedule"],
            "protocol": record.content["protocol"],
            "shots": record.content["support"]["shots"],
            "selection": resolved["selection"],
            "dataset": resolved["dataset"],
        }
        figures = ((name, record.metrics.get(name)) for name in FIGURES)
        rows += [head | {"metric": name, "value": 100 * value} for name, value in figures if value is not None]
    long = pd.DataFrame(rows)
    grouped = (
        long.groupby([*ROW, "dataset", "metric"], dropna=False)["value"].agg(["mean", "std", "count"]).reset_index()
    )
    return grouped.rename(columns={"count": "n"})


def variant(overrides: dict[str, dict[str, object]]) -> str:
    """Return what a user changed beyond the row's keys, as it was typed: `backbone.weights=random`."""
    placement = ("trainer.devices", "trainer.strategy", "trainer.num_nodes", "trainer.accelerator")
    words = {f"{section}.{key}": value for section, keys in overrides.items() for key, value in keys.items()}
    return " ".join(f"{key}={value}" for key, value in sorted(words.items()) if key not in placement)


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
