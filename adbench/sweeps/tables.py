"""Tables of plans and finished sweeps, as plain text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from adbench.executors import Failure
from adbench.sweeps.costs import Cost, CostTable, cost_of
from adbench.sweeps.known import MATCHED
from adbench.sweeps.sweep import Task, log_of
from adbench.system.text import counted

FIGURES = (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("pixel AUPRO", "pixel_aupro"))
ROWS = 60  # cells shown one by one; more are counted by method and dataset
REASONS = 10  # shown of those for which cells of a counted table can't run


def duration(seconds: float) -> str:
    """Format seconds for people.

    >>> [duration(s) for s in (4.21, 75, 7380, 180000)]
    ['4.2 s', '1 min 15 s', '2 h 3 min', '2 d 2 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def headline(task: Task) -> str:
    """Return the main figures of a recorded task in one line."""
    metrics = task.record.metrics if task.record else {}
    texts = [f"{title} {100 * value:.2f} %" for title, name in FIGURES if (value := metrics.get(name)) is not None]
    return ", ".join(texts)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as plain lines, whatever the width of the terminal.

    >>> print(aligned(["a", "b"], [["x", "1"], ["long", "2"]]))
      a     b
      x     1
      long  2
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ("  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in [header, *rows])
    return "\n".join(line.rstrip() for line in lines)


def names(tasks: Sequence[Task]) -> tuple[list[str], list[list[str]]]:
    """Return the keys in which the tasks differ, as a header, and their values for each task.

    Method and dataset are always among them.
    """
    keys = ["method", "dataset", "backbone", "schedule", "protocol", "selection", "train_on", "input_size", "eval_size"]
    keys += ["precision", "deterministic", "compile", "batch_size", "shots", "draw", "seed"]
    columns = {key: [str(getattr(task.config, key)) for task in tasks] for key in keys}
    columns["method"] = method_names(columns["method"])
    for key in ("category", "split_seed", "fold"):  # of the dataset; between its name and the rest
        columns[f"dataset.{key}"] = [str(task.config.words("dataset").get(key, "")) for task in tasks]
    keys = [*keys[:2], *(key for key in columns if key not in keys), *keys[2:]]
    kept = [key for key in keys if key in ("method", "dataset") or len(set(columns[key])) > 1]
    return kept, [list(row) for row in zip(*(columns[key] for key in kept), strict=True)]


def full_names(tasks: Sequence[Task]) -> list[str]:
    """Return the name of each task for one line on a screen, with everything in which the tasks differ."""
    header, rows = names(tasks)
    more = [place for place, key in enumerate(header) if key not in ("method", "dataset", "shots", "draw", "seed")]
    return [
        ", ".join([task.name, *(f"{header[place]} {row[place]}" for place in more if row[place])])
        for task, row in zip(tasks, rows, strict=True)
    ]


def method_names(methods: Sequence[str]) -> list[str]:
    """Return the names of methods for people: of `FILE.py:Class` the class, where no other one is called so.

    >>> method_names(["clip", "/home/me/mine.py:Mine", "a.py:Own", "b.py:Own"])
    ['clip', 'Mine', 'a.py:Own', 'b.py:Own']
    """
    short = Counter(method.rpartition(":")[2] for method in set(methods))
    return [name if short[name := method.rpartition(":")[2]] == 1 else method for method in methods]


def results(tasks: Sequence[Task], failures: Mapping[str, Failure]) -> str:
    """Return the table of a sweep's cells with their figures in per cent."""
    if len(tasks) > ROWS:
        return f"  {sum(task.record is not None for task in tasks)} of {counted(len(tasks), 'cell')} have a record"
    header, rows = names(tasks)
    for task, row in zip(tasks, rows, strict=True):
        metrics = task.record.metrics if task.record else {}
        row += [f"{100 * v:.2f}" if (v := metrics.get(name)) is not None else "" for _, name in FIGURES]
        row += [duration(task.seconds) if task.record else ""]
        row += [task.record.path.name if task.record else "failed" if task.key in failures or task.error else "not run"]
    return aligned([*header, *(title for title, _ in FIGURES), "time", "record"], rows)


def failed(tasks: Sequence[Task], failures: Mapping[str, Failure]) -> str:
    """Return the table of the cells that failed, with the log of each."""
    rows = []
    for task, name in zip(tasks, full_names(tasks), strict=True):
        if task.key in failures:
            failure = failures[task.key]
            rows.append([name, f"{failure.kind}: {failure.message}", str(log_of(task))])
        elif task.error is not None:
            rows.append([name, f"{type(task.error).__name__}: {task.error}", "never started"])
    return "\n".join(f"  {name}\n    {message}\n    {log}" for name, message, log in rows)


def planned(tasks: Sequence[Task], table: CostTable) -> str:
    """Return the table of a plan: each cell, or where they are many, counts by method and dataset.

    The last column says which records the expected time comes from; for several cells, the weakest of their sources.
    """
    if len(tasks) <= ROWS:
        header, rows = names(tasks)
        for task, row in zip(tasks, rows, strict=True):
            state = f"unknown: {task.missing}" if task.state == "unknown" else task.state
            row += [str(task.error) if task.error else state, *(["", ""] if task.record else _expected([task], table))]
        return aligned([*header, "state", "expected", "estimate from"], rows)
    methods = [task.config.method for task in tasks]
    names_of = dict(zip(methods, method_names(methods), strict=True))
    parts: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks:
        parts[names_of[task.config.method], task.config.dataset].append(task)
    states = [s for s in ("recorded", "to run", "unknown", "impossible") if any(task.state == s for task in tasks)]
    rows = []
    for (method, dataset), part in parts.items():
        counts = Counter(task.state for task in part)
        missing = [task for task in part if task.record is None]
        rows.append([method, dataset, *(str(counts[s]) for s in states), *_expected(missing, table)])
    return aligned(["method", "dataset", *states, "expected", "estimate from"], rows)


def _expected(tasks: Sequence[Task], table: CostTable) -> tuple[str, str]:
    """Return the expected time of some tasks, and the weakest source of its estimates."""
    possible = [task for task in tasks if task.error is None]
    estimates = [cost for task in possible if (cost := cost_of(task.config, table)) is not None]
    if not estimates:
        return "unknown: no records yet" if possible else "", ""
    weakest = min((cost.matched for cost in estimates), key=_rank)
    return duration(sum(cost.seconds for cost in estimates)), f"same {weakest}" if weakest else "other methods"


def _rank(matched: str) -> int:
    """Return how many of `MATCHED` are equal.

    >>> [_rank(matched) for matched in ("", "method", "shots")]
    [0, 1, 5]
    """
    return MATCHED.index(matched) + 1 if matched else 0


def _sources(estimates: Sequence[Cost]) -> list[str]:
    """Say which records the estimates come from, the closest first.

    >>> _sources([Cost(1, 1, 1, 1, "backbone"), Cost(1, 1, 1, 1, "")])[0]
    '1 estimate comes from records of the same method, backbone'
    """
    lines = []
    for matched, n in sorted(Counter(cost.matched for cost in estimates).items(), key=lambda item: -_rank(item[0])):
        same = ", ".join(MATCHED[: _rank(matched)])
        records = f"records of the same {same}" if matched else "other methods' records"
        lines.append(f"{counted(n, 'estimate')} come{'s' * (n == 1)} from {records}")
    return lines


def _reasons(tasks: Sequence[Task]) -> list[str]:
    """Say why cells can't run, each reason once, the most frequent first, for a table that counts cells."""
    found = Counter(str(task.error) for task in tasks if task.error)
    lines = [f"can't run, {counted(n, 'cell')}: {reason}" for reason, n in found.most_common(REASONS)]
    return lines + [f"and {counted(len(found) - REASONS, 'other reason')}"] * (len(found) > REASONS)


def totals(tasks: Sequence[Task], table: CostTable, workers: int, cache_gb: float) -> str:
    """Return the sums of a plan: cells, time, disk and memory."""
    counts = Counter(task.state for task in tasks)
    todo = [task for task in tasks if task.state in ("to run", "unknown")]
    lines = [f"{counted(len(tasks), 'cell')}: {counts['recorded']} recorded already, {counts['to run']} to run"]
    if counts["unknown"]:
        lines[0] += f", {counts['unknown']} unknown until drawn or fetched"
    if counts["impossible"]:
        lines[0] += f", {counts['impossible']} that can't run"
        lines += _reasons(tasks) if len(tasks) > ROWS else []
    if todo and (estimates := [cost for task in todo if (cost := cost_of(task.config, table)) is not None]):
        longest, seconds = max(c.seconds for c in estimates), sum(c.seconds for c in estimates)
        wall = max(seconds / workers, longest)
        lines.append(f"time: about {duration(wall)} with workers={workers}, {duration(seconds)} of one worker's time")
        lines += _sources(estimates)
        lines.append(
            f"disk: about {sum(c.disk for c in estimates) / 1e9:.2f} GB of records; cache: at most {cache_gb:g} GB"
        )
        lines.append(f"memory: up to {min(workers, len(todo)) * max(c.memory for c in estimates) / 1e9:.2f} GB")
    elif todo:
        lines.append("time, disk and memory: unknown, there are no records here to estimate them from")
    return "\n".join(lines)
