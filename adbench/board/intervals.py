"""Intervals of a leaderboard's figures, and the differences of its rows, for new patients and new draws."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adbench.board.averages import averages, completed
from adbench.board.compare import over_folds
from adbench.board.leaderboard import ROW, lines
from adbench.board.peers import GROUP, complete, row_id
from adbench.board.ranks import ranked
from adbench.board.samples import METRICS, Row, Samples, ScoredImages, objection, row_of, sampled
from adbench.errors import AdbenchError, RecordError
from adbench.records.record import Record
from adbench.statistics import Interval, compare_pair, covariance, images, interval, on_logit, pixels, single

LEVEL = 0.95
SINGLE = ("key", "metric", "low", "high", "note")
OF_ROW = (*ROW, "dataset", "metric", "se", "df", "patients", "images", "ci_note")
PAIR = ("dataset", "metric", "first", "second", "difference", "se", "df", "p")


class Measured(NamedTuple):
    """What can be said of some records, figures in points.

    records: the interval of each record alone, columns `SINGLE`, `note` saying why there is none. rows: the standard
    error of each row's mean, columns `OF_ROW`. pairs: differences of rows that are ranked together, columns `PAIR`,
    `first` and `second` as from `peers.row_id`. problems: a sentence for each record that can't be read.
    """

    records: pd.DataFrame
    rows: pd.DataFrame
    pairs: pd.DataFrame
    problems: tuple[str, ...]


def measure(
    records: Sequence[Record],
    long: pd.DataFrame,
    metrics: Sequence[str],
    count: Callable[[int], None] = lambda done: None,
) -> Measured:
    """Compute the intervals of some records and of the rows of `long`, their leaderboard.

    metrics: those of them that have intervals are used. count: called with the number of records read so far.
    """
    wanted = [metric for metric in metrics if metric in METRICS]
    whole = long[complete(long)]
    chosen = {(row, *rest) for row, *rest in zip(row_id(whole), whole["dataset"], whole["metric"], strict=True)}
    members: dict[tuple[str, str], dict[str, list[Record]]] = {}
    heads: dict[str, dict[str, str]] = {}
    for record, line in zip(records, lines(records), strict=True):
        name = json.dumps([line[key] for key in ROW])
        heads[name] = line
        members.setdefault((line["data"], line["dataset"]), {}).setdefault(name, []).append(record)
    singles, rows, pairs = list[tuple[Any, ...]](), list[tuple[Any, ...]](), list[tuple[Any, ...]]()
    problems, done = dict[str, None](), 0
    for (_, dataset), cells in members.items():
        samples, read = Samples(), dict[str, dict[str, str]]()  # of one dataset: those of all need not fit into memory
        for some in cells.values():
            for record in some:
                read[record.key] = _read(record, wanted, samples, problems)
                singles += _alone(record, wanted, samples, read[record.key])
                done += 1
                count(done)
        for metric in wanted:
            found: dict[str, Row] = {}
            for name, some in cells.items():
                having = [record for record in some if record.metrics.get(metric) is not None]
                if not having:
                    continue
                row, values = _of_row(heads[name], dataset, having, metric, samples, read)
                rows.append((*(heads[name][key] for key in ROW), dataset, metric, *values))
                if row is not None and (name, dataset, metric) in chosen:
                    found[name] = row
            pairs += _pairs(found, dataset, metric, samples)
    return Measured(
        pd.DataFrame(singles, columns=[*SINGLE]),
        pd.DataFrame(rows, columns=[*OF_ROW]),
        pd.DataFrame(pairs, columns=[*PAIR]),
        tuple(problems),
    )


def _read(record: Record, metrics: Sequence[str], samples: Samples, problems: dict[str, None]) -> dict[str, str]:
    """Compute the jackknives of a record; return by metric why there is none."""
    why: dict[str, str] = {}
    for kind in (images.METRICS, pixels.METRICS):
        having = [metric for metric in metrics if metric in kind and record.metrics.get(metric) is not None]
        try:
            samples.prepare(record, having)
        except AdbenchError as error:
            why |= dict.fromkeys(having, str(error))
            old = kind == pixels.METRICS and record.content.get("image_histograms") is None
            if isinstance(error, RecordError) and not old:
                problems[str(error)] = None
    return why


def _alone(
    record: Record, metrics: Sequence[str], samples: Samples, read: Mapping[str, str]
) -> Iterator[tuple[Any, ...]]:
    for metric in metrics:
        if record.metrics.get(metric) is None:
            continue
        why = read.get(metric) or objection([samples.images(record)], metric)
        low = high = np.nan
        if not why:
            try:
                figures, without = sampled([[[record]]], metric, samples)
                one = single(figures[0], covariance(without), LEVEL)
                low, high = bounds(one.estimate, one.se, one.df)
                why = impossible(one.estimate, one.se)
            except AdbenchError as error:
                why = str(error)
        yield record.key, metric, low, high, why


def _of_row(
    head: Mapping[str, str], dataset: str, records: Sequence[Record], metric: str, samples: Samples,
    read: Mapping[str, Mapping[str, str]],
) -> tuple[Row | None, tuple[Any, ...]]:  # fmt: skip
    """Return a row whose differences can be measured, or none, and its se, df, patients, images and note."""
    size = sum(record.content["test_images"] for record in records[:1])
    nothing = np.nan, np.nan, np.nan, size
    for record in records:
        if why := read[record.key].get(metric):
            return None, (*nothing, f"no interval: {why}")
    try:
        row = row_of(head["method"], head, dataset, records)
        tests = [samples.images(next(iter(drawn.values()))) for drawn in row.folds.values()]
        patients, size = sum(len(np.unique(test.groups)) for test in tests), sum(len(test.groups) for test in tests)
        if why := objection(tests, metric):
            return None, (np.nan, np.nan, patients, size, f"no interval: {why}")
        one = _interval(row, metric, samples)
    except AdbenchError as error:
        return None, (*nothing, f"no interval: {error}")
    if why := impossible(one.estimate, one.se):
        return row, (np.nan, np.nan, patients, size, f"no interval: {why}")
    return row, (one.se, one.df, patients, size, "; ".join(_remarks(row, tests)))


def _remarks(row: Row, tests: Sequence[ScoredImages]) -> Iterator[str]:
    if len(row.sources) == 1 and row.drawn:
        yield "for new patients and this draw alone"
    if len(row.folds) > 1:
        yield f"for new patients and the models of these {len(row.folds)} folds"
    unknown, size = sum(test.unknown for test in tests), sum(len(test.groups) for test in tests)
    if unknown:
        yield f"{unknown} of {size} images have no known patient; each counts as a patient of its own"


def _interval(row: Row, metric: str, samples: Samples) -> Interval:
    parts = []
    for fold in row.folds:
        figures, without = sampled([row.of(fold, row.draws)], metric, samples)
        parts.append(single(figures[0], covariance(without), LEVEL))
    return over_folds(parts, LEVEL)


def _pairs(found: Mapping[str, Row], dataset: str, metric: str, samples: Samples) -> Iterator[tuple[Any, ...]]:
    """Yield the differences of all rows of each group; of rows that can't be compared there is none."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, row in found.items():
        groups.setdefault(tuple(str(row.head[key]) for key in GROUP), []).append(name)
    for first, second in itertools.chain(*(itertools.combinations(sorted(names), 2) for names in groups.values())):
        rows = found[first], found[second]
        parts = []
        try:
            for fold in rows[0].folds:
                figures, without = sampled([row.of(fold, rows[0].draws) for row in rows], metric, samples)
                parts.append(compare_pair(figures, covariance(without), LEVEL))
        except (AdbenchError, KeyError):  # other test images, or a row of other supports: not comparable
            continue
        one = over_folds(parts, LEVEL)
        yield dataset, metric, first, second, one.estimate, one.se, one.df, one.p


