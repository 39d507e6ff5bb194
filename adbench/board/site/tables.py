"""Tables of the site, as a template needs them: column heads, rows and cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from adbench.board.figure import BEST, between_of, marks_of, metric_title, shown
from adbench.board.leaderboard import FIGURES, ROW, figures, with_leaks
from adbench.board.sections import Section, notes, ranking_column, ranks
from adbench.board.site.records import SiteRecord, anchor, dataset_page

FILTERS = ("dataset", "method", "protocol", "shots", "backbone")


class ColumnHead(NamedTuple):
    """The head of a column; the filters show and hide columns by `dataset` and `metric`."""

    text: str
    sub: str = ""
    number: bool = False
    dataset: str = ""
    metric: str = ""


class TableCell(NamedTuple):
    """One cell of a table: its text, the value it is sorted by, its rank (`mark`) and its link.

    `sub` is set small after the text and padded to `room` characters so that a column aligns.
    """

    text: str
    sub: str = ""
    room: int = 0
    value: str | None = None
    mark: str = ""
    href: str = ""
    links: Sequence[tuple[str, str]] = ()


class TableRow(NamedTuple):
    """A row, with the values that filters compare, and the id that links lead to."""

    cells: Sequence[TableCell]
    filters: Mapping[str, Any]
    name: str = ""


class SiteTable(NamedTuple):
    """A table with its caption."""

    caption: str
    heads: Sequence[ColumnHead]
    rows: Sequence[TableRow]


Owners = dict[tuple[tuple[str, ...], str], list[SiteRecord]]


def owners(entries: Sequence[SiteRecord]) -> Owners:
    """Return the records that each figure of the leaderboard averages, by group and dataset."""
    members: Owners = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.order):
        members[entry.group, entry.line["dataset"]].append(entry)
    return members


def caption(section: Section) -> str:
    """Return the unit of a section and the settings that all its rows share."""
    shared = ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in section.shared.items() if text)
    unit = section.units
    if any(between_of(row) for column in section.columns.values() for row in column.to_dict("records")):
        unit = f"mean [95 % interval for new patients and new draws] (number of runs), {unit}"
    elif section.data != "published":
        unit = f"mean ± standard deviation (number of runs), {unit}"
    said = "".join(f" {note}." if not note.endswith(".") else f" {note}" for note in notes(section))
    return "; ".join(filter(None, [unit[:1].upper() + unit[1:], shared])) + f".{said}"


def matrix(section: Section, members: Owners, root: str, links: bool = False) -> SiteTable:
    """Lay out a section: rows are settings, columns datasets times metrics.

    A figure links to its record or, where it is a mean of several, to its row on the dataset's page. With `links`, a
    last column lists the records, and rows have ids.
    """
    keys = [str(key) for key in section.rows.columns]
    first = next(iter(section.columns))[1]
    places = ranks(section, first)
    heads = [ColumnHead(key.replace("_", " ")) for key in keys]
    heads += [ColumnHead("rank", "", True, ranking_column(section, first), first)] if places else []
    for dataset, metric in section.columns:
        title = metric_title(metric)
        heads.append(ColumnHead(title, "", True) if links else ColumnHead(dataset, title, True, dataset, metric))
    heads += [ColumnHead("records")] if links else []
    columns = [_figures(column, section.uneven) for column in section.columns.values()]
    rows = []
    for number, texts in enumerate(section.rows.astype(str).to_dict("records")):
        settings = section.shared | {key: texts[key] for key in keys}
        settings |= {"data": section.data, "standing": section.standing}
        group = tuple(str(settings[key]) for key in ROW)
        cells = [TableCell(texts[key]) for key in keys]
        cells += [TableCell(places[number], value=places[number].partition(" ")[0].strip("–"))] if places else []
        datasets: dict[str, None] = {}
        averaged: list[SiteRecord] = []
        for (dataset, _), column in zip(section.columns, columns, strict=True):
            entries = members.get((group, dataset), [])
            if column[number].value:
                datasets[dataset] = None
            averaged += [entry for entry in entries if entry not in averaged] if links else []
            cells.append(column[number]._replace(href=_target(entries, root)) if entries else column[number])
        if links:
            cells.append(TableCell("", links=[(entry.which, f"{root}cells/{entry.name}.html") for entry in averaged]))
        words = {key: str(settings[key]) for key in FILTERS if key != "dataset"} | {"dataset": list(datasets)}
        rows.append(TableRow(cells, words, anchor(group) if links else ""))
    return SiteTable(f"{caption(section)}{_legend(rows)}", heads, rows)


def _legend(rows: Sequence[TableRow]) -> str:
    """Explain bold and linked figures, where a table has them."""
    figures = [cell for row in rows for cell in row.cells if cell.value is not None]
    sentences = []
    if any(cell.mark for cell in figures):
        sentences.append(
            f" {BEST.format(mark='Bold')} Rank (interval): among rows of one protocol and number of shots."
        )
    if any(cell.href for cell in figures):
        sentences.append(" Underlined figures link to their record; means of several records link to their row.")
    return "".join(sentences)


def listing(entries: Sequence[SiteRecord], root: str) -> SiteTable:
    """Lay out one row per record, with the settings in which records differ."""
    keys = [key for key in ROW if key not in ("data", "standing")]
    keys = [key for key in keys if key == "method" or len({entry.line[key] for entry in entries}) > 1]
    values = {entry.name: figures(entry.record) for entry in entries}
    metrics = [metric for metric in with_leaks(FIGURES) if any(metric in known for known in values.values())]
    heads = [
        ColumnHead("record"),
        *(ColumnHead(key.replace("_", " ")) for key in [keys[0], "dataset", *keys[1:], "draw", "seed"]),
    ]
    heads += [ColumnHead(metric_title(metric), "", True, "", metric) for metric in metrics]
    rows = []
    for entry in sorted(entries, key=lambda entry: (entry.line["dataset"], entry.group, entry.order)):
        line = entry.line
        cells = [TableCell(entry.record.key[:8], href=f"{root}cells/{entry.name}.html")]
        cells += [
            TableCell(line["method"]),
            TableCell(line["dataset"], href=f"{root}datasets/{dataset_page(line)}.html"),
        ]
        cells += [TableCell(line[key]) for key in keys[1:]] + [TableCell(entry.draw), TableCell(entry.seed)]
        cells += [_number(values[entry.name].get(metric)) for metric in metrics]
        words = {key: line[key] for key in FILTERS if key != "dataset"} | {"dataset": [line["dataset"]]}
        rows.append(TableRow(cells, words))
    text = "Per cent, one row per record. –: does not apply. The first column links to the record's page."
    return SiteTable(text, heads, rows)


def _number(value: float | None) -> TableCell:
    return TableCell("–", value="") if value is None else TableCell(f"{value:.2f}", value=f"{value:.6g}")


def _figures(column: pd.DataFrame, uneven: Sequence[bool]) -> list[TableCell]:
    cells = []
    for row, mark, odd in zip(column.to_dict("records"), marks_of(column), uneven, strict=True):
        mean, std, difference = row["mean"], row["std"], row.get("difference")
        words = [f"[{between}]"] if (between := between_of(row)) else [] if pd.isna(std) else [f"± {std:.2f}"]
        words += [f"({int(row['n'])})"] if row["n"] > 1 or (odd and row["n"] == 1) else []
        words += [] if difference is None or pd.isna(difference) else [f"[{difference:+.2f}]"]
        if pd.isna(mean):
            cells.append(TableCell(shown(row), value=""))
        else:
            cells.append(TableCell(shown(row), " ".join(words), value=f"{mean:.6g}", mark=mark))
    room = max(len(cell.sub) for cell in cells)
    return [cell._replace(room=room) for cell in cells]


def _target(entries: Sequence[SiteRecord], root: str) -> str:
    first = entries[0]
    if len(entries) == 1:
        return f"{root}cells/{first.name}.html"
    return f"{root}datasets/{dataset_page(first.line)}.html#{anchor(first.group)}"
