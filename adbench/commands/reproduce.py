"""The command `adbench reproduce`: list a paper's figures, run the cells that repeat them, write the certificate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import plain_console, print_table
from adbench.errors import AdbenchError, StoppedError, SweepError
from adbench.system.files import check_outputs, write_output
from adbench.system.text import counted

if TYPE_CHECKING:
    from adbench.board.papers import Figure
    from adbench.executors import Executor
    from adbench.reproduce.cells import Cells, Planned
    from adbench.reproduce.certificate import Line
    from adbench.reproduce.request import Request
    from adbench.sweeps.sweep import Task


@dataclass(frozen=True)
class Files:
    """Where a certificate is written, each where asked for."""

    csv: Path | None = None
    html: Path | None = None
    latex: Path | None = None


def list_figures(paper: str | None, words: Sequence[str], csv: Path | None) -> None:
    """Print a line for each published figure, with the command that repeats it or why there is none."""
    from adbench.reproduce.listing import frame_csv, lines, listed
    from adbench.reproduce.request import chosen, request

    asked = request([paper] if paper else [], words)
    figures = chosen(asked)
    found = listed(figures, asked.keys)
    if csv is not None:
        write_output(csv, frame_csv(found).encode(), "file with --csv FILE")
    for line in lines(figures, found):
        print(line)
    runs = found.loc[found["command"] != "", "command"]
    print(
        f"{counted(len(found), 'figure')}: {len(runs)} with a command ({runs.nunique()} different ones), "
        f"{len(found) - len(runs)} with a reason",
        file=sys.stderr,
    )


def reproduce(paper: str | None, words: Sequence[str], files: Files, why: bool = False, plan: bool = False) -> None:
    """Run the cells of a paper's figures and print the certificate; with `plan`, say what that would take.

    why: run the ladder of every figure, instead of those alone that are not reproduced.
    Raises SweepError after the certificate where cells failed, AdbenchError where no figure can be repeated.
    """
    check_outputs(csv=files.csv, html=files.html, latex=files.latex)
    if paper is None:
        from adbench.board.papers import names

        raise AdbenchError(
            f"PAPER is missing: {', '.join(names())}. `adbench reproduce --list` shows all their figures."
        )
    from adbench.board.papers import repetition
    from adbench.reproduce.cells import cells
    from adbench.reproduce.request import chosen, request

    asked = request([paper], words)
    figures = chosen(asked)
    left_out = [(one, reason) for one in figures if (reason := repetition(one).reason)]
    some = [cells(one, asked) for one in figures if not repetition(one).reason]
    if not some:
        reasons = " ".join(dict.fromkeys(reason for _, reason in left_out))
        raise AdbenchError(f"none of the {counted(len(left_out), 'figure')} can be repeated. {reasons}")
    if plan:
        _show_plan(some, why)
        return
    _run(some, left_out, asked, [paper, *words], files, why)


def _show_plan(some: Sequence[Cells], why: bool) -> None:
    from adbench.commands.run import check_possible
    from adbench.reproduce.cells import planned
    from adbench.reproduce.certificate import to_run
    from adbench.sweeps import tables
    from adbench.sweeps.costs import costs

    repeats = [repeat for one in some for repeat in (*one.published, *one.clean)]
    repeats += [repeat for one in some for repeat in to_run(one, {})] if why else []
    tasks = _unique(planned(repeats, offline=True))
    config = tasks[0].config
    known = costs(Path(config.runs), [task.record for task in tasks if task.record])
    console = plain_console()
    console.print(tables.planned(tasks, known))
    console.print(tables.totals(tasks, known, config.workers, config.cache_gb))
    check_possible(tasks)


def _unique(found: Planned) -> list[Task]:
    return list({id(task): task for tasks in found.values() for task in tasks}.values())


def _run(
    some: Sequence[Cells], left_out: Sequence[tuple[Figure, str]], asked: Request, words: Sequence[str], files: Files,
    why: bool,
) -> None:  # fmt: skip
    from adbench.board.samples import Samples
    from adbench.config.words import parse
    from adbench.executors import start as executors
    from adbench.reproduce.certificate import line, to_run

    repeats = [repeat for one in some for repeat in (*one.published, *one.clean)]
    executor = executors.of(parse(repeats[0])[0], len(repeats))
    with closing(executor):
        found = _sweep(repeats, words, executor)
        samples = Samples()
        lines = [line(one, found, asked, samples) for one in some]
        asking = [why or (one.verdict == "not reproduced" and not asked.phantom) for one in lines]
        rungs = [repeat for one, asks in zip(some, asking, strict=True) if asks for repeat in to_run(one, found)]
        if rungs:
            found |= _sweep(rungs, words, executor)
        lines = [
            line(one, found, asked, samples, ladder=True) if asks else known
            for one, known, asks in zip(some, lines, asking, strict=True)
        ]
    _write(lines, left_out, asked, files)
    _complain(_unique(found))


def _sweep(repeats: Iterable[tuple[str, ...]], words: Sequence[str], executor: Executor) -> Planned:
    """Resolve the cells of some repeats and run those without a record; raises StoppedError for Ctrl-C."""
    from adbench.commands.run import check_possible, sweep
    from adbench.reproduce.cells import planned

    found = planned(repeats)
    tasks = _unique(found)
    check_possible(tasks)
    if any(task.state == "to run" for task in tasks):
        done = sweep(tasks, words, executor)
        if done.stopped:
            raise StoppedError(f"stopped as asked, with {counted(done.left, 'cell')} left. The same command goes on.")
        for task in tasks:
            if task.key in done.failures:
                failure = done.failures[task.key]
                task.error = SweepError(f"{failure.kind}: {failure.message}")
    return found


def _write(lines: Sequence[Line], left_out: Sequence[tuple[Figure, str]], asked: Request, files: Files) -> None:
    from adbench.reproduce import tables

    rows = [[tables.texts(line)[name] for name in tables.HEADER] for line in lines]
    ladders = [
        f"{line.figure.method} {line.figure.test_dataset} {tables.metric_name(line.figure)}, from clean: "
        + "; ".join(map(tables.rung_text, line.ladder))
        for line in lines
        if line.ladder
    ]
    notes = [f"note: {note}" for note in dict.fromkeys(line.cells.repetition.note for line in lines) if note]
    after = [tables.summary(lines, len(left_out)), *ladders, *notes, *filter(None, [tables.computation(lines)])]
    print_table(tables.HEADER, rows, tables.whole_title(asked), after)
    outputs: dict[str, tuple[Path | None, Callable[[], str]]] = {
        "csv": (files.csv, lambda: tables.to_csv(lines)),
        "latex": (files.latex, lambda: tables.to_latex(lines, asked)),
        "html": (files.html, lambda: tables.to_html(lines, left_out, asked)),
    }
    for option, (file, text) in outputs.items():
        if file is not None:
            write_output(file, text().encode(), f"file with --{option} FILE")
            print(f"written: {file}")


def _complain(tasks: Sequence[Task]) -> None:
    """Raise SweepError, naming the first, where cells have no record."""
    if failed := [task for task in tasks if task.record is None]:
        why = f": {failed[0].error}" if failed[0].error else ""
        raise SweepError(
            f"{len(failed)} of {counted(len(tasks), 'cell')} have no record, the first of them {failed[0].name}{why} "
            "The same command tries them again."
        )
