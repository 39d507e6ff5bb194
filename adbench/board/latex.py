"""A leaderboard as LaTeX: one booktabs table for each of `render.sections`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from adbench.board.render import HEADLINE, TITLES, Section, sections, shown, standouts

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
    "[": "{[}",  # after the \\ of the line above, this and the star would be read as its arguments
    "*": "{*}",
} | {character: f"\\{character}" for character in "{}$&#%_"}  # fmt: skip
MARKS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "": "%s"}


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

    Best figures of a column are bold, second ones underlined, as printed with two decimals; costs and leaks are not
    ranked. The number of draws and seeds stands in the caption where it is the same everywhere, else behind figures;
    `(1)` where others of its row have more.
    """
    tables = (_table(section, number) for number, section in enumerate(sections(long, figures), 1))
    return "% \\usepackage{booktabs}\n\n" + "\n".join(tables)


def _table(section: Section, number: int) -> str:
    keys = [str(key) for key in section.rows.columns]
    counts = {int(n) for column in section.columns.values() for n in column["n"].dropna() if n > 0}
    told = len(counts) > 1
    caption = section.title
    if counts and not told and max(counts) > 1:
        caption += f"; mean ± standard deviation over {max(counts)} draws and seeds"
    texts = [list(_column(metric, column, told, section.uneven)) for (_, metric), column in section.columns.items()]
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
    """Yield a line of metrics over the columns of each, the rules beneath, and a line of keys and datasets."""
    over, rules, at = [""] * len(keys), [], len(keys) + 1
    for metric, group in groupby(section.columns, key=lambda column: column[1]):
        width = len(list(group))
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(TITLES.get(metric, metric.replace('_', ' ')))}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    yield " & ".join(over) + r" \\"
    yield " ".join(rules)
    names = [key.replace("_", " ") for key in keys] + [dataset for dataset, _ in section.columns]
    yield " & ".join(map(escape, names)) + r" \\"


def _column(metric: str, column: pd.DataFrame, told: bool, uneven: Sequence[bool]) -> Iterator[str]:
    marks = standouts(metric, column["mean"].tolist(), column["half_width"].tolist())
    for row, mark, odd in zip(column.to_dict("records"), marks, uneven, strict=True):
        text = MARKS[mark] % escape(shown(row))
        if not pd.isna(row["std"]):
            text += rf" $\pm$ {row['std']:.2f}"
        if told and (row["n"] > 1 or (odd and row["n"] == 1)):
            text += f" ({int(row['n'])})"
        if not pd.isna(row.get("difference", float("nan"))):
            text += f" {{[}}{row['difference']:+.2f}]"
        yield text
