"""`adbench leaderboard`: read records, aggregate, print and write."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from adbench.errors import AdbenchError, RecordError

if TYPE_CHECKING:
    from adbench.board.render import Part


def show_leaderboard(
    runs: Sequence[Path], csv: Path | None, markdown: bool, json: Path | None, published: bool, costs: bool,
    latex: bool, html: Path | None, method: str | None, dataset: str | None,
) -> None:  # fmt: skip
    """Print the leaderboard of some folders of records, and write it as CSV, JSON or a site where asked.

    Raises RecordError behind all that where records of one cell disagree.
    """
    if markdown and latex:
        raise AdbenchError("--markdown and --latex both say how to print. Keep one.")
    from adbench.board import leaderboard, render
    from adbench.board import published as papers
    from adbench.files import write_atomically

    if html is not None:
        from adbench.site.swap import check

        check(html)
    found, disagreements = leaderboard.collect(runs)
    disagreed = RecordError(" ".join([*disagreements, "Left out of the leaderboard; keep one record of each cell."]))
    if not found:
        raise disagreed
    records = leaderboard.choose(found, method, dataset)
    long = leaderboard.table(records, costs)
    if published:
        long = papers.added(long)
        if method is not None:
            long = long[long["method"].isin(leaderboard.matching("method", method, long["method"]))]
        if strange := sorted({leaderboard.plain(name) for name in long["dataset"]} - set(papers.figures()["dataset"])):
            print(f"note: no paper's figures on {', '.join(strange)}", file=sys.stderr)
    for file, text in ((csv, render.to_csv), (json, render.to_json)):
        if file is not None:
            write_atomically(file, text(long).encode())
    extra = leaderboard.COSTS if costs else ()
    if html is not None:
        from adbench.site.build import write

        html = write(records, long, html, (*leaderboard.FIGURES, *extra))
    if latex:
        from adbench.board.latex import to_latex

        print(to_latex(long, (*render.HEADLINE, *extra)))
    elif markdown:
        print(render.to_markdown(long, (*leaderboard.FIGURES, *extra)))
    else:
        _print_tables(render.parts(long, (*render.HEADLINE, *extra)))
        for file in (csv, json, html):
            if file is not None:
                print(f"written: {file}")
    if disagreements:
        raise disagreed


def _print_tables(parts: Iterable[Part]) -> None:
    for title, header, rows in parts:
        table = Table(title=title, title_justify="left", header_style="bold")
        for name in header:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*row)
        # Nobody folds what a file or another program reads.
        width = None if sys.stdout.isatty() else 10_000
        Console(highlight=False, markup=False, emoji=False, width=width).print(table)
