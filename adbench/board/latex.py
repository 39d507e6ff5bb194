"""LaTeX tables (booktabs) of a leaderboard: one for each of `render.sections`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from adbench.board.render import HEADLINE, TITLES, Section, best_two, runs, sections, shown

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
RANKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}


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

    The best figure of a column is bold, the second underlined, compared as printed with two decimals; costs and leaks
    are not ranked. The number of runs is in the caption where it is the same everywhere, else in brackets after each
    mean, also `(1)` where other figures of the row have more.
    """
    tables = (_table(section, number) for number, section in enumerate(sections(long, figures), 1))
    return "% \\usepackage{booktabs}\n\n" + "\n".join(tables)


def _table(section: Section, number: int) -> str:
    keys = [str(key) for key in section.rows.columns]
    counts = {int(n) for column in section.columns.values() for n in column["n"].dropna() if n > 0}
    with_counts = len(counts) > 1
    caption = section.title
    if counts and not with_counts and max(counts) > 1:
        caption += f"; mean ± standard deviation over {runs(section)}"
    texts = [
        list(_column(metric, column, with_counts, section.uneven)) for (_, metric), column in section.columns.items()
    ]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:adbench-{number}}}",
        rf"\begin{{tabular}}{{@{{}}{'l' * len(keys)}{'r' * len(texts)}@{{}}}}",
        r"\toprule",
        *_header(section, keys),
        r"\midrule",
    ]
    for row, *cells in zip(section.rows.to_numpy(), *texts, strict=True):
        lines.append(" & ".join([*(escape(str(key)) for key in row), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _header(section: Section, keys: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the head: metrics, each over its columns, the rules below them, keys and datasets."""
    over, rules, first = [""] * len(keys), [], len(keys) + 1
    for metric, group in groupby(section.columns, key=lambda column: column[1]):
        width = len(list(group))
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(TITLES.get(metric, metric.replace('_', ' ')))}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    yield " & ".join(over) + r" \\"
    yield " ".join(rules)
    names = [key.replace("_", " ") for key in keys] + [dataset for dataset, _ in section.columns]
    yield " & ".join(map(escape, names)) + r" \\"


def _column(metric: str, column: pd.DataFrame, with_counts: bool, uneven: Sequence[bool]) -> Iterator[str]:
    marks = best_two(metric, column["mean"].tolist(), column["half_width"].tolist())
    for row, mark, odd in zip(column.to_dict("records"), marks, uneven, strict=True):
        text = RANKS[mark] % escape(shown(row))
        if not pd.isna(row["std"]):
            text += rf" $\pm$ {row['std']:.2f}"
        if with_counts and (row["n"] > 1 or (odd and row["n"] == 1)):
            text += f" ({int(row['n'])})"
        if not pd.isna(row.get("difference", float("nan"))):
            text += f" {{[}}{row['difference']:+.2f}]"
        yield text
