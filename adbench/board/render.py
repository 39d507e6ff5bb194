"""Tables of a leaderboard as text: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.averages import averages, completed
from adbench.board.leaderboard import COSTS, MEAN, ROW, caveat, unit, with_leaks
from adbench.board.peers import complete
from adbench.board.stand_ins import warning_of
from adbench.system.text import inert

HEADLINE = ("image_auroc", "pixel_auroc")
STANDARD = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")
TITLES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "image_accuracy": "image accuracy",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max",
    "pixel_aupro": "pixel AUPRO",
    "pixel_aupro_05": "pixel AUPRO (FPR to 5 %)",
    "pixel_aupimo": "AUPIMO (FPR 1e-5 to 1e-4)",
    "pixel_aupimo_loose": "AUPIMO (FPR 1e-4 to 1e-2)",
}
TITLES |= {f"{name}_last": f"{title}, last epoch" for name, title in TITLES.items()} | {
    f"{name}_leak": f"{title}, leak" for name, title in TITLES.items()
}
VISIBLE = 0.005  # percentage points: a smaller half-width is invisible in two decimals
PLAIN = {"best": "%s*", "": "%s"}
MARKDOWN = {"best": "**%s**", "": "%s"}
COUNTS = ("n", "patients", "images", "rank", "rank_low", "rank_high")
ROUNDED = ("mean", "std", "half_width", "published", "difference", "se", "df", "ci_low", "ci_high")
# Characters that begin something in Markdown: code, emphasis, a tag, an entity, a cell, the address of a link.
SPECIAL = re.compile(r"[\\`*<|~]|&(?=[#\w])|(?<=\])[(\[:]|(?<!\w)_|_(?!\w)")
MEANS = "Mean ± standard deviation (number of runs, each with another draw, seed, split or fold)."
SYMBOLS = (
    "missing: never run, or an average over such a figure. –: does not apply. ≈: approximate; the heading gives the "
    "largest computation error."
)
INTERVALS = (
    "Mean [95 % interval for new patients and new draws] (number of runs); ± standard deviation where there is no "
    "interval. Rank (interval): among rows of one protocol and number of shots. {mark}: rows that the best of these "
    "is not better than (p < 0.05 after Holm's correction)."
)


class Section(NamedTuple):
    """One table of a leaderboard with R rows, within a protocol and number of shots the best average first.

    `shared` holds the row keys that are the same in all rows, `rows` the others, one line per row. `columns` maps
    (dataset, metric) to R lines of mean, std, n, half_width, draws and, with published figures, difference. The mean is
    NaN, with n 0, where a cell is missing, and, with n NaN, where the metric doesn't apply. `warning` says which of
    its backbones have only ever seen drawings.
    """

    data: str
    standing: str
    shared: dict[str, str]
    rows: pd.DataFrame
    columns: dict[tuple[str, str], pd.DataFrame]
    warning: str = ""

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
    """The table of one metric as printed text, for oracle rows with columns for the last epoch and the leak.

    notes: sentences on its intervals.
    """

    section: Section
    heading: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


def sections(long: pd.DataFrame, figures: Sequence[str] = STANDARD) -> Iterator[Section]:
    """Yield the tables: one per kind of data (phantom, real, published) and standing, published ones last.

    Each column of oracle rows is followed by the last epoch's and the leak. Rows are in groups of one number of shots
    and protocol. Within a group they are sorted by their first average of the first metric; those over other or fewer
    runs, and those without it, come last.
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
        ordered = _ranked(part, keys, names[0])
        yield Section(data, standing, shared, ordered, _columns(part, ordered, names), warning_of(_drawn(part)))


def _ranked(part: pd.DataFrame, keys: Sequence[str], metric: str) -> pd.DataFrame:
    """Return the keys of the rows: by shots and protocol, then in the order of the leading column of a metric.

    Within these, rows over other or fewer runs than the rest come after the others.
    """
    rows = part[[*ROW]].drop_duplicates().sort_values([*keys], ignore_index=True)
    first = part[part["metric"] == metric]
    lines = first[first["dataset"] == leading(first)]
    lines = lines[[*ROW, "mean"]].assign(few=~complete(lines))
    means = rows.merge(lines, on=[*ROW], how="left")
    number = pd.to_numeric(means["shots"], errors="coerce").fillna(float("inf"))
    means = means.assign(number=number, few=means["few"].fillna(True).astype(bool))
    order = means.sort_values(
        ["number", "shots", "protocol", "few", "mean"], ascending=[True, True, True, True, False], kind="stable"
    )
    return rows.loc[order.index, [*keys]].reset_index(drop=True)


