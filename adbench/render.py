"""How a leaderboard is written: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pandas as pd

from adbench.leaderboard import COSTS, FIGURES, ROW

HEADLINE = ("image_auroc", "pixel_auroc")
STANDING = {
    "clean": "",
    "oracle": ", epoch chosen on the test split (a leak)",
    "overlap": ", test images or patients among the training data (a leak)",
    "oracle and overlap": ", epoch chosen on the test split, whose images or patients were trained on (two leaks)",
}
Part = tuple[str, list[str], list[list[str]]]


def parts(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[Part]:
    """Yield (title, header, rows): phantom, real and published figures never share a table, nor clean and marked rows.

    What all rows share goes into the title; figures read `mean ± std (n)`, best average of the first metric on top.
    `mean of N` is the average over all N datasets of the table that have the metric, missing where one of them is.
    """
    for (data, standing), part in long[long["metric"].isin(figures)].groupby(["data", "standing"], sort=True):
        own = [key for key in ROW if key not in ("data", "standing")]
        keys = [key for key in own if part[key].nunique() > 1 or key == "method"]
        shared = [f"{key} {part[key].iloc[0]}" for key in own if key not in keys and str(part[key].iloc[0])]
        rows = part[keys].drop_duplicates().reset_index(drop=True)
        columns: dict[str, pd.Series[str]] = {}
        order = pd.Series(0.0, index=rows.index)
        for metric in (m for m in figures if m in set(part["metric"])):
            datasets = sorted(set(part.loc[part["metric"] == metric, "dataset"]))
            means = []
            for dataset in datasets:
                chosen = part[(part["metric"] == metric) & (part["dataset"] == dataset)]
                found = rows.merge(chosen, on=keys, how="left")
                columns[f"{dataset} {metric.replace('_', ' ')}"] = found.apply(_cell, axis=1)
                means.append(found["mean"])
            whole = pd.concat(means, axis=1)
            if len(datasets) > 1 and metric not in COSTS:
                average = whole.mean(axis=1, skipna=False).map(_figure)
                columns[f"mean of {len(datasets)} {metric.replace('_', ' ')}"] = average
            if metric == figures[0]:
                order = whole.mean(axis=1)
        ranked = order.sort_values(ascending=False, kind="stable").index
        laid = pd.concat([rows, pd.DataFrame(columns)], axis=1).loc[ranked]
        name = f"{str(data).capitalize()} {'figures' if data == 'published' else 'data'}{STANDING[str(standing)]}"
        title = f"{name}; per cent; {', '.join(shared)}"
        yield title, [*keys, *columns], [[str(v) for v in row] for row in laid.to_numpy()]


def _figure(value: float) -> str:
    return "missing" if pd.isna(value) else f"{value:.2f}"


def _cell(row: pd.Series[float]) -> str:
    text = _figure(row["mean"])
    several = "n" in row and row["n"] > 1
    if not pd.isna(row["std"]):
        text += f" ± {row['std']:.2f}"
    if several:
        text += f" ({int(row['n'])})"
    difference = row.get("difference")
    return text if difference is None or pd.isna(difference) else f"{text} [{difference:+.2f}]"


def to_csv(long: pd.DataFrame) -> str:
    """Return the aggregated table as CSV, one line per figure, two decimals."""
    return str(long.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def to_json(long: pd.DataFrame) -> str:
    """Return the aggregated table as a JSON list with one object per figure, two decimals, null where there is none."""
    rounded = long.round({name: 2 for name in ("mean", "std", "published", "difference") if name in long})
    rows = rounded.astype(object).where(rounded.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> str:
    """Return one Markdown table for each of `parts`; `[+1.20]` is the difference to the published figure."""
    tables = []
    for name, header, rows in parts(long, figures):
        lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
        tables.append(f"### {name}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(tables)
