"""Certificates as text: rows for the terminal, CSV, LaTeX, and a page that opens from disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from adbench._version import __version__
from adbench.board import latex
from adbench.board.figure import TITLES, VISIBLE
from adbench.board.papers import Figure, paper
from adbench.board.site.build import filler
from adbench.reproduce.cells import PARAMETERS, PHANTOMS
from adbench.reproduce.certificate import Line, Rung, Summary, counts
from adbench.reproduce.listing import Repeat, command, frame_csv, tested
from adbench.reproduce.request import Request
from adbench.system.text import counted

HEADER = ("table", "method", "dataset", "shots", "metric", "paper", "as published", "leak", "clean", "verdict", "why")
SHORT = HEADER[:-1]
TO_CSV = {"value": "paper", "std": "paper_std"}
LEGEND = (
    "Figures in per cent. As published: our figure with all that the authors do, mean ± standard deviation (number of "
    "seeds). Leak: what choosing the epoch on the test split adds, in points. Clean: our figure for drawn supports and "
    "the last epoch, with its 95 % interval for new draws and new patients, of a single run for new patients alone. "
    "Reproduced: the paper's figure, as it rounds, lies within mean ± t s sqrt(1 + 1/n) of n >= 5 seeds as published."
)


def title(asked: Request) -> str:
    """Name the certificate.

    >>> title(Request(("madclip",)))
    'Certificate: MadCLIP (MICCAI 2025)'
    """
    return f"Certificate: {', '.join(paper(name).title for name in asked.papers)}"


def whole_title(asked: Request) -> str:
    """Name the certificate and the figures that were asked for."""
    return "; ".join(filter(None, [title(asked), part(asked)]))


def part(asked: Request) -> str:
    """Say which figures of the papers were asked for; empty for all.

    >>> part(Request(("madclip",), {"table": ("1",), "dataset": ("brainmri", "oct17")}))
    'table 1; dataset brainmri, oct17'
    """
    return "; ".join(f"{key} {', '.join(values)}" for key, values in asked.filters.items())


def summary(lines: Sequence[Line], left_out: int) -> str:
    """Count the verdicts, and the figures that can't be repeated."""
    texts = [f"{n} {verdict}" for verdict, n in sorted(counts(lines).items(), key=lambda item: item[0])]
    more = f"; {left_out} more can't be repeated here" if left_out else ""
    return f"{counted(len(lines), 'figure')}: {', '.join(texts)}{more}" if lines else f"no figure{more}"


def texts(line: Line) -> dict[str, str]:
    """Return the cells of a line by the names of `HEADER`."""
    figure, clean = line.figure, line.clean
    interval = "" if math.isnan(clean.low) else f" ({clean.low:.2f} to {clean.high:.2f})"
    return {
        "table": f"{figure.source} {figure.table}",
        "method": figure.method,
        "dataset": tested(figure),
        "shots": figure.shots,
        "metric": metric_name(figure),
        "paper": f"{figure.value:.2f}" + ("" if figure.std is None else f" ± {figure.std:.2f}"),
        "as published": spread(line.published),
        "leak": "–" if math.isnan(line.leak) else signed(line.leak),
        "clean": f"{mean(clean)}{interval}" if clean.values else "missing",
        "verdict": line.verdict,
        "why": line.why,
    }


def metric_name(figure: Figure) -> str:
    """Return the name of a figure's metric for people."""
    return "parameters, millions" if figure.metric == PARAMETERS else TITLES[figure.metric]


def spread(some: Summary) -> str:
    """Write `mean ± std (n)`; n alone where it is 1, and `missing` for none."""
    if not some.values:
        return "missing"
    return mean(some) + ("" if math.isnan(some.std) else f" ± {some.std:.2f}") + f" ({len(some.values)})"


def mean(some: Summary) -> str:
    """Write a mean with two decimals, `≈90.00` where its computation error is visible in them.

    >>> mean(Summary((90.0,))), mean(Summary((90.0,), half_width=0.74))
    ('90.00', '≈90.00')
    """
    return f"{'≈' * (some.half_width > VISIBLE)}{some.mean:.2f}"


def computation(lines: Sequence[Line]) -> str:
    """Say what `≈` means, with the largest computation error, rounded up; empty where no figure has it."""
    widest = max((some.half_width for line in lines for some in (line.published, line.clean)), default=0.0)
    return f"≈: computation error at most {math.ceil(100 * widest) / 100:.2f} points." if widest > VISIBLE else ""


def rung_text(rung: Rung) -> str:
    """Write one step of the ladder.

    >>> rung_text(Rung("selection=oracle", 91.0, 1.5))
    'selection=oracle +1.50'
    """
    return f"{rung.words} {signed(rung.moves)}"


def signed(value: float) -> str:
    """Write a difference in points; `?` for an unknown one.

    >>> signed(1.504), signed(-0.001), signed(math.nan)
    ('+1.50', '+0.00', '?')
    """
    return "?" if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def legend(lines: Sequence[Line]) -> str:
    """Return what the columns of a certificate mean, in sentences."""
    return " ".join(filter(None, [LEGEND, computation(lines)]))


