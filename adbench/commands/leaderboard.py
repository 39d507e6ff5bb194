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
    runs: Sequence[Path],
    *,
    csv: Path | None = None,
    markdown: bool = False,
    json: Path | None = None,
    published: bool = False,
    costs: bool = False,
    latex: bool = False,
    html: Path | None = None,
    method: str | None = None,
    dataset: str | None = None,
) -> None:
    """Print the leaderboard of some folders of records, and write it as CSV, JSON or a site where asked.

    Raises RecordError after all that where records can't be read, or disagree with others of their cell.
    """
    if markdown and latex:
        raise AdbenchError("--markdown and --latex both say how to print. Keep one.")
    from adbench.board import leaderboard, render
    from adbench.board import published as papers
    from adbench.system.files import write_atomically

    if html is not None:
        from adbench.board.site.build import check

        check(html)
    collected, left_out = leaderboard.collect(runs)
    incomplete = RecordError(" ".join(["left out of the leaderboard:", *left_out]))
    if not collected:
        raise incomplete
    records = leaderboard.choose(collected, method, dataset)
    long = leaderboard.table(records, costs)
    if published:
        long = papers.added(long)
        if method is not None:
            long = long[long["method"].isin(leaderboard.matching("method", method, long["method"]))]
        if unknown := sorted({leaderboard.plain(name) for name in long["dataset"]} - set(papers.figures()["dataset"])):
            print(f"note: no paper's figures on {', '.join(unknown)}", file=sys.stderr)
    for option, file, text in (("csv", csv, render.to_csv), ("json", json, render.to_json)):
        if file is not None:
            write_atomically(file, text(long).encode(), f"file with --{option} FILE")
    extra = leaderboard.COSTS if costs else ()
    if html is not None:
        from adbench.board.site.build import write

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
    if left_out:
        raise incomplete


def _print_tables(parts: Iterable[Part]) -> None:
    for part in parts:
        title = "; ".join(filter(None, [part.section.name, part.heading, part.section.common]))
        table = Table(header_style="bold")
        for name in part.header:
            table.add_column(name, overflow="fold")
        for row in part.rows:
            table.add_row(*row)
        # Nobody folds what a file or another program reads.
        width = None if sys.stdout.isatty() else 10_000
        console = Console(highlight=False, markup=False, emoji=False, width=width)
        console.print(title, style="bold", soft_wrap=True)  # no title of the table: that is folded to the table's width
        console.print(table)