def leading(part: pd.DataFrame) -> str | None:
    """Return the column by which rows are ordered: the first average, or the only dataset."""
    return _leading(_datasets(part))


def _leading(datasets: Sequence[str]) -> str | None:
    return next((name for name in datasets if name.startswith(MEAN)), datasets[0] if len(datasets) == 1 else None)


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


def parts(long: pd.DataFrame, figures: Sequence[str] = STANDARD, marks: Mapping[str, str] = PLAIN) -> Iterator[Part]:
    """Yield one table per section and metric as text; figures read `mean ± std (n)`.

    `marks` are the formats of the best and the other means of a column. Rows without a figure are left out.
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
            texts = [_texts(column, section.uneven, marks) for column in single.columns.values()]
            places = ranks(single, base)
            keys = [[*map(str, row), *([places[i]] if places else [])] for i, row in enumerate(single.rows.to_numpy())]
            lines = [
                [*head, *cells] for head, *cells in zip(keys, *texts, strict=True) if any(cell != "–" for cell in cells)
            ]
            header = [*single.rows.columns, *(["rank"] if places else [])]
            header += [f"{dataset}{titles[metric]}" for dataset, metric in single.columns]
            yield Part(single, f"{TITLES.get(base, base.replace('_', ' '))}, {units}", header, lines, notes(single))


def _texts(column: pd.DataFrame, uneven: Sequence[bool], marks: Mapping[str, str]) -> list[str]:
    rows = zip(column.to_dict("records"), marks_of(column), uneven, strict=True)
    return [figure(row, marks[mark], odd) for row, mark, odd in rows]


def marks_of(column: pd.DataFrame) -> list[str]:
    """Return "best" for the lines of a column that the best one is not better than, "" for others; see `ranks`."""
    best = column["best"].eq(True) if "best" in column else [False] * len(column)
    return ["best" if mark else "" for mark in best]


def rank(row: Mapping[Any, Any]) -> str:
    """Write the rank of a line and its interval, `2 (1-3)`; – where it has none.

    >>> rank({"rank": 2.0, "rank_low": 1.0, "rank_high": 3.0}), rank({"rank": float("nan")})
    ('2 (1-3)', '–')
    """
    if pd.isna(row.get("rank", float("nan"))):
        return "–"
    return f"{row['rank']:.0f} ({row['rank_low']:.0f}-{row['rank_high']:.0f})"


def ranking_column(section: Section, metric: str) -> str:
    """Return the dataset of the column that ranks a section's rows by a metric; empty where none does."""
    dataset = _leading([name for name, which in section.columns if which == metric])
    return dataset if dataset is not None and "rank" in section.columns[dataset, metric] else ""


def ranks(section: Section, metric: str) -> list[str]:
    """Return the ranks of a section's rows in the leading column of a metric; empty where no row has one."""
    if not (dataset := ranking_column(section, metric)):
        return []
    texts = [rank(row) for row in section.columns[dataset, metric].to_dict("records")]
    return texts if set(texts) != {"–"} else []


def notes(section: Section) -> list[str]:
    """Return what is to be said of a section: of its backbones, and of intervals with the figures they are of."""
    said: dict[str, set[tuple[int, str]]] = {}
    for (dataset, _), column in section.columns.items():
        texts: list[str] = column["ci_note"].fillna("").tolist() if "ci_note" in column else []
        for row, text in enumerate(texts):
            if text:
                said.setdefault(text, set()).add((row, dataset))
    names = [" ".join(filter(None, map(str, row))) for row in section.rows.to_numpy()]
    datasets = list(dict.fromkeys(dataset for dataset, _ in section.columns))
    sentences = [f"warning: {section.warning}"] if section.warning else []
    for text, places in said.items():
        rows = sorted({row for row, _ in places})
        where = [dataset for dataset in datasets if any(name == dataset for _, name in places)]
        parts = ["; ".join(names[row] for row in rows)] if len(rows) < len(names) else []
        parts += [f"on {', '.join(where)}"] if len(where) < len(datasets) else []
        sentences.append(f"{' '.join(parts) or 'every row'}: {text}")
    return sentences


def runs(section: Section) -> str:
    """Say over how many draws, seeds, splits and folds a section's figures are, where it is the same number everywhere.

    The number of runs alone where they differ between figures, or where not every draw has every seed, and so on.
    """
    return next(iter(counts(section).values()))