def to_csv(lines: Sequence[Line]) -> str:
    """Return one line per figure, unrounded but for four decimals, with both commands.

    `paper` is the paper's figure, `ours` that of the cells as published, `clean` that of the clean ones.
    """
    rows = []
    for line in lines:
        ours, clean, figure = line.published, line.clean, line.figure._asdict()
        rows.append({TO_CSV.get(name, name): value for name, value in figure.items()} | {
            "ours": ours.mean, "ours_std": ours.std, "ours_n": len(ours.values), "ours_low": ours.low,
            "ours_high": ours.high, "ours_half_width": ours.half_width, "leak": line.leak,
            "clean": clean.mean, "clean_n": len(clean.values), "clean_low": clean.low, "clean_high": clean.high,
            "clean_half_width": clean.half_width,
            "verdict": line.verdict, "why": line.why, "ladder": "; ".join(map(rung_text, line.ladder)),
            "note": line.cells.repetition.note, **commands(line),
        })  # fmt: skip
    return frame_csv(pd.DataFrame(rows))


def commands(line: Line) -> dict[str, str]:
    """Return what to type for the cells that were run, as published and clean."""
    return {"command": again(line.cells.published), "clean_command": again(line.cells.clean)}


def again(repeats: Sequence[Repeat]) -> str:
    """Return the command of some repeats: with several values of a key where nothing else differs, else of the first.

    >>> again([("method=clip", "seed=0"), ("method=clip", "seed=1")])
    'adbench run method=clip seed=0,1'
    >>> again([("draw=0", "seed=0"), ("draw=1", "seed=1")])
    'adbench run draw=0 seed=0   # and draw=1 seed=1'
    """
    columns = [list(dict.fromkeys(column)) for column in zip(*repeats, strict=True)]
    if sum(len(column) > 1 for column in columns) < 2:
        return command(dict(_joined(column) for column in columns))
    others = (" ".join(word for word in repeat if word not in repeats[0]) for repeat in repeats[1:])
    return f"{command(dict(_joined([word]) for word in repeats[0]))}   # and {', '.join(others)}"


def _joined(words: Sequence[str]) -> tuple[str, str]:
    key = words[0].partition("=")[0]
    return key, ",".join(word.partition("=")[2] for word in words)


def to_latex(lines: Sequence[Line], asked: Request) -> str:
    """Return a `table` environment (booktabs) of all columns but the reasons."""
    rows = [" & ".join(latex.escape(texts(line)[name]) for name in SHORT) + r" \\" for line in lines]
    return "\n".join([
        r"% \usepackage{booktabs}", "", r"\begin{table}", r"\centering",
        rf"\caption{{{latex.escape(f'{whole_title(asked)}. {legend(lines)}')}}}",
        r"\begin{tabular}{@{}lllllrrrrl@{}}", r"\toprule", " & ".join(map(latex.escape, SHORT)) + r" \\", r"\midrule",
        *rows, r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def to_html(lines: Sequence[Line], left_out: Sequence[tuple[Figure, str]], asked: Request) -> str:
    """Return the certificate as one page without other files: a table for each table of a paper, ladders, commands.

    left_out: the figures that can't be repeated, each with the reason.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(f"{paper(line.figure.source).title}, Table {line.figure.table}", []).append(_shown(line))
    reasons: dict[str, list[str]] = {}
    for figure, reason in left_out:
        name = f"{figure.method}, {paper(figure.source).title} Table {figure.table}"
        if name not in reasons.setdefault(reason, []):
            reasons[reason].append(name)
    phantoms = any(PHANTOMS in line.why for line in lines)
    content = {
        "title": title(asked), "part": part(asked), "legend": legend(lines), "groups": groups, "reasons": reasons,
        "phantoms": phantoms, "left_out": len(left_out), "version": __version__, "counts": counts(lines),
    }  # fmt: skip
    return filler("adbench.reproduce")("certificate.html", content, "")


def _shown(line: Line) -> dict[str, Any]:
    found = line.cells.repetition
    first, ours = line.clean.mean, line.published.values
    return texts(line) | {
        "badge": line.verdict.replace(" ", "-"),
        "strip": _strip(line),
        "note": found.note,
        "no_interval": line.clean.why,
        **commands(line),
        "start": "" if math.isnan(first) else f"{first:.2f}",
        "gap": "" if PHANTOMS in line.why or not ours else signed(line.figure.value - line.published.mean),
        "ladder": [
            (rung.words, "?" if math.isnan(rung.mean) else f"{rung.mean:.2f}", signed(rung.moves))
            for rung in line.ladder
        ],
    }  # fmt: skip


WIDTH, PAD = 180, 6  # of the strips, in pixels


def _strip(line: Line) -> dict[str, Any] | None:
    """Return the places of the paper's figure, both means and their intervals on one axis; None without our figures."""
    ours, clean = line.published, line.clean
    numbers = [line.figure.value, ours.mean, ours.low, ours.high, clean.mean, clean.low, clean.high]
    known = [number for number in numbers if not math.isnan(number)]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    scale = (WIDTH - 2 * PAD) / ((high - low) or 1.0)
    places = [None if math.isnan(number) else round(PAD + (number - low) * scale, 1) for number in numbers]
    names = ("paper", "ours", "ours_low", "ours_high", "clean", "clean_low", "clean_high")
    return dict(zip(names, places, strict=True)) | {"low": f"{low:.1f}", "high": f"{high:.1f}", "width": WIDTH}
