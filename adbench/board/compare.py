"""By how much rows of a leaderboard differ, for new draws and new patients: `adbench compare`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from adbench.board.samples import METRICS, Draw, Row, Samples, objection, sampled
from adbench.errors import AdbenchError
from adbench.records.record import Record
from adbench.statistics import (
    Design,
    Interval,
    Verdict,
    compare_pair,
    covariance,
    design,
    detectable,
    draws_needed,
    holm,
    mean_of,
    patients_needed,
    pixels,
    verdict,
)
from adbench.statistics.figures import LEAST_PATIENTS

MEAN = "mean of all"
Pair = tuple[Row, Row]


@dataclass(frozen=True)
class Comparison:
    """The difference of two rows on one dataset, first minus second, in points (hundredths).

    difference: None where it has no interval; `why` then says why not.
    p: after Holm's correction over the comparisons of one dataset and metric.
    patients, images: of the test split. draws: that both rows have; `only` names those that one row alone has.
    detectable: the smallest true difference that this design finds with 80 % power, 2.8 standard errors.
    least: the patients that an interval needs, where abnormal and normal ones are in the proportion of the test split.
    half_width: of the difference, the sum of the largest computation errors of both rows.
    """

    dataset: str
    metric: str
    first: str
    second: str
    difference: Interval | None
    why: str = ""
    p: float = math.nan
    verdict: Verdict | Literal["no interval"] = "no interval"
    patients: int = 0
    images: int = 0
    draws: int = 0
    only: str = ""
    detectable: float = math.nan
    plan: Design | None = None
    least: int = 0
    half_width: float = 0.0


class NotComparedError(AdbenchError):
    """No two of some rows can be compared by a metric; others may be, or by another metric.

    lines: one for each pair that there is, with the reason; empty where there is no pair.
    """

    def __init__(self, message: str, lines: Sequence[Comparison] = ()) -> None:
        super().__init__(message)
        self.lines = lines


def pairs(rows: Sequence[Row], against: str | None = None) -> list[Pair]:
    """Return the pairs to compare on each dataset: all, or one named row with each other.

    Raises NotComparedError where no two rows are of one dataset, or no row has the name, and AdbenchError where one of
    two chose its epoch on the test split.
    """
    found = []
    for _, some in itertools.groupby(rows, key=lambda row: row.dataset):
        peers = list(some)
        if against is None:
            found += list(itertools.combinations(peers, 2))
        else:
            named = [row for row in peers if against in (row.name, row.head["method"])]
            found += [(row, other) for row in named[:1] for other in peers if other is not row]
            if len(named) > 1:
                raise AdbenchError(f"--against {against} is {len(named)} rows: {'; '.join(row.name for row in named)}.")
    if not found:
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        what = f"--against {against} is compared with nothing" if against else "nothing can be compared"
        raise NotComparedError(f"{what}: two rows on the same test images are needed. There are: {names}.")
    for first, second in found:
        standings = {row.head["standing"] for row in (first, second)}
        if len(standings) > 1:
            raise AdbenchError(
                f"{first.name} ({first.head['standing']}) and {second.name} ({second.head['standing']}) on "
                f"{first.dataset} can't be compared: one of them knows more about the test images. Choose rows with "
                "--method."
            )
    return found


def having(rows: Sequence[Row], metric: str) -> tuple[list[Row], str]:
    """Return the rows that have a metric, and a sentence on those that don't: a pixel metric needs masks and maps.

    Raises NotComparedError where none has it.
    """
    found, left_out = list[Row](), list[Row]()
    for row in rows:
        has = metric not in pixels.METRICS or all(map(_drawn, row.folds.values()))
        (found if has else left_out).append(row)
    if not found:
        raise NotComparedError(f"no record here has {metric}: its dataset has no masks, or its method draws no maps.")
    somewhere = {row.dataset for row in found}
    names = (f"{row.name} on {row.dataset}" if row.dataset in somewhere else row.dataset for row in left_out)
    left = ", ".join(dict.fromkeys(names))
    return found, left and f"no {metric}: {left} (no masks, or a method that draws no maps)."


def _drawn(records: Mapping[Draw, Record]) -> bool:
    return all(record.content["histogram"] is not None for record in records.values())


def measured(
    rows: Sequence[Row],
    metric: str,
    samples: Samples,
    against: str | None = None,
    level: float = 0.95,
    notice: Callable[[Iterable[Pair], int], Iterable[Pair]] = lambda work, total: work,
) -> list[Comparison]:
    """Return the differences of rows pair by pair, without corrected p and verdict.

    Where several datasets are there, the mean over those that a pair shares follows.
    A pair that can't be compared says why. Raises NotComparedError, with these lines, where that is so of all pairs.
    """
    if metric not in METRICS:
        raise AdbenchError(f"--metric {metric} has no interval; {', '.join(METRICS)} have.")
    found = pairs(rows, against)
    compared, refused = list[Comparison](), list[str]()
    for first, second in notice(found, len(found)):
        try:
            compared.append(_compare(first, second, metric, samples, level))
        except AdbenchError as error:
            compared.append(Comparison(first.dataset, metric, first.name, second.name, None, str(error)))
            refused.append(f"{first.name} and {second.name} on {first.dataset}: {error}")
    if len(refused) == len(compared):
        raise NotComparedError(refused[0], compared)
    datasets = list(dict.fromkeys(one.dataset for one in compared))
    return compared + (_means(compared, datasets, level) if len(datasets) > 1 else [])


def judged(compared: Iterable[Comparison], margin: float = 1.0, level: float = 0.95) -> list[Comparison]:
    """Return differences with their verdicts, after Holm's correction over all of one dataset and metric.

    A difference that is measured twice, as that of two methods without draws is for each number of shots, counts once.
    No verdict rests on a difference within the computation error.
    """
    families: dict[tuple[str, str], dict[tuple[str, str], Comparison]] = {}
    for one in compared:
        families.setdefault((one.dataset, one.metric), {}).setdefault((one.first, one.second), one)
    found: list[Comparison] = []
    for family in families.values():
        corrected = holm([one.difference.p if one.difference else math.nan for one in family.values()])
        for one, p in zip(family.values(), corrected, strict=True):
            if one.difference:
                one = replace(one, p=p, verdict=_verdict(one.difference, p, one.half_width, margin, level))
            found.append(one)
    return found


def _verdict(difference: Interval, p: float, half_width: float, margin: float, level: float) -> Verdict:
    if half_width and abs(difference.estimate) <= half_width:
        p = math.nan  # its sign is not known
    wide = replace(difference, low=difference.low - half_width, high=difference.high + half_width)
    return verdict(wide, p, margin, level)


def _compare(first: Row, second: Row, metric: str, samples: Samples, level: float) -> Comparison:
    both, only = _common(first, second)
    sources = len({source for source, _ in both})
    folds = [
        [row.of(fold, both) if row.drawn else _alone(row, fold, sources) for row in (first, second)]
        for fold in _same_folds(first, second)
    ]
    tests = [samples.images(chosen[0][0][0]) for chosen in folds]
    line = Comparison(
        first.dataset, metric, first.name, second.name, None,
        patients=sum(len(np.unique(test.groups)) for test in tests), images=sum(len(test.groups) for test in tests),
        draws=sources, only=only,
        half_width=sum(max(_half_width(rows[place], metric) for rows in folds) for place in (0, 1)),
    )  # fmt: skip
    if why := objection(tests, metric):
        return replace(line, why=why)
    read = [sampled(chosen, metric, samples) for chosen in folds]
    try:
        found = [(figures, covariance(without)) for figures, without in read]
    except AdbenchError as error:
        return replace(line, why=str(error))
    difference = over_folds([compare_pair(*one, level) for one in found], level)
    fixed = all(not covered.any() for _, covered in found)  # two figures of exactly 100, as two perfect methods have
    if difference.se == 0 and (difference.estimate != 0 or fixed):
        return replace(line, why="neither draws nor patients make these figures vary, so no interval exists.")
    line = replace(line, difference=difference, detectable=detectable(difference.se**2, level=level))
    if len(found) > 1:
        return line
    least = math.ceil(LEAST_PATIENTS * line.patients / min(tests[0].classes(metric)))
    return replace(line, plan=design(*found[0], line.patients), least=least)


def over_folds(intervals: list[Interval], level: float = 0.95) -> Interval:
    """Return the mean over the folds of a cross-validation, whose patients are others and so independent."""
    return intervals[0] if len(intervals) == 1 else mean_of(intervals, level)


def _same_folds(first: Row, second: Row) -> list[int]:
    if set(first.folds) != set(second.folds):
        texts = (f"{row.name} has the folds {', '.join(map(str, row.folds))}" for row in (first, second))
        raise AdbenchError(f"on {first.dataset} {' and '.join(texts)}: run the same folds of both.")
    return list(first.folds)


def _half_width(draws: Sequence[Sequence[Record]], metric: str) -> float:
    """Return the largest computation error of a row's figures, in points."""
    widths = ((record.content.get("half_widths") or {}).get(metric) or 0.0 for seeds in draws for record in seeds)
    return 100 * max(widths)


