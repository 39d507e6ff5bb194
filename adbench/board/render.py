"""How a leaderboard is written: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.averages import MEAN, averages, completed
from adbench.board.leaderboard import COSTS, FIGURES, ROW, meaning, unit, with_leaks

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
SHOWN = 0.005  # points: what a half-width must exceed to be seen in two decimals
PLAIN = {"best": "%s", "second": "%s", "": "%s"}
MARKS = {"best": "**%s**", "second": "*%s*", "": "%s"}
LEGEND = (
    "Mean ± standard deviation (number of draws and seeds); best bold, second in italics. missing: a cell that never "
    "ran, or an average without one; –: there is no such figure; ≈: known within a half-width only."
)


class Section(NamedTuple):
    """One table of a leaderboard, best average of the first metric on top.

    `shared` holds the row keys in which all R rows agree, `rows` the others, one line per row. `columns` maps
    (dataset, metric) to R lines of mean, std, n, half_width and, beside published figures, difference. The mean is NaN
    where a cell is missing, n 0, and where there is no such figure, n NaN. `averages` names the dataset of an average.
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
    def common(self) -> str:
        """What all rows share, as `key value` with commas between."""
        return ", ".join(f"{key} {text}" for key, text in self.shared.items() if text)

    @property
    def units(self) -> str:
        """The units of the figures, and what `≈` means where one has it."""
        costs = {metric in COSTS for _, metric in self.columns}
        told = ["per cent"] * (False in costs) + ["costs in the unit of their name"] * (True in costs)
        halves = [column["half_width"].max() for column in self.columns.values()]
        if (widest := pd.Series(halves, dtype=float).max()) > SHOWN:
            told.append(f"≈: known within a half-width of up to {math.ceil(100 * widest) / 100:.2f}")
        return ", ".join(told)

    @property
    def title(self) -> str:
        """Data, marks, units, and what all rows share."""
        return "; ".join([self.name, self.units, *([self.common] if self.common else [])])

    @property
    def uneven(self) -> list[bool]:
        """Of each row, whether its figures are over different numbers of draws and seeds."""
        counts = pd.DataFrame({name: column["n"] for name, column in self.columns.items()})
        counts = counts.where(counts > 0)
        return (counts.max(axis=1) > counts.min(axis=1)).tolist()


class Part(NamedTuple):
    """The table of one metric, of an oracle with those of its last epoch and leak: text as it is printed."""

    section: Section
    heading: str
    header: list[str]
    rows: list[list[str]]


