"""How a leaderboard is written: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from adbench.board.leaderboard import COSTS, FIGURES, ROW, meaning, with_leaks
from adbench.config import groups

HEADLINE = ("image_auroc", "pixel_auroc")
TITLES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_aupro": "pixel AUPRO",
}
TITLES |= {f"{name}_last": f"{title}, last epoch" for name, title in TITLES.items()} | {
    f"{name}_leak": f"{title}, leak" for name, title in TITLES.items()
}
Part = tuple[str, list[str], list[list[str]]]


class Section(NamedTuple):
    """One table of a leaderboard, best average of the first metric on top.

    `shared` holds the row keys in which all R rows agree, `rows` the others, one line per row. `columns` maps
    (dataset, metric) to R lines of mean, std, n and, beside published figures, difference; NaN where a cell was never
    run. The dataset of an average is named by `averages`.
    """

    data: str
    standing: str
    shared: dict[str, str]
    rows: pd.DataFrame
    columns: dict[tuple[str, str], pd.DataFrame]

    @property
    def mark(self) -> str:
        """What sets these rows apart from honest ones, with a comma before it, or nothing."""
        return f", {meaning(self.standing)}" if self.standing != "clean" else ""

    @property
    def name(self) -> str:
        """Data and marks."""
        return f"{self.data.capitalize()} {'figures' if self.data == 'published' else 'data'}{self.mark}"

    @property
    def title(self) -> str:
        """Data, marks, and what all rows share."""
        told = ", ".join(f"{key} {text}" for key, text in self.shared.items() if text)
        return "; ".join([self.name, "per cent", *([told] if told else [])])


def sections(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[Section]:
    """Yield the tables: phantom, real and published figures never share one, nor clean and marked rows.

    Behind each figure of oracle rows stand those of the last epoch, and the leak. An average is missing where one of
    its datasets is; rows without the first one come last.
    """
    names = with_leaks(figures)
    for (data, standing), part in long[long["metric"].isin(names)].groupby(["data", "standing"], sort=True):
        own = [key for key in ROW if key not in ("data", "standing")]
        keys = [key for key in own if part[key].nunique() > 1 or key == "method"]
        shared = {key: str(part[key].iloc[0]) for key in own if key not in keys}
        rows = part[keys].drop_duplicates().reset_index(drop=True)
        columns: dict[tuple[str, str], pd.DataFrame] = {}
        order = pd.DataFrame(0.0, rows.index, ["average", "mean"])
        for metric in (m for m in names if m in set(part["metric"])):
            datasets = sorted(set(part.loc[part["metric"] == metric, "dataset"]))
            for dataset in datasets:
                chosen = part[(part["metric"] == metric) & (part["dataset"] == dataset)]
                columns[dataset, metric] = rows.merge(chosen, on=keys, how="left")
            whole = pd.DataFrame({dataset: columns[dataset, metric]["mean"] for dataset in datasets})
            means = {name: whole[own].mean(axis=1, skipna=False) for name, own in averages(datasets).items()}
            if metric not in COSTS:
                for name, mean in means.items():
                    columns[name, metric] = pd.DataFrame({"mean": mean, "std": float("nan")})
            if metric == figures[0]:
                order["mean"] = whole.mean(axis=1)
                order["average"] = next(iter(means.values()), 0.0)
        ranked = order.sort_values(["average", "mean"], ascending=False).index
        laid = {name: column.loc[ranked].reset_index(drop=True) for name, column in columns.items()}
        yield Section(str(data), str(standing), shared, rows.loc[ranked].reset_index(drop=True), laid)


def averages(datasets: Sequence[str]) -> dict[str, list[str]]:
    """Name the averages over some columns: over each largest group (configs/group) among them, else over all.

    >>> averages(["brainmri", "busi", "liverct", "resc"])
    {'mean of bmad_masked': ['brainmri', 'liverct', 'resc']}
    >>> averages(["brainmri", "busi"])
    {'mean of 2': ['brainmri', 'busi']}
    """
    if len(datasets) < 2:
        return {}
    whole = {name: set(own["dataset"]) for name, own in groups().items() if "dataset" in own}
    there = {name: own for name, own in whole.items() if len(own) > 1 and own <= set(datasets)}
    largest = {name: own for name, own in there.items() if not any(own < other for other in there.values())}
    means = {f"mean of {name}": sorted(own) for name, own in largest.items()}
    return means or {f"mean of {len(datasets)}": list(datasets)}


def parts(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[Part]:
    """Yield (title, header, rows) of the `sections` as text; figures read `mean ± std (n)`."""
    for section in sections(long, figures):
        names = [f"{dataset} {metric.replace('_', ' ')}" for dataset, metric in section.columns]
        cells = [column.apply(figure, axis=1).tolist() for column in section.columns.values()]
        rows = [[*map(str, keys), *texts] for keys, *texts in zip(section.rows.to_numpy(), *cells, strict=True)]
        yield section.title, [*section.rows.columns, *names], rows


def standouts(metric: str, means: Sequence[float]) -> list[str]:
    """Mark the `best` and the `second` of a column, as printed with two decimals.

    Nothing where none can be compared; costs and leaks are not ranked.

    >>> standouts("image_auroc", [90.001, 80.0, float("nan"), 90.0, 85.5])
    ['best', '', '', 'best', 'second']
    >>> standouts("image_auroc", [90.0, float("nan")])
    ['', '']
    """
    if metric in COSTS or metric.endswith("_leak"):
        return [""] * len(means)
    shown = [round(mean, 2) for mean in means]
    known = sorted({mean for mean in shown if mean == mean}, reverse=True)
    if sum(mean == mean for mean in shown) < 2:
        return [""] * len(shown)
    marks = dict(zip(known, ("best", "second"), strict=False))
    return [marks.get(mean, "") for mean in shown]


def decimals(value: float) -> str:
    """Write a number with two decimals, or `missing`."""
    return "missing" if pd.isna(value) else f"{value:.2f}"


def figure(row: pd.Series[float]) -> str:
    """Write one figure: `90.00 ± 1.20 (3) [+0.50]`, with what there is of it."""
    text = decimals(row["mean"])
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
