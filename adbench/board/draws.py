"""Runs that are missing from the rows of a leaderboard: whoever leaves out the worst draw raises the mean."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from adbench.board.leaderboard import ROW, differing, lines, partial_folds, run_of
from adbench.records.record import Record
from adbench.system.text import counted

PEERS = ("data", "protocol", "train_on", "shots", "selection")  # rows that share these are expected to have one design
WORDS = ("method", "variant", "dataset", "protocol", "train_on", "shots")
Run = tuple[int, int, int]  # draw, seed, split seed
LISTED = {-1}  # the draws of a support list
MOST = 1000  # draws and seeds that are looked for
MANY = 10**9  # of supports, where a record does not tell how many images there were
ALIKE = ". With so few images draws can choose the same ones, and are one cell then: `adbench plan` says which"


def missing_runs(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each row whose draws, seeds and splits are not complete.

    Complete: all combinations of the row's own draws, seeds and splits, or for each draw the seed of the same number;
    the draws from 0 on without a gap, and the seeds where there is a seed 0; and the draws of other rows with the same
    protocol and shots, of the same method or on the same dataset, where it has half of them. A support of all images of
    its split is the same in each draw, and is missed in none; a support list is of no draw. Missing folds of a
    cross-validation are named too.
    """
    rows: dict[tuple[str, ...], set[Run]] = defaultdict(set)
    whole: set[tuple[str, ...]] = set()
    choices: dict[tuple[str, ...], int] = {}
    for record, line in zip(records, lines(records), strict=True):
        if str(record.content["support"]["source"]).startswith(("draw:", "list:")):
            row = _row(line)
            rows[row].add(run_of(record)[:3])
            whole |= {row} if _takes_all(record) else set()
            choices[row] = _choices(record)
    heads = {key: _head(key) for key in rows}
    sentences = []
    for key, runs in rows.items():
        draws = {draw for draw, *_ in runs}
        if key not in whole and heads[key]["shots"] != "full":
            others = [{draw for draw, *_ in rows[other]} for other in rows if _are_peers(heads[key], heads[other])]
            near = set().union(*(some for some in others if 2 * len(draws & some) >= len(some)))
            draws = _gapless(draws | near) if draws != LISTED else draws
        absent = sorted(_expected(draws, runs) - runs)
        if absent:
            sentence = f"{_where(heads[key])}: {_named(absent)} missing; its means are over {counted(len(runs), 'run')}"
            sentences.append(sentence + ALIKE * (len(draws) ** 2 > choices[key] / 50))  # likelier than 1 in 100
    return sentences + partial_folds(records)


def unproven_seeds(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each row without a seed 0: its seeds may be the best of those that were tried."""
    rows: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for record, line in zip(records, lines(records), strict=True):
        rows[_row(line)].add(run_of(record)[1])
    found = []
    for key, seeds in rows.items():
        if 0 not in seeds:
            some = ", ".join(map(str, sorted(seeds)[:6]))
            were = f"seed {some} was" if len(seeds) == 1 else f"seeds {some} were"
            found.append(f"{_where(_head(key))}: whether {were} chosen among others; there is no seed 0")
    return found


def _row(line: Mapping[str, str]) -> tuple[str, ...]:
    return (*(line[key] for key in ROW), line["dataset"])


def _head(row: tuple[str, ...]) -> dict[str, str]:
    return dict(zip((*ROW, "dataset"), row, strict=True))


def _expected(draws: set[int], runs: set[Run]) -> set[Run]:
    """Return the runs that a row with these draws needs to be complete."""
    seeds, splits = ({run[place] for run in runs} for place in (1, 2))
    if len(draws) > 1 and all(draw == seed for draw, seed, _ in runs):
        return {(draw, draw, split) for draw in draws for split in splits}
    return set(itertools.product(draws, _gapless(seeds) if 0 in seeds else seeds, splits))


def _gapless(numbers: set[int]) -> set[int]:
    """Return numbers with all below the largest; below `MOST` where it is a very large one."""
    return numbers | set(range(min(max(numbers), MOST)))


def _where(head: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {head[name]}" for name in WORDS if head[name])


def _taken(record: Record) -> tuple[list[int], list[int]]:
    """Return the numbers of normal and abnormal images of a support, and of those there were, -1 where unknown."""
    dataset, support = record.content["dataset"], record.content["support"]
    there = (dataset.get("counts") or {}).get(dataset.get("support_split")) or [-1, -1]
    return [len(support["normal"]), len(support["abnormal"])], there


def _choices(record: Record) -> int:
    """Return how many different supports there are to draw; at most, as draws spread over patients."""
    taken, there = _taken(record)
    return math.prod(math.comb(all_, number) if all_ >= 0 else MANY for number, all_ in zip(taken, there, strict=True))


def _takes_all(record: Record) -> bool:
    """Whether a record's support is all that there was to draw from."""
    dataset, (taken, there) = record.content["dataset"], _taken(record)
    plain = not dataset.get("support_fill") and not (taken[1] and dataset.get("abnormal_support"))
    return plain and any(taken) and all(number in (0, all_) for number, all_ in zip(taken, there, strict=True))


def _are_peers(one: dict[str, str], other: dict[str, str]) -> bool:
    same = all(one[name] == other[name] for name in PEERS)
    return same and (one["dataset"] == other["dataset"] or all(one[name] == other[name] for name in ROW))


def _named(runs: Sequence[Run]) -> str:
    """Return runs in words with their verb: `draws 2, 3 are`."""
    verb = "is" if len(runs) == 1 else "are"
    seeds = len({run[1:] for run in runs}) > 1 or any(run[1:] != (0, 0) for run in runs)
    if not seeds:
        numbers = [str(draw) for draw, *_ in runs]
        more = f" and {len(numbers) - 20} more" if len(numbers) > 20 else ""
        return f"draw{'s' * (len(runs) > 1)} {', '.join(numbers[:20])}{more} {verb}"
    some = [
        f"{f'draw {draw} with ' if draw >= 0 else ''}seed {seed}" + (f" of split {split}" if split else "")
        for draw, seed, split in runs
    ]
    return f"{', '.join(some[:6])}{f' and {len(some) - 6} more' if len(some) > 6 else ''} {verb}"


def contradictions(records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each two records of one cell whose figures differ, as a leaderboard judges it."""
    first: dict[str, Record] = {}
    for record in records:
        other = first.setdefault(record.key, record)
        if differing(other, record):
            yield f"{other.path} and {record.path} are records of one cell with different figures"
