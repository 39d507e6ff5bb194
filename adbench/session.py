"""What the commands do, with what they print."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from adbench import config as configs
from adbench import provenance, registry
from adbench.errors import AdbenchError, RecordError, StoppedError, SweepError, did_you_mean

if TYPE_CHECKING:
    from adbench.data.items import DatasetConfig
    from adbench.executors import Executor
    from adbench.record import Record
    from adbench.render import Part
    from adbench.sweep import Task

SCORE_KEYS = ("out", "threshold", "device", "cache", "precision", "backbone.weights", "method")


def out() -> Console:
    """Return a console that doesn't wrap what is piped, and prints brackets and colons as they are."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # what it prints holds paths


def run_words(words: Sequence[str]) -> None:
    """Run the cells that the words name; recorded cells are reused, and one cell's failure costs that cell."""
    asked = configs.parse(words)
    with closing(_executor(asked)) as executor:
        # torch and Lightning take seconds to import: only after the words have been found good.
        from adbench.sweep import plan

        # All of them before the first runs: a bad word costs no time.
        tasks = plan(asked)
        if len(tasks) == 1 and not executor.elsewhere:
            _run_one(tasks[0], words)
        else:
            _run_many(tasks, words, executor)


def _executor(asked: Sequence[configs.RunConfig]) -> Executor:
    """Return the executor; its workers warm up where the folder of records shows that there is something to run."""
    config = asked[0]
    executor: Executor = registry.find("executor", config.executor).load()(min(config.workers, len(asked)), config)
    runs = Path(config.runs)
    if len(asked) > (sum(1 for _ in runs.iterdir()) if runs.is_dir() else 0):
        executor.warm_up()
    return executor


def _run_one(task: Task, words: Sequence[str]) -> None:
    from adbench.run import run_cell

    if task.cell is None:
        assert task.error is not None
        raise task.error
    console, config, cell = out(), task.config, task.cell
    for note in cell.notes:
        console.print(f"note: {note}")
    console.print(_headline(config, cell.manifest.shots, cell.protocol), style="bold")
    record = task.found
    if record is not None:
        console.print(f"recorded already, reused: {record.path}{_other_commit(record)} (force=true runs it again)")
    else:
        record = run_cell(cell, words)
    console.print(_figures(record.content, record.path))
    console.print(
        f"data: {record.content['data']} ({record.content['resolved']['data_root']}), "
        f"backbone: {config.backbone}, schedule: {config.schedule}; "
        f"adbench leaderboard {config.runs} shows it beside others"
    )


def _run_many(tasks: Sequence[Task], words: Sequence[str], executor: Executor) -> None:
    from adbench import tables
    from adbench.costs import cost_of, costs
    from adbench.fit import device_of
    from adbench.record import tidy
    from adbench.sweep import run
    from adbench.watch import Watch

    console, config = out(), tasks[0].config
    if all(task.error for task in tasks):
        raise tasks[0].error or AssertionError
    todo = [task for task in tasks if task.state == "to run"]
    for one in {(task.config.device, task.config.precision): task.config for task in todo}.values():
        if not executor.elsewhere or one.device == "cpu":
            device_of(one)
    recorded = sum(task.found is not None for task in tasks)
    impossible = f", {n} that can't run" if (n := sum(task.error is not None for task in tasks)) else ""
    what = _common(tasks)
    console.print(
        f"{len(tasks)} cell{'s' * (len(tasks) > 1)} ({what}): {recorded} recorded already, {len(todo)} to run"
        f"{impossible}, workers={config.workers}",
        style="bold",
    )
    notes = [note for task in tasks if task.cell for note in task.cell.notes]
    if executor.elsewhere:
        from adbench.executors.elsewhere import note_of

        notes += filter(None, [note_of(config)])
    for note in dict.fromkeys(notes):
        console.print(f"note: {note}")
    runs = Path(config.runs)
    known = costs(runs, [task.found for task in tasks if task.found]) if todo else {}
    expected = [cost.seconds for task in todo if (cost := cost_of(task.config, known))]
    watch = Watch(len(todo), min(config.workers, max(len(todo), 1)), statistics.mean(expected) if expected else None)
    try:
        with watch.shown():
            done = run(tasks, words, executor, watch)
    except KeyboardInterrupt:
        executor.close()
        tidy(runs)
        raise
    console.print(tables.results(tasks, done.failures))
    tracked = [task.found.content["tracker"] for task in todo if task.found and task.found.content.get("tracker")]
    if tracked:
        from adbench.trackers import summary

        console.print(summary(tracked))
    console.print(f"{what}; adbench leaderboard {config.runs} shows them side by side")
    failed = len(done.failures) + sum(task.error is not None for task in tasks)
    if failed:
        console.print(f"failed, {failed} of {len(tasks)} cells:", style="bold")
        console.print(tables.failed(tasks, done.failures))
    if done.stopped:
        raise StoppedError(f"stopped as asked, with {done.left} cells left. The same command goes on.")
    if failed:
        raise SweepError(
            f"{failed} of {len(tasks)} cells failed; the others have their records. The same command tries those again."
        )


