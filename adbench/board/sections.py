"""Sections of a leaderboard: its tables, by kind of data and standing, with their rows in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from adbench.board.averages import averages, completed
from adbench.board.figure import STANDARD, VISIBLE, metric_title, rank
from adbench.board.leaderboard import COSTS, MEAN, ROW, base_of, with_leaks
from adbench.board.peers import complete
from adbench.board.stand_ins import warning_of
from adbench.records.standing import caveat


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
        yield Section(data, standing, shared, ordered, _columns(part, ordered, names), warning_of(drawn(part)))


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
    said: dict[str, set[tuple[int, str, str]]] = {}
    titles = {metric: metric_title(base_of(metric)) for _, metric in section.columns}
    for (dataset, metric), column in section.columns.items():
        texts: list[str] = column["ci_note"].fillna("").tolist() if "ci_note" in column else []
        for row, text in enumerate(texts):
            if text:
                said.setdefault(text, set()).add((row, dataset, titles[metric]))
    names = [" ".join(filter(None, map(str, row))) for row in section.rows.to_numpy()]
    datasets = list(dict.fromkeys(dataset for dataset, _ in section.columns))
    metrics = list(dict.fromkeys(titles.values()))
    sentences = [f"warning: {section.warning}"] if section.warning else []
    for text, places in said.items():
        rows = sorted({row for row, *_ in places})
        where = [dataset for dataset in datasets if any(name == dataset for _, name, _ in places)]
        which = [metric for metric in metrics if any(name == metric for *_, name in places)]
        parts = ["; ".join(names[row] for row in rows)] if len(rows) < len(names) else []
        parts += [f"on {', '.join(where)}"] if len(where) < len(datasets) else []
        parts += [f"in {', '.join(which)}"] if len(which) < len(metrics) else []
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


def drawn(rows: pd.DataFrame) -> list[str]:
    """Return the backbones of rows on real data that have only ever seen drawings."""
    if "stand_in" not in rows:
        return []
    return [str(name) for name in rows.loc[rows["stand_in"] & (rows["data"] == "real"), "backbone"].unique()]
