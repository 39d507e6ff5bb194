"""`adbench run` and `adbench plan`, with what they print."""

from __future__ import annotations

import shlex
import statistics
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.commands.console import noted, plain_console
from adbench.config.words import parse
from adbench.errors import MethodError, PluginError, StoppedError, SweepError
from adbench.executors import start as executors
from adbench.plugins import registry
from adbench.records import provenance
from adbench.records.record import LOGS, folders
from adbench.records.standing import caveat, standing
from adbench.system.garbage import settle, uncollected
from adbench.system.text import counted, printable

if TYPE_CHECKING:
    from adbench.cells.cell import Cell
    from adbench.executors import Executor
    from adbench.records.record import Record
    from adbench.sweeps.sweep import Sweep, Task

WIDE = 1e-3  # a computation error from which on a run warns


def run_words(words: Sequence[str]) -> None:
    """Run the cells that the words name; recorded cells are reused, and one cell's failure costs that cell."""
    asked = parse(words)
    config = asked[0]
    executor = executors.of(config, len(asked))
    warm_up = executor.warm_up if len(asked) > 1 or executor.remote else None
    with closing(executor):
        if warm_up and len(folders(Path(config.runs))) < len(asked):  # one at least is to run
            with executors.naming(config, "warm_up"):
                warm_up()
            warm_up = None
        # torch and Lightning take seconds to import: only after the words have been checked.
        with uncollected():
            from adbench.sweeps.sweep import plan

        # All of them before the first runs: a bad word costs no time.
        tasks = plan(asked, warm_up=warm_up)
        settle()
        if len(tasks) == 1 and not executor.remote:
            _run_one(tasks[0], words)
        else:
            _run_many(tasks, words, executor)


def _run_one(task: Task, words: Sequence[str]) -> None:
    from adbench.running import devices
    from adbench.sweeps.sweep import log_of

    if task.cell is None:
        assert task.error is not None
        raise task.error
    console, config, cell = plain_console(), task.config, task.cell
    for note in cell.notes:
        console.print(noted(note))
    console.print(_title(cell), style="bold")
    record = task.record
    if record is not None:
        console.print(f"recorded already, reused: {record.path}{_other_commit(record)} (force=true runs it again)")
        for note in _other_sources([task]):
            console.print(f"note: {note}")
    else:
        try:
            record = devices.run(cell, words)
        except MethodError as error:
            raise _with_traceback(error, log_of(task)) from error
    for note in _notes_of_records([(cell, record)]):
        console.print(noted(note))
    console.print(_figures(record.content, record.path))
    for line in _caveats([record]):
        console.print(line)
    console.print(
        f"data: {_data(record.content['data'], record.content['resolved']['data_root'])}, "
        f"backbone: {cell.backbone_name}, schedule: {config.schedule}; "
        f"adbench leaderboard {shlex.quote(config.runs)} shows it next to others"
    )


def _with_traceback(error: MethodError, log: Path) -> MethodError:
    """Return the error with the name of a log that holds its traceback, as a cell of a sweep has one."""
    if error.__cause__ is None:
        return error
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    except OSError:  # the sentence matters more
        return error
    return type(error)(f"{error} The traceback is in {log}.")


def _run_many(tasks: Sequence[Task], words: Sequence[str], executor: Executor) -> None:
    check_possible(tasks)
    todo = [task for task in tasks if task.state == "to run"]
    _conclude(tasks, todo, sweep(tasks, words, executor))


def sweep(tasks: Sequence[Task], words: Sequence[str], executor: Executor) -> Sweep:
    """Say what will run, run the tasks that have no record, and show how they go on."""
    from adbench.sweeps.sweep import run
    from adbench.sweeps.watch import Watch
    from adbench.system.files import check_writable, tidy
    from adbench.training.fit import device_of_run

    config = tasks[0].config
    todo = [task for task in tasks if task.state == "to run"]
    machines = {(one.device, one.precision, *one.kernels): one for one in (task.config for task in todo)}
    for machine in machines.values():
        if not executor.remote or machine.device == "cpu":
            device_of_run(machine)
    if todo:
        check_writable(Path(config.runs) / LOGS)
    _announce(tasks, executor)
    watch = Watch(todo, min(config.workers, max(len(todo), 1)), _expected(tasks))
    try:
        with watch.shown(), executors.naming(config):
            return run(tasks, words, executor, watch)
    except KeyboardInterrupt:
        executor.close()
        tidy(Path(config.runs))
        raise


