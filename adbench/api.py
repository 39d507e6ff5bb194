"""Python interface: `run`, `plan` and `leaderboard`. Their keywords are the keys of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pandas as pd

from adbench.board import leaderboard as board
from adbench.board.assembly import assembled
from adbench.bundles.read import opened
from adbench.config import words as config_words
from adbench.config.given import plain, plain_keys
from adbench.config.words import parse
from adbench.errors import AdbenchError, SweepError, did_you_mean
from adbench.executors import Failure
from adbench.executors import start as executors
from adbench.records.record import Record, incomplete
from adbench.running import devices
from adbench.sweeps import sweep
from adbench.sweeps.costs import cost_of, costs
from adbench.system.text import cut, printable

Text = str | Sequence[str]
Number = int | Sequence[int]


class RunKeys(TypedDict, total=False):
    """The keys of `adbench run`: `adbench run --keys` shows what each means. A list is an axis of a sweep."""

    method: Text
    dataset: Text
    backbone: Text
    data_root: str | Path
    preset: Text
    protocol: Text
    train_on: Text | None
    shots: int | str | Sequence[int | str]
    draw: Number
    support: str | Path | None
    seed: Number
    selection: Text
    schedule: Text
    input_size: int | Sequence[int] | None
    eval_size: int | str | Sequence[int | str]
    batch_size: Number
    precision: Text
    device: str
    runs: str | Path
    cache: str | Path | None
    cache_gb: float
    feature_cache: str
    force: bool
    gallery: int
    gallery_levels: bool
    cores: int | str
    executor: str
    workers: int
    loader_workers: int
    logger: str
    operating: Text
    deterministic: bool | Sequence[bool]
    compile: bool | Sequence[bool]
    features_gb: float
    overrides: Mapping[str, Any]


def run(**keys: Unpack[RunKeys]) -> Record | list[Record]:
    """Fit and score a method and return its record; a list of records where a keyword has several values.

    Keywords are the keys of `adbench run`. Several values are a list, an array or a Series, or the command line's
    spelling: "clip,patchcore", "bmad", "*". Keys with a dot, such as `method.epochs`, go into `overrides`. What is
    recorded already in `runs` is read back. As a run does, this leaves torch one thread for each piece of work and
    seeds its global generator.

    Raises AdbenchError for a keyword or value that can't be used. Where one cell is asked for and fails, its own error;
    where one of several fails, SweepError, once all others are recorded.

    >>> record = run(method="patchcore", shots=4, gallery=0)
    >>> sorted(record.metrics)[:2]
    ['image_accuracy', 'image_ap']
    >>> records = run(method="clip", gallery=0, overrides={"method.temperature": 0.02}, seed=[0])
    >>> [record.content["resolved"]["method"] for record in records]
    ['clip']
    """
    words = words_of(keys)
    asked = parse(words)
    tasks = sweep.plan(asked)
    several = len(asked) > 1 or any(isinstance(value, list) for value in plain_keys(keys).values())
    config = asked[0]
    executor = executors.of(config, len(tasks))
    with closing(executor):
        if executor.remote or config.workers > 1:
            failures = {key: _sentence(f) for key, f in sweep.run(tasks, words, executor, _Silent()).failures.items()}
        else:
            failures = _run_here(tasks, words, several)
    for task in tasks:
        if task.error is not None:
            failures[task.key or task.name] = f"{type(task.error).__name__}: {task.error}"
            if not several:
                raise task.error
    if failures:
        raise SweepError(f"{len(failures)} of {len(tasks)} cells failed. {' '.join(failures.values())}")
    records = [task.record for task in tasks if task.record is not None]
    return records if several else records[0]


def words_of(keys: Mapping[str, Any]) -> list[str]:
    """Write keywords as the words of a command line; AdbenchError for an empty list."""
    given = plain_keys(keys)
    for section, inner in given.get("overrides", {}).items():
        if isinstance(inner, dict) and inner and "." not in section:
            name, value = next(iter(inner.items()))
            raise AdbenchError(
                f"overrides={{{section!r}: …}} is not possible: write keys with a dot, as in "
                f"{{{f'{section}.{name}'!r}: {value!r}}}."
            )
    for key, value in given.items():
        if value == []:
            raise AdbenchError(f"{key}=[]: a value is missing. Give at least one.")
    return config_words.words_of(given)


def _run_here(tasks: Sequence[sweep.Task], words: Sequence[str], several: bool) -> dict[str, str]:
    """Run the missing cells in this process, and return what went wrong by the key of the cell."""
    failures = {}
    for task in tasks:
        if task.cell is None or task.record is not None:
            continue
        try:
            task.record = devices.run(task.cell, words)
        except Exception as error:  # whatever a method raises costs its own cell only
            if not several:
                raise
            failures[task.key] = f"{task.name}: {type(error).__name__}: {error}"
    return failures


def _sentence(failure: Failure) -> str:
    return f"{failure.kind}: {failure.message}"


class _Silent:
    """A report of a sweep that shows nothing but what the executor has to say."""

    def started(self, task: sweep.Task) -> None:
        """Show nothing."""

    def stage(self, task: sweep.Task, name: str) -> None:
        """Show nothing."""

    def put_back(self, task: sweep.Task) -> None:
        """Show nothing."""

    def finished(self, task: sweep.Task, failure: Failure | None) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Warn: a job that can't start would be waited for without a word."""
        warnings.warn(text, stacklevel=2)

    def stopping(self, running: int) -> None:
        """Show nothing."""