def _alone(row: Row, fold: int, draws: int) -> list[list[Record]]:
    """Return the record of a row without draws, once for each draw of the other row."""
    records = row.folds[fold]
    if len(records) > 1:
        raise AdbenchError(
            f"{row.name} on {row.dataset} learns from no image and has {len(records)} seeds; compare one of them."
        )
    return [list(records.values())] * draws


def _common(first: Row, second: Row) -> tuple[list[Draw], str]:
    """Return the draws that are compared, and in words those that one row alone has."""
    if not first.drawn and not second.drawn:
        return [("none", 0)], ""
    if not first.drawn or not second.drawn:
        return sorted((first if first.drawn else second).draws), ""
    both = sorted(first.draws & second.draws)
    if not both:
        raise AdbenchError(
            f"they have no draw in common: {_named(first.draws)} and {_named(second.draws)}. Run the same draws and "
            "seeds of both."
        )
    texts = []
    for row, other in ((first, second), (second, first)):
        if alone := row.draws - other.draws:
            texts.append(f"{row.name} alone has {_named(alone)}")
    seeds = [{seed for source, seed in both if source == one} for one in {source for source, _ in both}]
    if len({len(some) for some in seeds}) > 1 and (everywhere := set.intersection(*seeds)):
        lacking = [draw for draw in both if draw[1] not in everywhere]
        texts.append(f"not all draws have the seeds of {_named(lacking)}")
        both = [draw for draw in both if draw not in lacking]
    return both, "; ".join(texts)