def _announce(tasks: Sequence[Task], executor: Executor) -> None:
    """Print what will run, and every note once."""
    console, config = plain_console(), tasks[0].config
    states = Counter(task.state for task in tasks)
    impossible = f", {states['impossible']} that can't run" if states["impossible"] else ""
    console.print(
        f"{counted(len(tasks), 'cell')} ({_common(tasks)}): {states['recorded']} recorded already, "
        f"{states['to run']} to run{impossible}, workers={config.workers}",
        style="bold",
    )
    notes = [note for task in tasks if task.cell for note in task.cell.notes]
    if executor.remote:
        from adbench.executors.remote import gpu_note

        notes += filter(None, [gpu_note(config)])
    for note in [*dict.fromkeys(notes), *_same_draws(tasks), *_other_sources(tasks)]:
        console.print(noted(note))


def _expected(tasks: Sequence[Task]) -> float | None:
    """Return the mean seconds of the cells that are to run, by the records that are most like them."""
    from adbench.sweeps.costs import cost_of, costs

    todo = [task for task in tasks if task.state == "to run"]
    known = costs(Path(tasks[0].config.runs), [task.record for task in tasks if task.record]) if todo else {}
    seconds = [cost.seconds for task in todo if (cost := cost_of(task.config, known))]
    return statistics.mean(seconds) if seconds else None


def _conclude(tasks: Sequence[Task], todo: Sequence[Task], done: Sweep) -> None:
    """Print what came of a sweep, of which `todo` was to run; raises where cells failed or were left."""
    from adbench.sweeps import tables

    console = plain_console()
    console.print(tables.results(tasks, done.failures))
    for note in _notes_of_records([(task.cell, task.record) for task in tasks if task.cell and task.record]):
        console.print(noted(note))
    for line in _caveats([task.record for task in tasks if task.record]):
        console.print(line)
    tracked = [task.record.content["tracker"] for task in todo if task.record and task.record.content.get("tracker")]
    if tracked:
        from adbench.training.trackers import summary

        console.print(summary(tracked))
    console.print(f"{_common(tasks)}; adbench leaderboard {shlex.quote(tasks[0].config.runs)} shows them side by side")
    failed = len(done.failures) + sum(task.error is not None for task in tasks)
    if failed:
        console.print(f"failed, {failed} of {counted(len(tasks), 'cell')}:", style="bold")
        console.print(tables.failed(tasks, done.failures))
    if done.left and not done.stopped:
        raise PluginError(
            f"the executor {tasks[0].config.executor} ended with {counted(done.left, 'cell')} left that it never ran."
        )
    if done.stopped:
        raise StoppedError(f"stopped as asked, with {counted(done.left, 'cell')} left. The same command goes on.")
    if failed:
        others = "; the others have their records" if failed < len(tasks) else ""
        raise SweepError(
            f"{failed} of {counted(len(tasks), 'cell')} failed{others}. The same command tries those again."
        )


def _common(tasks: Sequence[Task]) -> str:
    """Name data, backbone and schedule of all cells."""
    configs_ = [task.config for task in tasks]
    roots = ", ".join(sorted({"phantoms" if c.data_root == "phantom" else c.data_root for c in configs_}))
    backbones, schedules = (", ".join(sorted({getattr(c, key) for c in configs_})) for key in ("backbone", "schedule"))
    return f"data: {roots}, backbone: {backbones}, schedule: {schedules}"


def plan_words(words: Sequence[str]) -> None:
    """Show the cells that the words name, and what they will cost; draw, fetch, write and run nothing."""
    asked = parse(words)
    from adbench.sweeps import tables
    from adbench.sweeps.costs import CostTable, costs
    from adbench.sweeps.known import recalled
    from adbench.sweeps.sweep import plan
    from adbench.system.session import Session

    tasks, config = plan(asked, offline=True), asked[0]
    records = [task.record for task in tasks if task.record]
    known: CostTable = {}
    if len(records) < len(tasks):
        runs = Path(config.runs)
        known = costs(runs, records, recalled(runs, config.cache_dir, Session(offline=True)))
    console = plain_console()
    console.print(tables.planned(tasks, known))
    console.print(tables.totals(tasks, known, config.workers, config.cache_gb))
    console.print(_common(tasks))
    for note in [*_same_draws(tasks), *_other_sources(tasks)]:
        console.print(f"note: {note}")
    check_possible(tasks)