def sections(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[Section]:
    """Yield the tables: phantom, real and published figures never share one, nor clean and marked rows.

    Published ones come last. Behind each figure of oracle rows stand those of the last epoch, and the leak. Rows stand
    in the order of their first average of the first metric; those that don't have it come last, by name.
    """
    names = with_leaks(figures)
    whole = completed(long)
    chosen = whole[whole["metric"].isin(names)]
    groups = {(str(data), str(standing)): part for (data, standing), part in chosen.groupby(["data", "standing"])}
    for data, standing in sorted(groups, key=lambda which: (which[0] == "published", which)):
        part = groups[data, standing]
        own = [key for key in ROW if key not in ("data", "standing")]
        keys = [key for key in own if part[key].nunique() > 1 or key == "method"]
        shared = {key: str(part[key].iloc[0]) for key in own if key not in keys}
        rows = _ranked(part, keys, names[0])
        yield Section(data, standing, shared, rows, _columns(part, rows, names))


def _ranked(part: pd.DataFrame, keys: Sequence[str], metric: str) -> pd.DataFrame:
    """Return the keys of the rows, in the order of the first average, or of the only dataset, of a metric."""
    rows = part[[*keys]].drop_duplicates().sort_values([*keys], ignore_index=True)
    first = part[part["metric"] == metric]
    datasets = _datasets(first)
    leading = next((name for name in datasets if name.startswith(MEAN)), datasets[0] if len(datasets) == 1 else None)
    means = rows.merge(first.loc[first["dataset"] == leading, [*keys, "mean"]], on=[*keys], how="left")["mean"]
    order = means.sort_values(ascending=False, kind="stable").index
    return rows.loc[order].reset_index(drop=True)


def _columns(part: pd.DataFrame, rows: pd.DataFrame, names: Sequence[str]) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the figures of the rows for each dataset and average of each metric."""
    found = {}
    for metric in names:
        own = part[part["metric"] == metric]
        for dataset in _datasets(own):
            found[dataset, metric] = rows.merge(own[own["dataset"] == dataset], on=list(rows), how="left")
    return found


def _datasets(part: pd.DataFrame) -> list[str]:
    """Return the datasets in the order of their names, and behind them their averages."""
    found = set(part["dataset"])
    own = sorted(name for name in found if not name.startswith(MEAN))
    return own + [name for name in averages(own) if name in found]


def parts(long: pd.DataFrame, figures: Sequence[str] = FIGURES, marks: Mapping[str, str] = PLAIN) -> Iterator[Part]:
    """Yield the tables of the `sections`, one per metric, as text; figures read `mean ± std (n)`.

    `marks` says how the best and the second mean of a column are written. Rows without any figure are left out.
    """
    for section in sections(long, figures):
        for base in figures:
            titles = dict(zip(with_leaks([base]), ("", ", last epoch", ", leak"), strict=True))
            columns = {which: column for which, column in section.columns.items() if which[1] in titles}
            if not columns:
                continue
            datasets = list(dict.fromkeys(dataset for dataset, _ in columns))
            order = sorted(columns, key=lambda which: (datasets.index(which[0]), list(titles).index(which[1])))
            own = section._replace(columns={which: columns[which] for which in order})
            units = own.units if base not in COSTS else unit(base)
            texts = [_texts(metric, column, section.uneven, marks) for (_, metric), column in own.columns.items()]
            lines = [
                [*map(str, keys), *cells]
                for keys, *cells in zip(own.rows.to_numpy(), *texts, strict=True)
                if any(cell != "–" for cell in cells)
            ]
            header = [*own.rows.columns, *(f"{dataset}{titles[metric]}" for dataset, metric in own.columns)]
            yield Part(own, f"{TITLES.get(base, base.replace('_', ' '))}, {units}", header, lines)


def _texts(metric: str, column: pd.DataFrame, uneven: Sequence[bool], marks: Mapping[str, str]) -> list[str]:
    ranks = standouts(metric, column["mean"].tolist(), column["half_width"].tolist())
    rows = zip(column.to_dict("records"), ranks, uneven, strict=True)
    return [figure(row, marks[rank], told) for row, rank, told in rows]


def standouts(metric: str, means: Sequence[float], half_widths: Sequence[float] = ()) -> list[str]:
    """Mark the `best` and the `second` of a column, as printed with two decimals.

    Nothing where none can be compared, and no rank that rests on a difference within the half-widths of its figures,
    those above `SHOWN`. Costs and leaks are not ranked.

    >>> standouts("image_auroc", [90.001, 80.0, float("nan"), 90.0, 85.5])
    ['best', '', '', 'best', 'second']
    >>> standouts("image_auroc", [90.0, float("nan")])
    ['', '']
    >>> standouts("pixel_ap", [90.0, 80.0, 79.0], [0.0, 0.0, 2.0])
    ['best', '', '']
    """
    marks = [""] * len(means)
    if metric in COSTS or metric.endswith("_leak") or sum(mean == mean for mean in means) < 2:
        return marks
    wide = [half if half > SHOWN else 0.0 for half in half_widths or [0.0] * len(means)]
    shown = {i: round(mean, 2) for i, mean in enumerate(means) if mean == mean}
    for name, value in zip(("best", "second"), sorted(set(shown.values()), reverse=True), strict=False):
        level = [i for i in shown if shown[i] == value]
        below = [i for i in shown if shown[i] <= value]
        if any(i != j and 0 < wide[i] + wide[j] >= value - shown[j] for i in level for j in below):
            break
        for i in level:
            marks[i] = name
    return marks


def decimals(value: float) -> str:
    """Write a number with two decimals."""
    return f"{value:.2f}"


def shown(row: Mapping[Any, Any]) -> str:
    """Write the mean of a figure: `90.00`, `≈90.00`, or what is there instead, `missing` or `–`."""
    if pd.isna(row["mean"]):
        return "missing" if row["n"] == 0 else "–"
    return f"{'≈' * (row['half_width'] > SHOWN)}{decimals(row['mean'])}"


def figure(row: Mapping[Any, Any], mark: str = "%s", uneven: bool = False) -> str:
    """Write one figure: `90.00 ± 1.20 (3) [+0.50]`, with what there is of it; (1) in a row that is `uneven`."""
    text = mark % shown(row)
    if not pd.isna(row["std"]):
        text += f" ± {row['std']:.2f}"
    if row["n"] > 1 or (uneven and row["n"] == 1):
        text += f" ({int(row['n'])})"
    difference = row.get("difference")
    return text if difference is None or pd.isna(difference) else f"{text} [{difference:+.2f}]"


def to_csv(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as CSV, one line each, two decimals."""
    whole = completed(long).astype({"n": "Int64"})
    return str(whole.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def to_json(long: pd.DataFrame) -> str:
    """Return the same as a JSON list with one object per line, two decimals, null where there is nothing."""
    whole = completed(long).astype({"n": "Int64"})
    rounded = whole.round({n: 2 for n in ("mean", "std", "half_width", "published", "difference") if n in whole})
    rows = rounded.astype(object).where(rounded.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> str:
    """Return a Markdown table for each of `parts`, best bold; `[+1.20]` is the difference to the published figure."""
    blocks, name = [LEGEND + "\n"], ""
    for part in parts(long, figures, MARKS):
        if part.section.name != name:
            name, common = part.section.name, part.section.common
            blocks.append(f"### {name}\n" + (f"\n{common}\n" if common else ""))
        lines = ["| " + " | ".join(part.header) + " |", "|" + "---|" * len(part.header)]
        lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in part.rows]
        blocks.append(f"#### {part.heading}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)
