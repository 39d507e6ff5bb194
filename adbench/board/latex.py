"""LaTeX tables (booktabs) of a leaderboard: one for each of `sections`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from adbench.board.figure import BEST, HEADLINE, between_of, marks_of, metric_title, shown
from adbench.board.names import display_name
from adbench.board.sections import Section, counts, notes, ranks, runs, sections

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",  # \textquotedbl is unknown to LaTeX's default font encoding
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "–": r"\textendash{}",
    "[": "{[}",  # after the \\ of the previous line, LaTeX would read this and the star as its arguments
    "*": "{*}",
} | {character: f"\\{character}" for character in "{}$&#%_"}  # fmt: skip
MARKS = {"best": r"\textbf{%s}", "": "%s"}


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is, on one line.

    >>> print(escape("a_b&c"))
    a\_b\&c
    >>> print(escape("lr=1e--3 [x]"))
    lr=1e-{}-3 {[}x]
    """
    plain = "".join(ESCAPES.get(character, character) for character in " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", plain)  # two hyphens would be one dash


def to_latex(long: pd.DataFrame, figures: Sequence[str] = HEADLINE) -> str:
    """Return one `table` environment per section; needs the packages booktabs, and for accents UTF-8 input.

    Figures have their intervals, and bold are those of rows that the best one of their protocol and number of shots is
    not better than; a rule separates such groups. Methods and datasets have their display names. The number of runs is
    in the caption where it is the same everywhere, else in brackets after each mean, also `(1)` where other figures of
    the row have more. What is to be said of single intervals stands in comments before the table.
    """
    tables = (_table(section, number) for number, section in enumerate(sections(long, figures), 1))
    return "% \\usepackage{booktabs}\n\n" + "\n".join(tables)


def _table(section: Section, number: int) -> str:
    keys = [str(key) for key in section.rows.columns]
    numbers = {int(n) for column in section.columns.values() for n in column["n"].dropna() if n > 0}
    with_counts = len(numbers) > 1
    between = any("ci_low" in column and column["ci_low"].notna().any() for column in section.columns.values())
    said = [section.title, *_captions(section, between, bool(numbers) and not with_counts)]
    caption = "; ".join(filter(None, [*said, section.warning]))
    texts = [list(_column(column, with_counts, section.uneven)) for column in section.columns.values()]
    places = ranks(section, next(iter(section.columns))[1])
    keys += ["rank"] if places else []
    lines = [
        *(f"% {' '.join(note.split())}" for note in notes(section)),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:adbench-{number}}}",
        rf"\begin{{tabular}}{{@{{}}{'l' * len(keys)}{'r' * len(texts)}@{{}}}}",
        r"\toprule",
        *_header(section, keys),
        r"\midrule",
    ]
    before = None
    for number_of_row, row in enumerate(section.rows.to_dict("records")):
        group = tuple(row.get(key) for key in ("protocol", "shots"))
        lines += [r"\midrule"] if before not in (None, group) else []
        before = group
        names = [display_name("method", str(row[key])) if key == "method" else str(row[key]) for key in row]
        names += [places[number_of_row]] if places else []
        lines.append(" & ".join([*map(escape, names), *(text[number_of_row] for text in texts)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _header(section: Section, keys: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the head: metrics, each over its columns, the rules below them, keys and datasets."""
    over, rules, first = [""] * len(keys), [], len(keys) + 1
    for metric, group in groupby(section.columns, key=lambda column: column[1]):
        width = len(list(group))
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(metric_title(metric))}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    yield " & ".join(over) + r" \\"
    yield " ".join(rules)
    names = [key.replace("_", " ") for key in keys]
    names += [display_name("dataset", dataset) for dataset, _ in section.columns]
    yield " & ".join(map(escape, names)) + r" \\"


def _captions(section: Section, between: bool, even: bool) -> Iterator[str]:
    """Yield what the figures are: `even`, means over one number of runs; `between`, with intervals."""
    repeated = runs(section) if even and max(column["n"].max() for column in section.columns.values()) > 1 else ""
    if between:
        yield f"mean{f' over {repeated}' if repeated else ''} and its 95 % interval for new patients and new draws"
        yield BEST.format(mark="bold").rstrip(".")
    elif repeated:
        yield f"mean ± standard deviation over {repeated}"
    if not even and (several := [f"({n}): {text}" for n, text in counts(section).items() if n > 1]):
        yield f"over {', '.join(several)}"


def _column(column: pd.DataFrame, with_counts: bool, uneven: Sequence[bool]) -> Iterator[str]:
    for row, mark, odd in zip(column.to_dict("records"), marks_of(column), uneven, strict=True):
        text = MARKS[mark] % escape(shown(row))
        if between := between_of(row):
            text += f" {escape(f'[{between}]')}"
        elif not pd.isna(row["std"]):
            text += rf" $\pm$ {row['std']:.2f}"
        if with_counts and (row["n"] > 1 or (odd and row["n"] == 1)):
            text += f" ({int(row['n'])})"
        if not pd.isna(row.get("difference", float("nan"))):
            text += f" {{[}}{row['difference']:+.2f}]"
        yield text
