"""The tables of a sweep, before and after it, as plain text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from adbench.executors import Failure
from adbench.sweeps.costs import KEYS, Cost, Known, cost_of
from adbench.sweeps.sweep import Task, log_of
from adbench.system.text import counted

FIGURES = (("image AUROC", "image_auroc"), ("pixel AUROC", "pixel_auroc"), ("pixel AUPRO", "pixel_aupro"))
ROWS = 60  # of a table of cells; more of them are counted by method and dataset


def duration(seconds: float) -> str:
    """Write seconds for people.

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
    """Return the figures of a recorded task in one line."""
    metrics = task.found.metrics if task.found else {}
    texts = [f"{title} {100 * value:.2f} %" for title, name in FIGURES if (value := metrics.get(name)) is not None]
    return ", ".join(texts)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as plain lines, which no terminal's width folds.

    >>> print(aligned(["a", "b"], [["x", "1"], ["long", "2"]]))
      a     b
      x     1
      long  2
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ("  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in [header, *rows])
    return "\n".join(line.rstrip() for line in lines)


def names(tasks: Sequence[Task]) -> tuple[list[str], list[list[str]]]:
    """Return a header and, for each task, the keys in which the tasks differ; method and dataset always."""
    keys = ["method", "dataset", "backbone", "schedule", "protocol", "selection", "train_on", "input_size", "eval_size"]
    keys += ["precision", "threads", "batch_size", "shots", "draw", "seed"]
    columns = {key: [str(getattr(task.config, key)) for task in tasks] for key in keys}
    columns["method"] = method_names(columns["method"])
    kept = [key for key in keys if key in ("method", "dataset") or len(set(columns[key])) > 1]
    return kept, [list(row) for row in zip(*(columns[key] for key in kept), strict=True)]


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
        return f"  {sum(task.found is not None for task in tasks)} of {counted(len(tasks), 'cell')} have a record"
    header, rows = names(tasks)
    for task, row in zip(tasks, rows, strict=True):
        metrics = task.found.metrics if task.found else {}
        row += [f"{100 * v:.2f}" if (v := metrics.get(name)) is not None else "" for _, name in FIGURES]
        row += [duration(task.seconds) if task.found else ""]
        row += [task.found.path.name if task.found else "failed" if task.key in failures or task.error else "not run"]
    return aligned([*header, *(title for title, _ in FIGURES), "time", "record"], rows)


def failed(tasks: Sequence[Task], failures: Mapping[str, Failure]) -> str:
    """Return the table of the cells that failed, with the log of each."""
    rows = []
    for task in tasks:
        if task.key in failures:
            failure = failures[task.key]
            rows.append([task.name, f"{failure.kind}: {failure.message}", str(log_of(task))])
        elif task.error is not None:
            rows.append([task.name, f"{type(task.error).__name__}: {task.error}", "never started"])
    return "\n".join(f"  {name}\n    {what}\n    {log}" for name, what, log in rows)


def planned(tasks: Sequence[Task], known: Known) -> str:
    """Return the table of a plan: each cell, or where they are many, counts by method and dataset.

    `by same` is the last of `costs.KEYS` in which cells and the records that the time is told from are alike.
    """
    if len(tasks) <= ROWS:
        header, rows = names(tasks)
        for task, row in zip(tasks, rows, strict=True):
            state = f"unknown: {task.missing}" if task.state == "unknown" else task.state
            row += [str(task.error) if task.error else state, *(["", ""] if task.found else _expected([task], known))]
        return aligned([*header, "state", "expected", "by same"], rows)
    methods = [task.config.method for task in tasks]
    names_of = dict(zip(methods, method_names(methods), strict=True))
    parts: dict[tuple[str, str], list[Task]] = defaultdict(list)
    for task in tasks:
        parts[names_of[task.config.method], task.config.dataset].append(task)
    states = [s for s in ("recorded", "to run", "unknown", "impossible") if any(task.state == s for task in tasks)]
    rows = []
    for (method, dataset), part in parts.items():
        counts = Counter(task.state for task in part)
        missing = [task for task in part if task.found is None]
        rows.append([method, dataset, *(str(counts[s]) for s in states), *_expected(missing, known)])
    return aligned(["method", "dataset", *states, "expected", "by same"], rows)


def _expected(tasks: Sequence[Task], known: Known) -> tuple[str, str]:
    found = [cost for task in tasks if task.error is None and (cost := cost_of(task.config, known)) is not None]
    if not found:
        return "no record to tell from" if any(task.error is None for task in tasks) else "", ""
    return duration(sum(cost.seconds for cost in found)), min((cost.like for cost in found), key=_levels)


def _levels(like: str) -> int:
    """Return how many of `KEYS` are meant.

    >>> [_levels(like) for like in ("any", "method", "shots")]
    [0, 1, 5]
    """
    return KEYS.index(like) + 1 if like in KEYS else 0


def _sources(costs: Sequence[Cost]) -> str:
    """Say which records the costs are told from."""
    parts = []
    for like, n in sorted(Counter(cost.like for cost in costs).items(), key=lambda part: -_levels(part[0])):
        keys = KEYS[: _levels(like)]
        parts.append(f"{n} by records of the same {', '.join(keys)}" if keys else f"{n} by records of other methods")
    return "; ".join(parts)


def totals(tasks: Sequence[Task], known: Known, workers: int, cache_gb: float) -> str:
    """Return the sums of a plan: cells, time, disk and memory."""
    counts = Counter(task.state for task in tasks)
    todo = [task for task in tasks if task.state in ("to run", "unknown")]
    lines = [f"{counted(len(tasks), 'cell')}: {counts['recorded']} recorded already, {counts['to run']} to run"]
    if counts["unknown"]:
        lines[0] += f", {counts['unknown']} unknown until drawn or fetched"
    if counts["impossible"]:
        lines[0] += f", {counts['impossible']} that can't run"
    if todo and (costs := [cost for task in todo if (cost := cost_of(task.config, known)) is not None]):
        longest, seconds = max(c.seconds for c in costs), sum(c.seconds for c in costs)
        wall = max(seconds / workers, longest)
        lines.append(f"time: about {duration(wall)} with workers={workers}, {duration(seconds)} of one worker's time")
        lines.append(f"told from: {_sources(costs)}")
        lines.append(
            f"disk: about {sum(c.disk for c in costs) / 1e9:.2f} GB of records; cache: at most {cache_gb:g} GB"
        )
        lines.append(f"memory: up to {min(workers, len(todo)) * max(c.memory for c in costs) / 1e9:.2f} GB")
    elif todo:
        lines.append("time, disk and memory: unknown, there is no earlier record here to tell from")
    return "\n".join(lines)