def judged(long: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """Return a leaderboard's rows with averages and missing ones (`completed`), intervals and ranks.

    Added columns: se, df, ci_low, ci_high, patients, images, ci_note, and those of `ranks.ranked`.
    """
    whole = completed(long.merge(measured.rows, on=[*ROW, "dataset", "metric"], how="left"))
    limits = [bounds(*values) for values in whole[["mean", "se", "df"]].itertuples(index=False, name=None)]
    low, high = (pd.Series(column, whole.index, dtype=float) for column in zip(*limits, strict=True))
    whole = whole.assign(ci_low=low, ci_high=high)
    means: dict[tuple[str, str, str, str], list[str]] = {}
    for key, part in long[long["data"] != "published"].groupby(["data", "standing", "metric"]):
        data, standing, metric = map(str, key)
        for name, members in averages(sorted(set(part["dataset"]))).items():
            means[data, standing, metric, name] = members
    return ranked(whole, measured.pairs, means)


def bounds(mean: float, se: float, df: float) -> tuple[float, float]:
    """Return the interval of a figure in per cent, taken on the logit scale; NaN where it has none.

    >>> low, high = bounds(98.0, 1.5, float("inf"))
    >>> round(low, 2), round(high, 2)
    (91.62, 99.55)
    """
    if not se > 0 or not 0 < mean < 100:
        return np.nan, np.nan
    low, high = on_logit(interval(mean / 100, (se / 100) ** 2, 0.0, df, LEVEL), LEVEL)
    return 100 * low, 100 * high


def impossible(mean: float, se: float) -> str:
    """Say why a figure in per cent has no interval; empty where it has one."""
    if mean in (0, 100):
        return f"a figure of exactly {mean:g} has none, as no patient contradicts it."
    return "" if se > 0 else "leaving out patients does not change the figure."
