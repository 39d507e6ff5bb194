"""The command `adbench leaderboard`: read records, average them, print and write tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import print_table
from adbench.errors import AdbenchError, did_you_mean
from adbench.records.record import files_of, incomplete
from adbench.system.text import printable

if TYPE_CHECKING:
    import pandas as pd

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
    from adbench.board import leaderboard, render
    from adbench.board.assembly import assembled
    from adbench.board.figure import HEADLINE, STANDARD
    from adbench.board.published import ACCURACY
    from adbench.system.files import check_outputs

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
    rows = leaderboard.table(records, costs)
    chosen = _chosen(metric, set(rows["metric"]))
    in_files = any(file is not None for file in (csv, json, html))
    long, measured = assembled(
        records, rows, method=method, published=published, metrics=chosen, intervals=intervals,
        measured=chosen or (leaderboard.FIGURES if in_files else STANDARD if markdown else HEADLINE),
    )  # fmt: skip
    unmeasured = [] if measured is None else [f"no interval: {problem}" for problem in measured.problems]
    left_out += unmeasured if intervals else []
    notes = [*_notes(records, rows, published), *([] if intervals else unmeasured)]
    if measured is None and intervals is None:
        notes.append(f"intervals of {len(records)} records take a while: --intervals computes them, once")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    _write(records, long, collected, csv, json, predictions)
    extra = leaderboard.COSTS if costs else ()
    if published and chosen is None and (long.loc[long["data"] == "published", "metric"] == ACCURACY).any():
        extra = (ACCURACY, *extra)
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


def _notes(records: Sequence[Record], rows: pd.DataFrame, published: bool) -> Iterator[str]:
    """Yield what readers of the records' own rows should know: other contents, missing folds, versions, papers."""
    from adbench.board import leaderboard
    from adbench.board import published as papers

    contents = set(rows[["dataset", "content"]].itertuples(index=False, name=None))
    yield from (f"{dataset}: {content}" for dataset, content in sorted(contents) if content)
    yield from leaderboard.partial_folds(records)
    yield from map(printable, leaderboard.several_versions(records))
    if published:
        yield from papers.problems()
        without = {leaderboard.plain(name) for name in rows["dataset"]} - set(papers.figures()["dataset"])
        if without:
            yield f"no published figures for {', '.join(sorted(without))}"


def _write(
    records: Sequence[Record], long: pd.DataFrame, read: Sequence[Record],
    csv: Path | None, json: Path | None, predictions: Path | None,
) -> None:  # fmt: skip
    """Write the files that are asked for; none may be a file of the records that were read."""
    from adbench.board import render, scores
    from adbench.system.files import write_output

    for option, file, text in (("csv", csv, render.to_csv), ("json", json, render.to_json)):
        if file is not None:
            write_output(file, text(long).encode(), f"file with --{option} FILE", files_of(read))
    if predictions is not None:
        content = scores.to_csv(scores.scores_of(records)).encode()
        write_output(predictions, content, "file with --predictions FILE", files_of(read))


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