def _common(tasks: Sequence[Task]) -> str:
    """Name data, backbone and schedule of all cells."""
    configs_ = [task.config for task in tasks]
    roots = ", ".join(sorted({c.data_root for c in configs_}))
    backbones, schedules = (", ".join(sorted({getattr(c, key) for c in configs_})) for key in ("backbone", "schedule"))
    return f"data: {roots}, backbone: {backbones}, schedule: {schedules}"


def plan_words(words: Sequence[str]) -> None:
    """Show the cells that the words name, and what they will cost; draw, fetch, write and run nothing."""
    asked = configs.parse(words)
    from adbench import tables
    from adbench.costs import costs
    from adbench.sweep import plan

    tasks, config = plan(asked, looking=True), asked[0]
    found = [task.found for task in tasks if task.found]
    known = costs(Path(config.runs), found) if len(found) < len(tasks) else {}
    console = out()
    console.print(tables.planned(tasks, known))
    console.print(tables.totals(tasks, known, config.workers, config.cache_gb))
    console.print(_common(tasks))


def _headline(config: configs.RunConfig, shots: int | str, protocol: str) -> str:
    data = "phantom data" if config.data_root == "phantom" else f"data {config.data_root}"
    support = f"support {config.support}" if config.support else f"draw {config.draw}"
    number = "all images of a class" if shots == "full" else f"{shots} shots"
    return (
        f"{config.method} on {config.dataset} ({data}), {protocol}, {number}, {support}, seed {config.seed}, "
        f"backbone {config.backbone}, schedule {config.schedule}"
    )


def _other_commit(record: Record) -> str:
    """Say so when a record was made by another commit of adbench."""
    made, here = record.content["code"]["commit"], provenance.code()["commit"]
    return f", made by commit {str(made)[:12]}" if made != here else ""


def _figures(content: dict[str, Any], path: Path) -> str:
    """Return the small table at the end of a run; as plain lines, so that a path is never folded."""
    from adbench.tables import FIGURES

    metrics, half = content["metrics"], content["half_widths"]
    texts = {}
    for title, name in FIGURES:
        value = metrics.get(name)
        if value is not None:
            texts[title] = f"{100 * value:.2f} %" + (f" ± {100 * half[name]:.4f}" if name in half else "")
    texts["time"] = f"{sum(content['seconds'].values()):.1f} s"
    texts["peak memory"] = f"{content['peak_memory']['host_bytes'] / 1e9:.2f} GB"
    texts["record"] = str(path)
    lines = [f"  {title:<13}{text}" for title, text in texts.items()]
    wide = [name for name, width in half.items() if width > 1e-3]
    if wide:
        lines.append(f"  warning: the half-width of {', '.join(wide)} is above 0.001: many scores share few values")
    return "\n".join(lines)


