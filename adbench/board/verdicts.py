"""Tables of comparisons: a frame for CSV and JSON, and text for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from adbench.board import latex
from adbench.board.compare import Comparison, advice, needs
from adbench.board.render import escape
from adbench.system.text import counted

HALF = 0.05  # points of computation error from which on it is worth a sentence
HEADER = ("dataset", "metric", "first", "second", "difference", "interval", "p (Holm)", "verdict")


def frame(done: Sequence[Comparison], margin: float, level: float, power: float | None = None) -> pd.DataFrame:
    """Return one row per comparison; differences, intervals and standard errors in points.

    se_patients, se_draws: the parts of the standard error that more draws, and that more patients, can't shrink.
    half_width: the computation error of the difference, see docs/metrics.md.
    """
    rows = []
    for one in done:
        d = one.difference
        rows.append({
            "dataset": one.dataset, "metric": one.metric, "first": one.first, "second": one.second,
            "difference": d.estimate if d else None, "ci_low": d.low if d else None, "ci_high": d.high if d else None,
            "level": level, "df": d.df if d and math.isfinite(d.df) else None, "se": d.se if d else None,
            "se_patients": math.sqrt(d.patients) if d else None, "se_draws": math.sqrt(d.draws) if d else None,
            "p_holm": None if math.isnan(one.p) else one.p, "verdict": one.verdict, "margin": margin,
            "patients": one.patients, "images": one.images, "draws": one.draws,
            "detectable": None if math.isnan(one.detectable) else one.detectable,
            "help": advice(one, margin, level), "only_one_side": one.only, "why_not": one.why,
            "half_width": one.half_width,
        } | ({"needs": needs(one, power, level)} if power is not None else {}))  # fmt: skip
    return pd.DataFrame(rows)


def as_json(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `frame` with null for what is missing."""
    return [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]


def texts(one: Comparison) -> dict[str, str]:
    """Return the cells of a comparison by the names of `HEADER`, without those that it has not."""
    d = one.difference
    cells = {"dataset": one.dataset, "metric": one.metric, "first": one.first, "second": one.second}
    if d is not None:
        cells |= {"difference": f"{d.estimate:+.2f}", "interval": f"{d.low:+.2f} to {d.high:+.2f}"}
        cells |= {"p (Holm)": "" if math.isnan(one.p) else f"{one.p:.3f}" if one.p >= 0.001 else "<0.001"}
    return cells | {"verdict": one.verdict}


def to_markdown(done: Sequence[Comparison], margin: float, level: float, notes: Sequence[str] = ()) -> str:
    """Return a Markdown table with its legend and notes."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for one in done:
        cells = texts(one)
        lines.append("| " + " | ".join(escape(cells.get(name, "")) for name in HEADER) + " |")
    under = [f"Note: {escape(note)}" for note in (*notes, *reasons(done))]
    return "\n".join([*lines, "", legend(done, margin, level), *(line for note in under for line in ("", note))])


def to_latex(done: Sequence[Comparison], margin: float, level: float, notes: Sequence[str] = ()) -> str:
    """Return a `table` environment (booktabs) with its legend and notes as the caption."""
    head = " & ".join(latex.escape(name) for name in HEADER)
    rows = [
        " & ".join(latex.escape(texts(one).get(name, "")) for name in HEADER) + r" \\" for one in done
    ]  # fmt: skip
    caption = " ".join([legend(done, margin, level), *notes, *reasons(done)])
    return "\n".join([
        r"% \usepackage{booktabs}", "", r"\begin{table}", rf"\caption{{{latex.escape(caption)}}}",
        rf"\begin{{tabular}}{{{'l' * 4}{'r' * 3}l}}", r"\toprule", head + r" \\", r"\midrule", *rows, r"\bottomrule",
        r"\end{tabular}", r"\end{table}",
    ])  # fmt: skip


def reasons(done: Sequence[Comparison]) -> list[str]:
    """Return why comparisons have no interval, in sentences."""
    return [f"{one.first} and {one.second} on {one.dataset}: {one.why}" for one in done if one.difference is None]


def undecided(done: Sequence[Comparison], margin: float, level: float) -> list[str]:
    """Return what each undecided pair would have shown, and what would show its difference, in a sentence each."""
    return [
        f"{_pair(one, done)} ({counted(one.patients, 'patient')}, {counted(one.draws, 'draw')}): "
        + "; ".join(filter(None, [f"detects {one.detectable:.1f} points", advice(one, margin, level)]))
        + "."
        for one in done
        if one.verdict == "undecided"
    ]


def found_with(done: Sequence[Comparison], power: float, level: float) -> list[str]:
    """Return how many draws and patients find a difference of `power` points, in a sentence for each pair."""
    return [f"{_pair(one, done)}, to find {power:g} points: {needs(one, power, level).rstrip('.')}." for one in done]


def _pair(one: Comparison, among: Sequence[Comparison]) -> str:
    """Name both rows of a comparison, with dataset and metric where several are among them."""
    shared = [len({getattr(other, name) for other in among}) == 1 for name in ("dataset", "metric")]
    where = [text for text, same in zip((one.dataset, one.metric), shared, strict=True) if not same]
    return ", ".join([f"{one.first} – {one.second}", *where])


def computation(done: Sequence[Comparison]) -> list[str]:
    """Return a sentence on computation errors for each metric of which some are worth one."""
    most: dict[str, float] = {}
    for one in done:
        if one.difference and one.half_width > HALF:
            most[one.metric] = max(one.half_width, most.get(one.metric, 0.0))
    return [
        f"differences of {metric} have a computation error of up to ± {half:.2f} points; within it none has a verdict."
        for metric, half in most.items()
    ]


def legend(done: Sequence[Comparison], margin: float, level: float) -> str:
    """Return what the columns mean, in sentences for a caption: also for which draws and models intervals hold."""
    known = [one for one in done if one.difference is not None]
    several, single = (any((one.draws > 1) is many for one in known) for many in (True, False))
    population = "new draws" if several or not single else "this draw alone"
    population += "; of a single draw, for this draw alone" if several and single else ""
    population += "; of folds, for these models" if any("folds)" in one.dataset for one in known) else ""
    return (
        f"Difference (first minus second) in points with its {100 * level:g} % interval for new patients and "
        f"{population} (Obuchowski-Rockette-Hillis, jackknife over patients); p after Holm within a dataset and "
        f"metric. Equivalent: the interval lies within {margin:g} point{'s' * (margin != 1)} of zero; better or worse: "
        f"p < {1 - level:.2g}."
    )