def counts(section: Section) -> dict[int, str]:
    """Return what the numbers of runs of a section's figures are, most first: {3: "3 draws, 1 seed"}."""
    figures = pd.concat([column.loc[column["n"] > 0, ["n", "draws"]] for column in section.columns.values()])
    texts: dict[int, set[str]] = {}
    for n, draws in sorted(set(figures.itertuples(index=False, name=None)), reverse=True):
        texts.setdefault(int(n), set()).add(repeats(draws, int(n)))
    return {n: some.pop() if len(some) == 1 else f"{n} runs" for n, some in texts.items()}


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

    With an interval it is mean [low, high] (n): `90.00 [84.21, 93.90] (3)`. Parts without a value are left out, and so
    is an n of 1 except in a row that is `uneven`.
    """
    text = mark % shown(row)
    if between := between_of(row):
        text += f" [{between}]"
    elif not pd.isna(row["std"]):
        text += f" ± {row['std']:.2f}"
    if row["n"] > 1 or (uneven and row["n"] == 1):
        text += f" ({int(row['n'])})"
    difference = row.get("difference")
    return text if difference is None or pd.isna(difference) else f"{text} [{difference:+.2f}]"


def between_of(row: Mapping[Any, Any]) -> str:
    """Write the interval of a figure, `84.21, 93.90`; empty where it has none."""
    low, high = row.get("ci_low", float("nan")), row.get("ci_high", float("nan"))
    return "" if pd.isna(low) else f"{low:.2f}, {high:.2f}"


def to_csv(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as CSV, one line each, two decimals; see `inert`."""
    whole = _whole(long)
    names = [name for name in (*ROW, "dataset", "source") if name in whole]
    whole = whole.assign(**{name: whole[name].map(inert) for name in names})
    return str(whole.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def _drawn(rows: pd.DataFrame) -> list[str]:
    """Return the backbones of rows on real data that have only ever seen drawings."""
    if "stand_in" not in rows:
        return []
    return [str(name) for name in rows.loc[rows["stand_in"] & (rows["data"] == "real"), "backbone"].unique()]


def _with_warnings(whole: pd.DataFrame) -> pd.DataFrame:
    """Put the column `warning` in place of `stand_in` where rows on real data have such a backbone."""
    said = {name: warning_of([name]) for name in _drawn(whole)}
    rows = whole.drop(columns="stand_in", errors="ignore")
    if not said:
        return rows
    return rows.assign(warning=whole["backbone"].map(said).where(whole["stand_in"] & (whole["data"] == "real"), ""))


def _whole(long: pd.DataFrame) -> pd.DataFrame:
    whole = completed(long)
    if "df" in whole:
        whole = whole.assign(df=whole["df"].replace(float("inf"), float("nan")))  # the normal distribution applies
    return _with_warnings(whole.astype({name: "Int64" for name in COUNTS if name in whole}))


def to_json(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as a JSON list, one object each, two decimals, null for no value."""
    whole = _whole(long)
    rounded = whole.round({name: 2 for name in ROUNDED if name in whole})
    rows = rounded.astype(object).where(rounded.notna(), None).to_dict("records")
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(long: pd.DataFrame, figures: Sequence[str] = STANDARD) -> str:
    """Return a Markdown table for each of `parts`, rows that the best one is not better than in bold."""
    blocks, name = [legend(long) + "\n"], ""
    for part in parts(long, figures, MARKDOWN):
        if part.section.name != name:
            name, common = part.section.name, escape(part.section.common)
            blocks.append(f"### {name}\n" + (f"\n{common}\n" if common else ""))
        keys = len(part.section.rows.columns) + ("rank" in part.header)
        lines = ["| " + " | ".join(map(escape, part.header)) + " |", "|" + "---|" * len(part.header)]
        lines += ["| " + " | ".join([*map(escape, row[:keys]), *row[keys:]]) + " |" for row in part.rows]
        lines += ["", *(f"* {escape(note)}" for note in part.notes)] if part.notes else []
        blocks.append(f"#### {part.heading}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def legend(long: pd.DataFrame, mark: str = "Bold") -> str:
    """Explain the figures, and the intervals where there are some; `mark` is what the best rows are marked with."""
    some = "ci_low" in long and bool(long["ci_low"].notna().any())
    return f"{INTERVALS.format(mark=mark) if some else MEANS} {SYMBOLS}"


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line, with no more backslashes than that needs.

    >>> print(escape("few_shot a|b `c` [d](e) <f>"))
    few_shot a\|b \`c\` [d]\(e) \<f>
    """
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
