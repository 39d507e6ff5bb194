"""The certificate: for each figure of a paper what came out, a verdict, and what moves ours to theirs."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np

from adbench.board.papers import Figure, all_figures
from adbench.board.samples import METRICS, Samples, over_draws
from adbench.errors import AdbenchError
from adbench.records.record import Record
from adbench.reproduce.cells import PARAMETERS, Cells, Planned, changes, is_drawn
from adbench.reproduce.listing import Repeat
from adbench.reproduce.request import SEEDS, Request
from adbench.statistics import Interval, mean_of, on_logit
from adbench.statistics.figures import LEAST_PATIENTS
from adbench.statistics.prediction import prediction_interval
from adbench.sweeps.sweep import Task

Verdict = Literal["reproduced", "not reproduced", "cannot tell"]
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """What some repeats gave, in per cent: one figure each, and an interval; NaN where there is none.

    For the cells as published the interval is for one more run of them, for the clean ones it is for new draws of the
    support and new patients. `why` says why there is none. half_width: the largest computation error of the figures.
    """

    values: tuple[float, ...] = ()
    low: float = math.nan
    high: float = math.nan
    why: str = ""
    half_width: float = 0.0

    @property
    def mean(self) -> float:
        """Their mean; NaN without values."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def std(self) -> float:
        """Their standard deviation; NaN for fewer than two."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: the words that change, the mean with them, and by how much it moves, in points."""

    words: str
    mean: float
    moves: float


@dataclass(frozen=True)
class Line:
    """One figure of the certificate.

    leak: what the choice of the epoch on the test split adds, in points; NaN where there is none.
    ladder: from the clean cells to those as published; empty where it was not run.
    """

    cells: Cells
    published: Summary
    clean: Summary
    leak: float
    verdict: Verdict
    why: str
    ladder: tuple[Rung, ...] = field(default=())

    @property
    def figure(self) -> Figure:
        """The paper's figure."""
        return self.cells.figure


def judged(
    paper: float, values: Sequence[float], exact: bool = False, decimals: int = 2, half_width: float = 0.0
) -> tuple[Verdict, str]:
    """Say whether a paper's figure is one that the cell as published gives, and why.

    It is reproduced where a value that rounds to it, with its `decimals`, lies within mean ± t s sqrt(1 + 1/n) of n
    figures, one per seed. exact: no random number is drawn: the one figure must round to the paper's. half_width: the
    computation error of the figures, allowed for like the rounding; where it is larger, and decides, none can tell.

    >>> judged(90.0, [89.0, 90.0, 91.0, 90.5, 89.5])
    ('reproduced', '90.00 lies within 87.60 to 92.40')
    >>> judged(90.0, [89.0, 90.0])
    ('cannot tell', '2 of 5 seeds')
    >>> judged(92.0, [91.9967] * 5)[0]
    'reproduced'
    >>> judged(80.0, [79.95], exact=True, half_width=0.74)
    ('cannot tell', '79.95, the same for every seed, known to ± 0.74 points')
    """
    rounding = 0.5 * 10.0**-decimals + 1e-9

    def within(margin: float) -> bool:
        return low - margin <= paper <= high + margin

    if exact and values:
        low = high = values[0]
        why = f"{values[0]:.{decimals}f}, the same for every seed"
    elif len(values) < SEEDS:
        return "cannot tell", f"{len(values)} of {SEEDS} seeds"
    else:
        low, high = prediction_interval(values, LEVEL)
        why = f"{paper:.2f} lies {'within' if within(rounding) else 'outside'} {low:.2f} to {high:.2f}"
    if half_width > rounding:
        why += f", known to ± {half_width:.2f} points"
    if not within(rounding + half_width):
        return "not reproduced", why
    return "reproduced" if half_width <= rounding or within(rounding - half_width) else "cannot tell", why


def line(some: Cells, planned: Planned, asked: Request, samples: Samples, ladder: bool = False) -> Line:
    """Return a figure's line of the certificate from the records that there are; ladder: whether its rungs were run."""
    figure = some.figure
    published = _summary(some.published, planned, figure.metric)
    if len(published.values) > 1:
        low, high = prediction_interval(published.values, LEVEL)
        published = replace(published, low=low, high=high)
    clean = _clean(some, planned, samples)
    tasks = [task for repeat in some.published for task in planned[repeat]]
    verdict, why = judged(
        figure.value, published.values, _exact(some, tasks), decimals(figure.source, figure.metric),
        published.half_width,
    )  # fmt: skip
    if failed := [task for task in tasks if task.record is None]:
        verdict, why = "cannot tell", f"{len(failed)} of {len(tasks)} cells have no record"
        if (errors := {str(task.error) for task in failed if task.error}) and len(errors) == 1:
            why += f": {errors.pop().rstrip('.')}"
    if differ := changes(some, asked, tasks):
        verdict, why = "cannot tell", "; ".join(differ)
    last = Summary(tuple(_values(some.published, planned, figure.metric, _last)))
    leak = published.mean - last.mean if len(last.values) == len(published.values) else math.nan
    rungs = _ladder(some, planned, clean, published, last) if ladder else ()
    return Line(some, published, clean, leak, verdict, why, rungs)


