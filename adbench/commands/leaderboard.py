"""The command `adbench leaderboard`: read records, average them, print and write tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import print_table
from adbench.errors import AdbenchError, RecordError
from adbench.records.record import TABLES

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
    predictions: Path | None = None,
) -> None:
    """Print the leaderboard of some folders of records, and write it as CSV, JSON or a site where asked.

    `predictions`: a CSV file of the score of every test image.

    Raises RecordError after that where records were left out: they can't be read, or two records of one cell disagree.
    """
    if markdown and latex:
        raise AdbenchError("--markdown and --latex exclude each other. Keep one.")
    from adbench.board import leaderboard, render
    from adbench.board import published as papers
    from adbench.system.files import write_output

    if html is not None:
        from adbench.board.site.build import check

        check(html)
    collected, left_out = leaderboard.collect(runs)
    records = leaderboard.choose(collected, method, dataset) if collected else []
    if html is not None:
        from adbench.board.site.records import readable

        records, more = readable(records)
        left_out += more
    incomplete = RecordError(" ".join(["left out of the leaderboard:", *left_out]))
    if not records:
        raise incomplete
    long = leaderboard.table(records, costs, (papers.ACCURACY,) * published)
    contents = set(long[["dataset", "content"]].itertuples(index=False, name=None))
    notes = [f"{dataset}: {content}" for dataset, content in sorted(contents) if content]
    notes += leaderboard.partial_folds(records)
    if published:
        long = papers.added(long)
        if method is not None:
            long = long[long["method"].isin(leaderboard.matching("method", method, long["method"]))]
        notes += papers.problems()
        if without := sorted({leaderboard.plain(name) for name in long["dataset"]} - set(papers.figures()["dataset"])):
            notes.append(f"no published figures for {', '.join(without)}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    for option, file, text in (("csv", csv, render.to_csv), ("json", json, render.to_json)):
        if file is not None:
            read = (one.path / name for one in collected for name in TABLES)
            write_output(file, text(long).encode(), f"file with --{option} FILE", read)
    if predictions is not None:
        from adbench.board.scores import scores_of, to_csv

        read = (one.path / name for one in collected for name in TABLES)
        write_output(predictions, to_csv(scores_of(records)).encode(), "file with --predictions FILE", read)
    extra = leaderboard.COSTS if costs else ()
    if published and (long.loc[long["data"] == "published", "metric"] == papers.ACCURACY).any():
        extra = (papers.ACCURACY, *extra)
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
        for file in (csv, json, predictions, html):
            if file is not None:
                print(f"written: {file}")
    if left_out:
        raise incomplete


def _print_tables(parts: Iterable[Part]) -> None:
    for part in parts:
        title = "; ".join(filter(None, [part.section.name, part.heading, part.section.common]))
        print_table(part.header, part.rows, title)