def check_possible(tasks: Sequence[Task]) -> None:
    """Raise the first error of a plan of which no cell can run, as running it would."""
    if all(task.error for task in tasks):
        raise tasks[0].error or AssertionError


def _data(kind: str, root: str) -> str:
    """Name the data of a record.

    >>> _data("phantom", "phantom"), _data("phantom", "drawn"), _data("real", "/data")
    ('phantoms', 'phantoms (drawn)', 'real (/data)')
    """
    name = "phantoms" if kind == "phantom" else kind
    return name if root == "phantom" else f"{name} ({printable(root)})"


def _title(cell: Cell) -> str:
    config, shots = cell.config, cell.manifest.shots
    data = "phantoms" if config.data_root == "phantom" else f"data {config.data_root}"
    support = f"support {config.support}" if config.support else f"draw {config.draw}"
    number = "all images of a class" if shots == "full" else counted(int(shots), "shot")
    return (
        f"{config.method_name} on {config.dataset_name} ({data}), {cell.protocol}, {number}, {support}, "
        f"seed {config.seed}, backbone {cell.backbone_name}, schedule {config.schedule}"
    )


def _notes_of_records(pairs: Sequence[tuple[Cell, Record]]) -> list[str]:
    """Return the notes that only running the cells could tell, on their masks, each once."""
    known = {note for cell, _ in pairs for note in cell.notes}
    return [
        note for note in dict.fromkeys(n for _, record in pairs for n in record.content["notes"]) if note not in known
    ]


def _caveats(records: Sequence[Record]) -> list[str]:
    """Say why figures are not compared with clean ones, as where the test split chose the epoch, each reason once."""
    found = Counter(why for record in records if (why := caveat(standing(record))))
    of = counted(len(records), "record")
    return [f"warning: {f'{n} of {of}: ' if len(records) > 1 else ''}{why}" for why, n in found.items()]


def _other_commit(record: Record) -> str:
    """Say so when a record was made by another commit of adbench."""
    made, here = record.content["code"]["commit"], provenance.code()["commit"]
    return f", made by commit {printable(str(made)[:12])}" if made != here else ""


def _same_draws(tasks: Sequence[Task]) -> list[str]:
    """Say which draws choose the same images, as happens with few shots of few images: they are one cell."""
    found: dict[str, set[str]] = {}
    for task in tasks:
        if task.same:
            numbers = ", ".join(map(str, sorted([task.config.draw, *task.same])))
            what = f"{task.config.dataset_name}, shots={task.config.shots}: draws {numbers}"
            found.setdefault(what, set()).add(task.config.method_name)
    return [f"{what} choose the same images, and are one cell ({', '.join(sorted(of))})." for what, of in found.items()]


def _other_sources(tasks: Sequence[Task]) -> list[str]:
    """Say of which packages the records were made by other source than is there now, under the same `version`."""
    packages = Counter(registry.find("method", task.config.method).package for task in tasks if task.other_source)
    return [
        f"{n} recorded cell{'s were' if n > 1 else ' was'} made by other source of {package} than there is now: raise "
        f"the method's `version`, or force=true runs {'them' if n > 1 else 'it'} again."
        for package, n in packages.items()
    ]


def _figures(content: dict[str, Any], path: Path) -> str:
    """Return the small table at the end of a run; as plain lines, so that a path is never folded."""
    from adbench.board.figure import at_most
    from adbench.sweeps.tables import FIGURES

    metrics, half = content["metrics"], content["half_widths"]
    texts = {}
    for title, name in FIGURES:
        value = metrics.get(name)
        if value is not None:
            most = at_most(half.get(name, 0.0))
            texts[title] = f"{100 * value:.2f} %" + (f" (computation error at most {most})" if most else "")
    texts["time"] = f"{sum(content['seconds'].values()):.1f} s"
    texts["peak memory"] = f"{content['peak_memory']['host_bytes'] / 1e9:.2f} GB"
    texts["record"] = str(path)
    lines = [f"  {title:<13}{text}" for title, text in texts.items()]
    if last := content["selection"]["last"]:
        named = [f"{title} {100 * last[name]:.2f} %" for title, name in FIGURES if last.get(name) is not None]
        lines.append(f"  {'last epoch':<13}{', '.join(named)}")
    if (widest := max(half.values(), default=0.0)) > WIDE:
        lines.append(
            f"  warning: pixel figures are uncertain by up to {at_most(widest)} points: many pixels share few score "
            "values (docs/metrics.md)."
        )
    return "\n".join(lines)