def to_run(some: Cells, planned: Planned) -> list[Repeat]:
    """Return the repeats of the ladder that are to run.

    The last rung but one is free where the last facet is the choice of the epoch: a record has both figures.
    """
    rungs = some.rungs[:-1] if _chooses(some) else some.rungs
    return [repeat for rung in rungs for repeat in rung if repeat not in planned]


def _chooses(some: Cells) -> bool:
    """Whether the last facet of the authors is the choice of the epoch."""
    return bool(some.repetition.theirs) and "selection" in some.repetition.theirs[-1]


def _ladder(some: Cells, planned: Planned, clean: Summary, published: Summary, last: Summary) -> tuple[Rung, ...]:
    means = [clean.mean]
    for number, rung in enumerate(some.rungs):
        free = _chooses(some) and number == len(some.rungs) - 1
        known = [repeat for repeat in rung if repeat in planned]
        means.append((last if free else Summary(tuple(_values(known, planned, some.figure.metric)))).mean)
    means.append(published.mean)
    steps = zip(some.repetition.theirs, itertools.pairwise(means), strict=True) if some.repetition.theirs else ()
    return tuple(
        Rung(" ".join(f"{key}={text}" for key, text in step.items()), after, after - before)
        for step, (before, after) in steps
    )


Read = Callable[[Record, str], float | None]


def _figure(record: Record, metric: str) -> float | None:
    """Return a record's figure in per cent; None where the metric doesn't apply."""
    if metric == PARAMETERS:
        return float(record.content["parameters"]["trainable"]) / 1e6
    value = record.metrics.get(metric)
    return None if value is None else 100 * value


def _half_width(record: Record, metric: str) -> float | None:
    """Return the computation error of a record's figure in points; None where the metric doesn't apply."""
    if _figure(record, metric) is None:
        return None
    return 100 * ((record.content.get("half_widths") or {}).get(metric) or 0.0)


def _last(record: Record, metric: str) -> float | None:
    """Return the figure of the last epoch of a record whose epoch was chosen on the test split; None of another one."""
    last = (record.content.get("selection") or {}).get("last") or {}
    return None if last.get(metric) is None else 100 * float(last[metric])


def _values(repeats: Sequence[Repeat], planned: Planned, metric: str, read: Read = _figure) -> list[float]:
    """Return the figure of each repeat whose cells all have a record; cells that come out the same count once."""
    found: dict[tuple[int, ...], float] = {}
    for repeat in repeats:
        tasks = planned[repeat]
        records = [task.record for task in tasks if task.record is not None]
        figures = [value for record in records if (value := read(record, metric)) is not None]
        if len(records) == len(tasks) and figures:
            found[tuple(map(id, tasks))] = float(np.mean(figures))
    return list(found.values())


def _summary(repeats: Sequence[Repeat], planned: Planned, metric: str) -> Summary:
    """Return what some repeats gave, without an interval."""
    values, halves = (_values(repeats, planned, metric, read) for read in (_figure, _half_width))
    return Summary(tuple(values), half_width=max(halves, default=0.0))


def _exact(some: Cells, tasks: Sequence[Task]) -> bool:
    """Whether every seed gives the same figure: nothing is drawn, neither in the method nor for its support."""
    if some.figure.metric == PARAMETERS:
        return True
    words = some.repetition.published
    drawn = is_drawn(words) and "support" not in words
    return not drawn and all(task.cell is not None and not task.cell.capability.stochastic for task in tasks)


def _clean(some: Cells, planned: Planned, samples: Samples) -> Summary:
    """Return the mean of the clean cells with its interval for new draws and new patients, where it has one."""
    metric = some.figure.metric
    found = _summary(some.clean, planned, metric)
    if not found.values or metric not in METRICS:
        return replace(found, why=f"{metric} has no interval" if found.values else "")
    repeats = {tuple(map(id, planned[one])): planned[one] for one in some.clean if all(t.record for t in planned[one])}
    members = [[task.record for task in column if task.record] for column in zip(*repeats.values(), strict=True)]
    try:
        intervals = [
            _interval(records, metric, samples) for records in members if _figure(records[0], metric) is not None
        ]
        low, high = on_logit(mean_of(intervals, LEVEL) if len(intervals) > 1 else intervals[0], LEVEL)
    except AdbenchError as error:
        return replace(found, why=str(error))
    return replace(found, low=100 * low, high=100 * high)


def _interval(records: Sequence[Record], metric: str, samples: Samples) -> Interval:
    """Return the interval of one cell's figure over its draws; AdbenchError where there is none."""
    fewest = min(samples.images(records[0]).patients)
    if fewest < LEAST_PATIENTS:
        raise AdbenchError(f"{fewest} patients of a class are too few for an interval; {LEAST_PATIENTS} are needed.")
    return over_draws(records, metric, samples, LEVEL)


@cache
def decimals(source: str, metric: str) -> int:
    """Return with how many decimals a paper prints a metric."""
    texts = [f"{one.value:g}" for one in all_figures() if one.source == source and one.metric == metric]
    return max(len(text.partition(".")[2]) for text in texts)


def counts(lines: Sequence[Line]) -> Counter[str]:
    """Count the verdicts."""
    return Counter(line.verdict for line in lines)
