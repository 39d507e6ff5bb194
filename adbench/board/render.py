"""Tables of a leaderboard as text: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from adbench.board.averages import completed
from adbench.board.figure import BEST, STANDARD, figure, marks_of, metric_title
from adbench.board.leaderboard import COSTS, ROW, unit, with_leaks
from adbench.board.sections import Section, drawn, notes, ranks, sections
from adbench.board.stand_ins import warning_of
from adbench.system.text import inert

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
    f"interval. Rank (interval): among rows of one protocol and number of shots. {BEST}"
)


class Part(NamedTuple):
    """The table of one metric as printed text, for oracle rows with columns for the last epoch and the leak.

    notes: sentences on its intervals.
    """

    section: Section
    heading: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]


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
            yield Part(single, f"{metric_title(base)}, {units}", header, lines, notes(single))


def _texts(column: pd.DataFrame, uneven: Sequence[bool], marks: Mapping[str, str]) -> list[str]:
    rows = zip(column.to_dict("records"), marks_of(column), uneven, strict=True)
    return [figure(row, marks[mark], odd) for row, mark, odd in rows]


def to_csv(long: pd.DataFrame) -> str:
    """Return figures, averages and missing cells as CSV, one line each, two decimals; see `inert`."""
    whole = _whole(long)
    names = [name for name in (*ROW, "dataset", "source") if name in whole]
    whole = whole.assign(**{name: whole[name].map(inert) for name in names})
    return str(whole.to_csv(index=False, float_format="%.2f", lineterminator="\n"))


def _with_warnings(whole: pd.DataFrame) -> pd.DataFrame:
    """Put the column `warning` in place of `stand_in` where rows on real data have such a backbone."""
    said = {name: warning_of([name]) for name in drawn(whole)}
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
    """Return a Markdown table for each of `parts`, with the rows that `BEST` describes in bold."""
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