def score_words(record: Path, words: Sequence[str]) -> None:
    """Score images with a record; `words` mixes files and key=value."""
    keys: dict[str, str] = {}
    files = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and not Path(word).exists():
            if key not in SCORE_KEYS and not key.startswith("method."):
                raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, [*SCORE_KEYS, 'method.prompts'])}")
            keys[key] = value
        else:
            files.append(word)
    threshold = None
    if "threshold" in keys:
        try:
            threshold = float(keys["threshold"])
        except ValueError:
            raise AdbenchError(f"threshold={keys['threshold']} is not a number.") from None
    from adbench.apply import default_folder, find_images, load, score_files

    paths = find_images(files)
    overrides = {
        key.removeprefix("method."): configs.value(text) for key, text in keys.items() if key.startswith("method.")
    }
    machine = {key: keys.get(key) for key in ("device", "cache", "precision", "method")}
    (checked,) = configs.parse([f"{key}={text}" for key, text in machine.items() if text is not None])
    if machine["method"]:
        machine["method"] = checked.method
    fitted = load(record, overrides, **machine, weights=keys.get("backbone.weights"))
    folder = Path(keys["out"]).expanduser() if "out" in keys else default_folder()
    table = score_files(fitted, paths, folder, threshold)
    console = out()
    if threshold is None:
        console.print("no threshold= given: no decision and no mask overlays, scores and heatmaps only")
    console.print(f"{len(table)} images scored by {record}: {folder}/scores.csv, pictures beside it")


def listing(what: str) -> Iterator[str]:
    """Yield a line per registered method, dataset or backbone."""
    kinds: dict[str, registry.Kind] = {"methods": "method", "datasets": "dataset", "backbones": "backbone"}
    kinds |= {"groups": "group", "executors": "executor"}
    if what not in kinds:
        raise AdbenchError(f"cannot list {what!r}: {did_you_mean(what, kinds)}")
    kind = kinds[what]
    if kind in ("group", "backbone"):
        for name, (package, file) in registry.shipped(kind).items():
            try:
                members = [one for names in configs.group(name).values() for one in names] if kind == "group" else []
                title = str(configs.load_yaml(file).get("title", ""))
                yield f"{name:<16}{title}" + (f"  [{', '.join(members)}]" if members else "")
            except AdbenchError as error:
                yield f"{name:<16}broken: {error}  [{package}]"
    else:
        for name, entry in registry.entries(kind).items():
            yield f"{name:<16}{_title(kind, entry)}  [{entry.package}]"


def _title(kind: registry.Kind, entry: registry.Entry) -> str:
    """Return the title in an entry's YAML, or why a stranger's package is broken."""
    try:
        file = registry.config_file(kind, entry.name)
        title = str(configs.load_yaml(file).get("title", "")) if file else ""
        if entry.foreign:  # the built-in ones are tested; importing them would import torch
            entry.load()
    except AdbenchError as error:
        cause = error.__cause__
        return f"broken: {registry.reason(cause) if cause else error}"
    return title


def show_leaderboard(
    runs: Sequence[Path], csv: Path | None, markdown: bool, json: Path | None, published: bool, costs: bool,
    latex: bool, html: Path | None, method: str | None, dataset: str | None,
) -> None:  # fmt: skip
    """Print the leaderboard of some folders of records, and write it as CSV, JSON or a site where asked.

    Raises RecordError behind all that where records of one cell disagree.
    """
    if markdown and latex:
        raise AdbenchError("--markdown and --latex both say how to print. Keep one.")
    from adbench import leaderboard, render
    from adbench import published as papers
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
        from adbench.latex import to_latex

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


def _draw(name: str, facts: DatasetConfig, root: Path, counts: dict[str, int]) -> None:
    registry.find("dataset", name).load()(name, facts).draw_phantom(root, counts)


def draw_phantoms(root: Path, dataset: str, counts: dict[str, int]) -> None:
    """Draw the phantoms of datasets below `root`: names, groups and wildcards with commas between, or `all`."""
    from adbench.data.items import DatasetConfig
    from adbench.files import unwritable
    from adbench.progress import track

    words = ["*"] if dataset == "all" else dataset.split(",")
    found = dict.fromkeys(name for word in words for name in configs.expand("dataset", word))
    names = [registry.find("dataset", name).name for name in found]
    config = configs.parse([])[0]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(min(len(names), os.cpu_count() or 1), get_context("spawn")) as executor:
            facts = [configs.section_config(DatasetConfig, "dataset", name, config) for name in names]
            drawn = executor.map(_draw, names, facts, [root] * len(names), [counts] * len(names))
            for _ in track(drawn, "drawing phantoms", len(names)):
                pass
    except OSError as error:
        raise unwritable(root, error) from error
    out().print(f"drawn below {root}: {', '.join(names)}. Read them with data_root={root}")
