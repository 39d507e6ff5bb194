"""Tables of a leaderboard as text: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.averages import averages, completed
from adbench.board.leaderboard import COSTS, FIGURES, MEAN, ROW, caveat, unit, with_leaks

HEADLINE = ("image_auroc", "pixel_auroc")
TITLES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "image_accuracy": "image accuracy",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_aupro": "pixel AUPRO",
}
TITLES |= {f"{name}_last": f"{title}, last epoch" for name, title in TITLES.items()} | {
    f"{name}_leak": f"{title}, leak" for name, title in TITLES.items()
}
VISIBLE = 0.005  # percentage points: a smaller half-width is invisible in two decimals
PLAIN = {"best": "%s", "second": "%s", "": "%s"}
MARKDOWN = {"best": "**%s**", "second": "*%s*", "": "%s"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Characters that begin something in Markdown: code, emphasis, a tag, an entity, a cell, the address of a link.
SPECIAL = re.compile(r"[\\`*<|~]|&(?=[#\w])|(?<=\])[(\[:]|(?<!\w)_|_(?!\w)")
LEGEND = (
    "Mean ± standard deviation (number of runs, each with another draw, seed, split or fold). Bold: best of its column;"
    " italics: second. missing: never run, or an average over such a figure. –: does not apply. ≈: approximate; the "
    "heading gives the largest computation error."
)


class Section(NamedTuple):
    """One table of a leaderboard with R rows, the best average of the first metric first.

    `shared` holds the row keys that are the same in all rows, `rows` the others, one line per row. `columns` maps
    (dataset, metric) to R lines of mean, std, n, half_width, draws and, with published figures, difference. The mean is
    NaN, with n 0, where a cell is missing, and, with n NaN, where the metric doesn't apply.
    """

    data: str
    standing: str
    shared: dict[str, str]
    rows: pd.DataFrame
    columns: dict[tuple[str, str], pd.DataFrame]

    @property
    def caveat(self) -> str:
        """Why these rows are not compared with clean ones, after a comma; empty for clean rows."""
        return f", {caveat(self.standing)}" if self.standing != "clean" else ""

    @property
    def name(self) -> str:
        """Kind of data and caveat."""
        return f"{self.data.capitalize()} {'figures' if self.data == 'published' else 'data'}{self.caveat}"

    @property
    def common(self) -> str:
        """What all rows share, as `key value, key value`, and over how many runs figures are that average splits."""
        texts = [f"{key} {text}" for key, text in self.shared.items() if text]
        draws = {str(text) for column in self.columns.values() for text in column["draws"].dropna()}
        if any(run.count("/") == 2 for text in draws for run in text.split()):
            texts.append(f"means over {runs(self)}")
        return ", ".join(texts)

    @property
    def units(self) -> str:
        """The units of the figures, and the largest computation error where `≈` is printed."""
        costs = {metric in COSTS for _, metric in self.columns}
        texts = ["per cent"] * (False in costs) + ["costs in the unit of their name"] * (True in costs)
        halves = [column["half_width"].max() for column in self.columns.values()]
        if (widest := pd.Series(halves, dtype=float).max()) > VISIBLE:
            texts.append(f"≈: computation error at most {math.ceil(100 * widest) / 100:.2f}")
        return ", ".join(texts)

    @property
    def title(self) -> str:
        """Kind of data, caveat, units, and what all rows share."""
        return "; ".join([self.name, self.units, *([self.common] if self.common else [])])

    @property
    def uneven(self) -> list[bool]:
        """For each row, whether its figures are means of different numbers of runs."""
        counts = pd.DataFrame({name: column["n"] for name, column in self.columns.items()})
        counts = counts.where(counts > 0)
        return (counts.max(axis=1) > counts.min(axis=1)).tolist()


class Part(NamedTuple):
    """The table of one metric as printed text, for oracle rows with columns for the last epoch and the leak."""

    section: Section
    heading: str
    header: list[str]
    rows: list[list[str]]


def sections(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> Iterator[Section]:
    """Yield the tables: one per kind of data (phantom, real, published) and standing, published ones last.

    Each column of oracle rows is followed by the last epoch's and the leak. Rows are sorted by their first average of
    the first metric; those without it come last, by name.
    """
    names = with_leaks(figures)
    rows = completed(long)
    chosen = rows[rows["metric"].isin(names)]
    groups = {(str(data), str(standing)): part for (data, standing), part in chosen.groupby(["data", "standing"])}
    for data, standing in sorted(groups, key=lambda which: (which[0] == "published", which)):
        part = groups[data, standing]
        settings = [key for key in ROW if key not in ("data", "standing")]
        keys = [key for key in settings if part[key].nunique() > 1 or key == "method"]
        shared = {key: str(part[key].iloc[0]) for key in settings if key not in keys}
        ranked = _ranked(part, keys, names[0])
        yield Section(data, standing, shared, ranked, _columns(part, ranked, names))


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
    """Return the figures of the rows for each metric, dataset and average."""
    columns = {}
    for metric in names:
        figures = part[part["metric"] == metric]
        for dataset in _datasets(figures):
            columns[dataset, metric] = rows.merge(figures[figures["dataset"] == dataset], on=list(rows), how="left")
    return columns


def _datasets(part: pd.DataFrame) -> list[str]:
    """Return the datasets by name, then their averages."""
    names = set(part["dataset"])
    datasets = sorted(name for name in names if not name.startswith(MEAN))
    means = [name for name in averages(datasets) if name in names]  # and those that papers print
    return datasets + means + sorted(name for name in names if name.startswith(MEAN) and name not in means)


def parts(long: pd.DataFrame, figures: Sequence[str] = FIGURES, marks: Mapping[str, str] = PLAIN) -> Iterator[Part]:
    """Yield one table per section and metric as text; figures read `mean ± std (n)`.

    `marks` are the formats of the best, the second and the other means of a column. Rows without a figure are left out.
    """
    for section in sections(long, figures):
        for base in figures:
            titles = dict(zip(with_leaks([base]), ("", ", last epoch", ", leak"), strict=True))
            columns = {which: column for which, column in section.columns.items() if which[1] in titles}
            if not columns:
                continue
            datasets = list(dict.fromkeys(dataset for dataset, _ in columns))
            order = sorted(columns, key=lambda which: (datasets.index(which[0]), list(titles).index(which[1])))
            single = section._replace(columns={which: columns[which] for which in order})
            units = single.units if base not in COSTS else unit(base)
            texts = [_texts(metric, column, section.uneven, marks) for (_, metric), column in single.columns.items()]
            lines = [
                [*map(str, keys), *cells]
                for keys, *cells in zip(single.rows.to_numpy(), *texts, strict=True)
                if any(cell != "–" for cell in cells)
            ]
            header = [*single.rows.columns, *(f"{dataset}{titles[metric]}" for dataset, metric in single.columns)]
            yield Part(single, f"{TITLES.get(base, base.replace('_', ' '))}, {units}", header, lines)


def _texts(metric: str, column: pd.DataFrame, uneven: Sequence[bool], marks: Mapping[str, str]) -> list[str]:
    ranks = best_two(metric, column["mean"].tolist(), column["half_width"].tolist())
    rows = zip(column.to_dict("records"), ranks, uneven, strict=True)
    return [figure(row, marks[rank], odd) for row, rank, odd in rows]


def best_two(metric: str, means: Sequence[float], half_widths: Sequence[float] = ()) -> list[str]:
    """Return "best", "second" or "" for each mean of a column, compared as printed with two decimals.

    Ties share a rank. There is none where fewer than two means can be compared, and none that rests on a difference
    within the half-widths of its figures (those above `VISIBLE`). Costs and leaks are not ranked.

    >>> best_two("image_auroc", [90.001, 80.0, float("nan"), 90.0, 85.5])
    ['best', '', '', 'best', 'second']
    >>> best_two("image_auroc", [90.0, float("nan")])
    ['', '']
    >>> best_two("pixel_ap", [90.0, 80.0, 79.0], [0.0, 0.0, 2.0])
    ['best', '', '']
    """
    marks = [""] * len(means)
    if metric in COSTS or metric.endswith("_leak") or sum(mean == mean for mean in means) < 2:
        return marks
    wide = [half if half > VISIBLE else 0.0 for half in half_widths or [0.0] * len(means)]
    shown = {i: round(mean, 2) for i, mean in enumerate(means) if mean == mean}
    for name, value in zip(("best", "second"), sorted(set(shown.values()), reverse=True), strict=False):
        level = [i for i in shown if shown[i] == value]
        below = [i for i in shown if shown[i] <= value]
        if any(i != j and 0 < wide[i] + wide[j] >= value - shown[j] for i in level for j in below):
            break
        for i in level:
            marks[i] = name
    return marks


def runs(section: Section) -> str:
    """Say over how many draws, seeds, splits and folds a section's figures are, where it is the same number everywhere.

    The number of runs alone where they differ between figures, or where not every draw has every seed, and so on.
    """
    figures = pd.concat([column[column["n"] > 0] for column in section.columns.values()])
    n, texts = int(figures["n"].max()), sorted(set(figures["draws"]))
    return repeats(texts[0], n) if len(texts) == 1 else f"{n} runs"


def repeats(draws: str, n: int) -> str:
    """Count the draws, seeds, splits and folds of n runs, listed as `draw/seed`, `draw/seed/split` or with a fold.

    >>> repeats("0/0 1/0 2/0", 3), repeats("-/0 -/1", 2), repeats("0/0 1/1", 2)
    ('3 draws, 1 seed', '2 seeds', '2 runs')
    >>> repeats("0/0/0 0/0/1", 2), repeats("0/0/0.0 0/0/0.1", 2)
    ('1 draw, 1 seed, 2 splits', '1 draw, 1 seed, 1 split, 2 folds')
    """
    rows = [(*text.split("/"), "-")[:3] for text in draws.split()]
    parts = [(draw, seed, *(*split.split("."), "-")[:2]) for draw, seed, split in rows]
    counts = [len(set(column) - {"-"}) for column in zip(*parts, strict=True)]
    if math.prod(max(count, 1) for count in counts) != n:
        return f"{n} runs"
    words = zip(counts, ("draw", "seed", "split", "fold"), strict=True)
    return ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in words if count)


def decimals(value: float) -> str:
    """Write a number with two decimals."""
    return f"{value:.2f}"


def shown(row: Mapping[Any, Any]) -> str:
    """Write the mean of a figure: `90.00`, `≈90.00` (approximate), `missing` (never run) or `–` (does not apply)."""
    if pd.isna(row["mean"]):
        return "missing" if row["n"] == 0 else "–"
    return f"{'≈' * (row['half_width'] > VISIBLE)}{decimals(row['mean'])}"


def figure(row: Mapping[Any, Any], mark: str = "%s", uneven: bool = False) -> str:
    """Write one figure: mean ± std (n) [difference to the published one], `90.00 ± 1.20 (3) [+0.50]`.

    Parts without a value are left out, and so is an n of 1 except in a row that is `uneven`.
    """
    text = mark % shown(row)
    if not pd.isna(row["std"]):
        text += f" ± {row['std']:.2f}"
    if row["n"] > 1 or (uneven and row["n"] == 1):
        text += f" ({int(row['n'])})"
    difference = row.get("difference")
    return text if difference is None or pd.isna(difference) else f"{text} [{difference:+.2f}]"


def to_csv(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as CSV, one line each, two decimals; see `inert`."""
    whole = completed(long).astype({"n": "Int64"})
    names = [name for name in (*ROW, "dataset", "source") if name in whole]
    whole = whole.assign(**{name: whole[name].map(inert) for name in names})
    return str(whole.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def inert(text: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run as a formula: text that begins with = + - or @.

    >>> inert("=1+1"), inert("madclip"), inert("-0.5")
    ("'=1+1", 'madclip', '-0.5')
    """
    if not isinstance(text, str) or text[:1] not in tuple("=+-@\t\r") or NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def to_json(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as a JSON list, one object each, two decimals, null for no value."""
    whole = completed(long).astype({"n": "Int64"})
    rounded = whole.round({n: 2 for n in ("mean", "std", "half_width", "published", "difference") if n in whole})
    rows = rounded.astype(object).where(rounded.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(long: pd.DataFrame, figures: Sequence[str] = FIGURES) -> str:
    """Return a Markdown table for each of `parts`: best bold, second in italics."""
    blocks, name = [LEGEND + "\n"], ""
    for part in parts(long, figures, MARKDOWN):
        if part.section.name != name:
            name, common = part.section.name, escape(part.section.common)
            blocks.append(f"### {name}\n" + (f"\n{common}\n" if common else ""))
        keys = len(part.section.rows.columns)
        lines = ["| " + " | ".join(map(escape, part.header)) + " |", "|" + "---|" * len(part.header)]
        lines += ["| " + " | ".join([*map(escape, row[:keys]), *row[keys:]]) + " |" for row in part.rows]
        blocks.append(f"#### {part.heading}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line, with no more backslashes than that needs.

    >>> print(escape("few_shot a|b `c` [d](e) <f>"))
    few_shot a\|b \`c\` [d]\(e) \<f>
    """
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