def plan(**keys: Unpack[RunKeys]) -> pd.DataFrame:
    """Return the cells that the keywords name, one row each; nothing is drawn, fetched, written or run.

    Columns: method, dataset, shots, draw, seed, `state` (recorded, to run, unknown until data or weights are there,
    impossible), `key` of the record, `expected_seconds` from earlier records in `runs`, and `why` a cell is unknown or
    impossible.

    >>> plan(method="clip,patchcore", shots=4)["method"].tolist()
    ['clip', 'patchcore']
    """
    tasks = sweep.plan(parse(words_of(keys)), offline=True)
    known = costs(Path(tasks[0].config.runs), [task.record for task in tasks if task.record])
    rows = []
    for task in tasks:
        config, cost = task.config, cost_of(task.config, known)
        row = {name: getattr(config, name) for name in ("method", "dataset", "shots", "draw", "seed")}
        row |= {"state": task.state, "key": task.key, "expected_seconds": cost.seconds if cost else None}
        rows.append(row | {"why": str(task.error) if task.error else task.missing})
    return pd.DataFrame(rows)


class LeaderboardKeys(TypedDict, total=False):
    """What `leaderboard` shows: each is optional.

    method, dataset, protocol: of these records alone; names, groups and wildcards, as a list or with commas.
    published: add the papers' figures, of these methods alone. costs: add times and memory. intervals: whether figures
    have intervals and ranks; by default those of at most 200 records have, computed once and kept in the cache folder.
    """

    method: Text | None
    dataset: Text | None
    protocol: Text | None
    published: bool
    costs: bool
    intervals: bool


def leaderboard(
    records: Record | str | Path | Iterable[Record | str | Path] = "runs", **keys: Unpack[LeaderboardKeys]
) -> pd.DataFrame:
    """Return the leaderboard of records, or of folders or bundles of records, in long form: one row per figure.

    The columns are those of `adbench leaderboard --csv`: docs/leaderboard.md describes them. `keys`: method, dataset,
    protocol, published, costs, intervals; see `LeaderboardKeys`. A record that can't be read, and two of one cell that
    disagree, are left out with a warning each. Raises RecordError where no record is left, and AdbenchError for a
    keyword that can't be used.

    >>> table = leaderboard(run(method="patchcore", shots=4, gallery=0))
    >>> [*table.pivot_table(index="method", columns="metric", values="mean")][:2]
    ['image_ap', 'image_auroc']
    """
    for key in keys:
        if key not in LeaderboardKeys.__annotations__:
            hint = did_you_mean(key, LeaderboardKeys.__annotations__)
            raise AdbenchError(f"unknown key {key!r} for leaderboard: {hint}")
    several = [records] if isinstance(records, (Record, str, Path)) else records
    if isinstance(several, Iterable) and not isinstance(several, (pd.DataFrame, Mapping)):
        several = list(several)  # it may be a generator
    if not isinstance(several, list) or not all(isinstance(each, (Record, str, Path)) for each in several):
        raise AdbenchError(
            f"leaderboard({cut(printable(repr(records)), 60)}) is not possible: give records, or folders of records."
        )
    method, dataset, protocol = (_names(keys, key) for key in ("method", "dataset", "protocol"))
    folders = [each.path if isinstance(each, Record) else Path(each).expanduser() for each in several]
    if not folders:
        raise AdbenchError("no record given: leaderboard(records) takes records, or folders of records.")
    with opened(folders) as bundles:
        collected, left_out = board.collect(bundles.folders)
        left_out += bundles.problems
        if not collected:
            raise incomplete("of the leaderboard", left_out)
        for sentence in left_out:
            warnings.warn(f"left out of the leaderboard: {sentence}", stacklevel=2)
        chosen = board.choose(collected, method, dataset, protocol, board.KEYWORD)
        rows = board.table(chosen, keys.get("costs", False))
        long, measured = assembled(
            chosen, rows, method=method, published=keys.get("published", False), intervals=keys.get("intervals")
        )
    for sentence in measured.problems if measured is not None else ():
        warnings.warn(f"no interval: {sentence}", stacklevel=2)
    return long


def _names(keys: LeaderboardKeys, key: str) -> str | None:
    """Return the names that a keyword gives, with commas; None where it gives none."""
    value: Any = keys.get(key)
    value = plain(key, list(value) if isinstance(value, (Set, Iterator)) else value)
    if value is None:
        return None
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(one, str) for one in several):
        raise AdbenchError(f"{key}={value} is not possible: give names, as a list or with commas.")
    return ",".join(several)