def _named(draws: Iterable[Draw]) -> str:
    return ", ".join(f"{source.replace(':', ' ')} (seed {seed})" for source, seed in sorted(draws))


def _means(compared: Sequence[Comparison], datasets: Sequence[str], level: float) -> list[Comparison]:
    """Return each pair's mean over the datasets; a pair that one of them lacks has none."""
    means = []
    for names in dict.fromkeys((one.first, one.second) for one in compared):
        some = [one for one in compared if (one.first, one.second) == names and one.difference is not None]
        if [one.dataset for one in some] != list(datasets):
            continue
        mean = mean_of([one.difference for one in some if one.difference], level)
        line = Comparison(f"{MEAN} {len(datasets)}", some[0].metric, *names, mean)
        fewest = min(one.draws for one in some)
        means.append(replace(
            line, patients=sum(one.patients for one in some), images=sum(one.images for one in some), draws=fewest,
            detectable=detectable(mean.se**2, level=level),
            half_width=sum(one.half_width for one in some) / len(some),
        ))  # fmt: skip
    return means


def advice(one: Comparison, margin: float, level: float = 0.95) -> str:
    """Say what would decide an undecided comparison: draws, patients, or neither."""
    if one.difference is None or one.plan is None or one.verdict != "undecided":
        return ""
    if one.half_width and abs(one.difference.estimate) <= one.half_width:
        return f"the difference lies within the computation error of ± {one.half_width:.2f} points"
    if one.difference.p < 1 - level <= one.p:
        return "fewer comparisons would: without the correction for their number it is shown (--against, --shots)"
    wanted = max(abs(one.difference.estimate), margin)
    draws, patients = _needed(one.plan, one.least, wanted, level)
    needed = {"patients": patients} | ({"draws": draws} if one.plan.draws > 1 else {})
    more = {what: n - getattr(one, what) for what, n in needed.items() if n is not None}
    if any(n <= 0 for n in more.values()):
        return f"as many draws and patients show {wanted:.1f} points in 80 of 100 cases"
    never = " or ".join(what for what in needed if what not in more)
    if not more:
        return f"no number of {never} would show {wanted:.1f} points"
    texts = " or ".join(f"{n} more {what}" for what, n in more.items())
    return f"{texts} would show {wanted:.1f} points" + (f", no number of {never} would" if never else "")


def _needed(plan: Design, least: int, difference: float, level: float) -> tuple[int | None, int | None]:
    """Return the draws, and the patients, that show a difference: never fewer patients than have an interval."""
    draws, patients = (need(plan, difference, level=level) for need in (draws_needed, patients_needed))
    return draws, None if patients is None else max(patients, least)


def needs(one: Comparison, difference: float, level: float = 0.95) -> str:
    """Say how many draws and patients a difference of so many points needs, at 80 % power."""
    if one.plan is None:
        return one.why or "of a mean over datasets or folds it is not known: see each of them"
    draws, patients = _needed(one.plan, one.least, difference, level)
    least = detectable(one.plan.variance(math.inf, one.patients), level=level)
    parts = []
    if one.plan.draws == 1:
        parts.append("draws: unknown from one")
    elif draws is None:
        parts.append(f"no number of draws shows less than {least:.1f} points on these {one.patients} patients")
    else:
        parts.append(f"{draws} draws with these {one.patients} patients")
    parts.append(
        f"no number of patients with {one.draws} draws" if patients is None
        else f"{patients} patients with {one.draws} draw{'s' * (one.draws != 1)}"
    )  # fmt: skip
    return "; ".join(parts)
