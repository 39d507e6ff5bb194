"""The command `adbench compare`: by how much methods differ, with intervals and verdicts."""

from __future__ import annotations

import json as plain_json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from adbench.board import verdicts
from adbench.board.compare import Comparison, NotComparedError, Pair, having, judged, measured
from adbench.board.gaps import absent, without_mean
from adbench.board.leaderboard import choose, collect
from adbench.board.samples import Row, Samples, of_shots, rows_of
from adbench.commands.console import print_table
from adbench.commands.leaderboard import PROCESSES
from adbench.errors import AdbenchError
from adbench.records.record import files_of, incomplete
from adbench.system.files import check_outputs, write_output
from adbench.system.progress import track
from adbench.system.text import inert


def show_comparisons(
    runs: Sequence[Path],
    *,
    metrics: str,
    against: str | None,
    method: str | None,
    dataset: str | None,
    protocol: str | None,
    shots: str | None,
    margin: float,
    level: float,
    power: float | None,
    csv: Path | None,
    json: Path | None,
    markdown: bool,
    latex: bool,
    problems: Sequence[str] = (),
) -> None:
    """Compare the rows of some folders of records pair by pair; print a line for each, or write them.

    `problems`: of the bundles that the folders are from.

    Raises AdbenchError for rows that can't be compared, and RecordError, after the rest, where records were left out.
    """
    if not 0 < level < 1:
        raise AdbenchError(f"--level {level} is not possible: a number between 0 and 1 is needed, as in 0.95.")
    if not 0 < margin <= 100:
        raise AdbenchError(f"--margin {margin} is not possible: a number of points above 0 is needed, at most 100.")
    if power is not None and not 0 < power <= 100:
        raise AdbenchError(f"--power {power} is not possible: a difference in points above 0 is needed, at most 100.")
    check_outputs(csv=csv, json=json)
    collected, left_out = collect(runs, PROCESSES)
    left_out += problems
    problem = incomplete("of the comparison", left_out)
    if not collected:
        raise problem
    rows = rows_of(choose(collected, method, dataset, protocol))
    if against is not None and not any(against in (row.name, row.head["method"]) for row in rows):
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        raise AdbenchError(f"--against {against}: no such method in these records. There are: {names}.")
    rows = rows if shots is None else of_shots(rows, shots)
    known = sorted({row.head["shots"] for row in rows if row.drawn})
    differences, samples, notes = list[Comparison](), Samples(), list[str]()
    refused, compared = list[AdbenchError](), False
    for number in known or ["0"]:
        chosen = of_shots(rows, number)
        notes += absent(chosen)
        samples.prepare_all(chosen, metrics.split(","))
        for metric in metrics.split(","):
            try:
                rows_with, note = having(chosen, metric)
                notes += [note] if note else []
                lines = measured(rows_with, metric, samples, against, level, _counted(metric))
                compared = True
            except NotComparedError as error:  # other numbers of shots, or metrics, may have a pair
                refused.append(error)
                lines = list(error.lines)
                notes += [] if lines else [f"{number} shots, {metric}: {error}"]
            differences += lines
            notes += without_mean(lines)
    if not compared:
        raise refused[0]
    done = judged(differences, margin, level)
    table = verdicts.frame(done, margin, level, power)
    harmless = table.map(inert)
    as_json = plain_json.dumps(verdicts.as_json(table), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for option, file, text in (("csv", csv, harmless.to_csv(index=False)), ("json", json, as_json)):
        if file is not None:
            write_output(file, text.encode(), f"file with --{option} FILE", files_of(collected))
    if markdown or latex:
        print((verdicts.to_markdown if markdown else verdicts.to_latex)(done, margin, level, _notes(done, notes)))
    else:
        _print(done, rows, notes, margin, level, power)
        for file in (csv, json):
            if file is not None:
                print(f"written: {file}")
    if left_out:
        raise problem


def _counted(metric: str) -> Callable[[Iterable[Pair], int], Iterable[Pair]]:
    return lambda work, total: track(work, f"comparing {metric}", total)


def _print(
    done: Sequence[Comparison], rows: Sequence[Row], notes: Sequence[str], margin: float, level: float,
    power: float | None,
) -> None:  # fmt: skip
    """Print a table under what all its lines share, what would decide the undecided ones, the legend and the notes."""
    found = {name: {getattr(one, name) for one in done} for name in ("dataset", "metric")}
    shared = {name: text for name, (text, *others) in found.items() if not others}
    header = [name for name in verdicts.HEADER if name not in shared]
    lines = [[cells.get(name, "") for name in header] for cells in map(verdicts.texts, done)]
    after = verdicts.undecided(done, margin, level)
    after += [] if power is None else verdicts.found_with(done, power, level)
    after += [verdicts.legend(done, margin, level)]
    after += [f"note: {note}" for note in (*_notes(done, notes), *verdicts.reasons(done))]
    print_table(header, lines, ", ".join([*shared.values(), *_design(rows)]), after)


def _design(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the protocol, where it is one for all rows, and the number of shots, where it is for all with draws."""
    if len(protocols := {row.head["protocol"] for row in rows}) == 1:
        yield from protocols
    if len(shots := {row.head["shots"] for row in rows if row.drawn}) == 1:
        yield f"shots={shots.pop()}"


def _notes(done: Sequence[Comparison], notes: Sequence[str]) -> list[str]:
    only = (f"{one.dataset}: {one.only}, which is not compared." for one in done if one.only)
    return list(dict.fromkeys([*only, *notes, *verdicts.computation(done)]))
