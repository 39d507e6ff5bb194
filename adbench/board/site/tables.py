"""The tables of the site, as what a template needs: heads, rows and cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.leaderboard import FIGURES, ROW, figures, with_leaks
from adbench.board.render import TITLES, Section, shown, standouts
from adbench.board.site.entries import Entry, anchor, dataset_name

FILTERS = ("dataset", "method", "protocol", "shots", "backbone")


class Head(NamedTuple):
    """The head of a column; `dataset` and `metric` are what columns are shown and hidden by."""

    text: str
    sub: str = ""
    number: bool = False
    dataset: str = ""
    metric: str = ""


class Cell(NamedTuple):
    """One entry of a table: its text, what it is sorted by, its rank, where it leads.

    What stands small behind it has `room` characters, the same all down a column, so that the numbers stay aligned.
    """

    text: str
    sub: str = ""
    room: int = 0
    value: str | None = None
    mark: str = ""
    href: str = ""
    links: Sequence[tuple[str, str]] = ()


class Row(NamedTuple):
    """A row, and the words that filters look for."""

    cells: Sequence[Cell]
    filters: Mapping[str, Any]
    name: str = ""


class Table(NamedTuple):
    """A table; `wide` ones have a row of datasets, filtered by column."""

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Row]


Owners = dict[tuple[tuple[str, ...], str], list[Entry]]


def owners(entries: Sequence[Entry]) -> Owners:
    """Return which entries each figure of the leaderboard is the average of, by group and dataset."""
    found: Owners = defaultdict(list)
    for entry in sorted(entries, key=lambda one: one.order):
        found[entry.group, entry.line["dataset"]].append(entry)
    return found


def metric_title(metric: str) -> str:
    """Return how a metric is written."""
    return TITLES.get(metric, metric.replace("_", " "))


def caption(section: Section) -> str:
    """Say what all rows of a section share."""
    told = [f"{key.replace('_', ' ')} {text}" for key, text in section.shared.items() if text]
    unit = section.units
    if section.data != "published":
        unit = f"mean ± standard deviation (n) over draws and seeds, {unit}"
    return "; ".join([unit[:1].upper() + unit[1:], *([", ".join(told)] if told else [])]) + "."


def matrix(section: Section, own: Owners, root: str, links: bool = False) -> Table:
    """Lay out a section: rows are settings, columns datasets times metrics.

    A figure leads to its cell, or where it is an average to its row on the dataset's page. With `links` there is a
    last column that names the cells, and rows have ids.
    """
    keys = [str(key) for key in section.rows.columns]
    heads = [Head(key.replace("_", " ")) for key in keys]
    for dataset, metric in section.columns:
        title = metric_title(metric)
        heads.append(Head(title, "", True) if links else Head(dataset, title, True, dataset, metric))
    heads += [Head("cells")] if links else []
    columns = [_figures(metric, column, section.uneven) for (_, metric), column in section.columns.items()]
    rows = []
    for number, told in enumerate(section.rows.astype(str).to_dict("records")):
        whole = section.shared | {key: told[key] for key in keys}
        whole |= {"data": section.data, "standing": section.standing}
        group = tuple(str(whole[key]) for key in ROW)
        cells = [Cell(told[key]) for key in keys]
        datasets: dict[str, None] = {}
        made: list[Entry] = []
        for (dataset, _), column in zip(section.columns, columns, strict=True):
            found = own.get((group, dataset), [])
            if column[number].value:
                datasets[dataset] = None
            made += [entry for entry in found if entry not in made] if links else []
            cells.append(column[number]._replace(href=_target(found, root)) if found else column[number])
        if links:
            cells.append(Cell("", links=[(entry.which, f"{root}cells/{entry.name}.html") for entry in made]))
        words = {key: str(whole[key]) for key in FILTERS if key != "dataset"} | {"dataset": list(datasets)}
        rows.append(Row(cells, words, anchor(group) if links else ""))
    return Table(f"{caption(section)}{_legend(rows)}", heads, rows)


def _legend(rows: Sequence[Row]) -> str:
    """Say what marks and lines in a table mean, where it has them."""
    figures = [cell for row in rows for cell in row.cells if cell.value is not None]
    told = [" Bold is the best of a column, underlined the second."] if any(cell.mark for cell in figures) else []
    told += [" What has a line below leads to its cell, an average to its row."] if any(c.href for c in figures) else []
    return "".join(told)


def listing(entries: Sequence[Entry], root: str) -> Table:
    """Lay out one row per cell, with the keys in which they differ."""
    keys = [key for key in ROW if key not in ("data", "standing")]
    keys = [key for key in keys if key == "method" or len({entry.line[key] for entry in entries}) > 1]
    told = {entry.name: figures(entry.record) for entry in entries}
    metrics = [metric for metric in with_leaks(FIGURES) if any(metric in own for own in told.values())]
    heads = [Head("cell"), *(Head(key.replace("_", " ")) for key in [keys[0], "dataset", *keys[1:], "draw", "seed"])]
    heads += [Head(metric_title(metric), "", True, "", metric) for metric in metrics]
    rows = []
    for entry in sorted(entries, key=lambda one: (one.line["dataset"], one.group, one.order)):
        line = entry.line
        cells = [Cell(entry.record.key[:8], href=f"{root}cells/{entry.name}.html")]
        cells += [Cell(line["method"]), Cell(line["dataset"], href=f"{root}datasets/{dataset_name(line)}.html")]
        cells += [Cell(line[key]) for key in keys[1:]] + [Cell(entry.draw), Cell(entry.seed)]
        cells += [_number(told[entry.name].get(metric)) for metric in metrics]
        words = {key: line[key] for key in FILTERS if key != "dataset"} | {"dataset": [line["dataset"]]}
        rows.append(Row(cells, words))
    return Table("Per cent, one row per record; –: does not apply. The first column leads to a page.", heads, rows)


def _number(value: float | None) -> Cell:
    return Cell("–", value="") if value is None else Cell(f"{value:.2f}", value=f"{value:.6g}")


def _figures(metric: str, column: pd.DataFrame, uneven: Sequence[bool]) -> list[Cell]:
    marks = standouts(metric, column["mean"].tolist(), column["half_width"].tolist())
    cells = []
    for row, mark, odd in zip(column.to_dict("records"), marks, uneven, strict=True):
        mean, std, difference = row["mean"], row["std"], row.get("difference")
        words = [] if pd.isna(std) else [f"± {std:.2f}"]
        words += [f"({int(row['n'])})"] if row["n"] > 1 or (odd and row["n"] == 1) else []
        words += [] if difference is None or pd.isna(difference) else [f"[{difference:+.2f}]"]
        if pd.isna(mean):
            cells.append(Cell(shown(row), value=""))
        else:
            cells.append(Cell(shown(row), " ".join(words), value=f"{mean:.6g}", mark=mark))
    room = max(len(cell.sub) for cell in cells)
    return [cell._replace(room=room) for cell in cells]


def _target(found: Sequence[Entry], root: str) -> str:
    if len(found) == 1:
        return f"{root}cells/{found[0].name}.html"
    return f"{root}datasets/{dataset_name(found[0].line)}.html#{anchor(found[0].group)}"
