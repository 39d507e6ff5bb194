"""The command `adbench leaderboard`: read records, average them, print and write tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import print_table
from adbench.errors import AdbenchError, did_you_mean
from adbench.records.record import files_of, incomplete
from adbench.system.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from adbench.board.intervals import Measured
    from adbench.board.render import Part
    from adbench.records.record import Record

PROCESSES = 2  # that verify records; what they find is remembered


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
    protocol: str | None = None,
    metric: str | None = None,
    intervals: bool | None = None,
    predictions: Path | None = None,
    problems: Sequence[str] = (),
) -> None:
    """Print the leaderboard of some folders of records, and write it as CSV, JSON or a site where asked.

    `predictions`: a CSV file of the score of every test image. `metric`: the only ones in tables and files.
    `intervals`: whether there are some; None: for at most `leaderboard.FEW` records. `problems`: of the bundles that
    the folders are from.

    Raises RecordError after that where records were left out: they can't be read, or two records of one cell disagree;
    with `intervals=True` also where a record's scores can't be read.
    """
    if markdown and latex:
        raise AdbenchError("--markdown and --latex exclude each other. Keep one.")
    from adbench.board import leaderboard, render
    from adbench.board import published as papers
    from adbench.board.averages import completed
    from adbench.board.figure import HEADLINE, STANDARD
    from adbench.system.files import check_outputs, write_output

    check_outputs(csv=csv, json=json, predictions=predictions, html=html)
    if html is not None:
        from adbench.board.site.build import check

        check(html)
    collected, left_out = leaderboard.collect(runs, PROCESSES)
    left_out += problems
    records = leaderboard.choose(collected, method, dataset, protocol) if collected else []
    if html is not None:
        from adbench.board.site.records import readable

        records, more = readable(records)
        left_out += more
    if not records:
        raise incomplete("of the leaderboard", left_out)
    long = leaderboard.table(records, costs)
    chosen = _chosen(metric, set(long["metric"]))
    contents = set(long[["dataset", "content"]].itertuples(index=False, name=None))
    notes = [f"{dataset}: {content}" for dataset, content in sorted(contents) if content]
    notes += [*leaderboard.partial_folds(records), *map(printable, leaderboard.several_versions(records))]
    if published:
        long = papers.added(long)
        if method is not None:
            long = long[long["method"].isin(leaderboard.matching("method", method, long["method"]))]
        notes += papers.problems()
        if without := sorted({leaderboard.plain(name) for name in long["dataset"]} - set(papers.figures()["dataset"])):
            notes.append(f"no published figures for {', '.join(without)}")
    if chosen is not None:
        long = long[long["metric"].isin([*leaderboard.with_leaks(chosen), *leaderboard.COSTS])]
    measured = None
    if intervals or (intervals is None and len(records) <= leaderboard.FEW):
        from adbench.board.intervals import judged

        measured = _measured(records, long, chosen, csv is not None or json is not None, markdown, html)
        long = judged(long, measured)
        problems = [f"no interval: {problem}" for problem in measured.problems]
        left_out += problems if intervals else []
        notes += [] if intervals else problems
    elif intervals is None:
        notes.append(f"intervals of {len(records)} records take a while: --intervals computes them, once")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    long = completed(long)
    for option, file, text in (("csv", csv, render.to_csv), ("json", json, render.to_json)):
        if file is not None:
            write_output(file, text(long).encode(), f"file with --{option} FILE", files_of(collected))
    if predictions is not None:
        from adbench.board.scores import scores_of, to_csv

        content = to_csv(scores_of(records)).encode()
        write_output(predictions, content, "file with --predictions FILE", files_of(collected))
    extra = leaderboard.COSTS if costs else ()
    if published and chosen is None and (long.loc[long["data"] == "published", "metric"] == papers.ACCURACY).any():
        extra = (papers.ACCURACY, *extra)
    if html is not None:
        from adbench.board.site.build import write

        alone = None if measured is None else measured.records
        html = write(records, long, html, (*(chosen or STANDARD), *extra), alone)
    if latex:
        from adbench.board.latex import to_latex

        print(to_latex(long, (*(chosen or HEADLINE), *extra)))
    elif markdown:
        print(render.to_markdown(long, (*(chosen or STANDARD), *extra)))
    else:
        _print_tables(render.parts(long, (*(chosen or HEADLINE), *extra)))
        if measured is not None and long["ci_low"].notna().any():
            print(render.INTERVALS.format(mark="*"))
        for file in (csv, json, predictions, html):
            if file is not None:
                print(f"written: {file}")
    if left_out:
        raise incomplete("of the leaderboard", left_out)


def _print_tables(parts: Iterable[Part]) -> None:
    for part in parts:
        title = "; ".join(filter(None, [part.section.name, part.heading, part.section.common]))
        print_table(part.header, part.rows, title, [f"note: {note}" for note in part.notes])


def _chosen(text: str | None, known: set[str]) -> list[str] | None:
    """Return the metrics that `--metric` names; raises AdbenchError for one that is unknown, or that no record has."""
    if text is None:
        return None
    from adbench.board.leaderboard import COSTS, FIGURES

    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name in COSTS:
            raise AdbenchError(f"--metric {name} is a cost: --costs adds all of them.")
        if name not in FIGURES:
            raise AdbenchError(f"--metric {name} is unknown: {did_you_mean(name, FIGURES)}")
        if name not in known:
            raise AdbenchError(f"--metric {name}: no record has it; there are {', '.join(sorted(known))}.")
    return names


def _measured(
    records: Sequence[Record], long: pd.DataFrame, chosen: Sequence[str] | None, files: bool, markdown: bool,
    html: Path | None,
) -> Measured:  # fmt: skip
    """Return the intervals of the metrics that are shown or written: of all in files, unless some are chosen."""
    from adbench.board.figure import HEADLINE, STANDARD
    from adbench.board.kept import intervals_of
    from adbench.board.leaderboard import FIGURES
    from adbench.config.schema import cache_folder

    shown = STANDARD if markdown else HEADLINE
    own = long[long["data"] != "published"]
    return intervals_of(records, own, chosen or (FIGURES if files or html else shown), cache_folder())
