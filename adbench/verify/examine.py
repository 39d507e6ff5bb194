"""Everything that can be checked of a record without its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from adbench.errors import AdbenchError, FailedCellError, RecordError
from adbench.metrics.per_image import Contributions
from adbench.records.files import RECORD
from adbench.records.record import Record, read
from adbench.records.tables import reason
from adbench.system.processes import CONTEXT, warm_up
from adbench.system.text import said
from adbench.verify.facts import check_declaration, check_facts, check_key, declaration, unproven_backbone
from adbench.verify.figures import check_figures, figures_of, unknown_figures
from adbench.verify.files import NO_HASHES, check_files, check_parameters, check_pictures
from adbench.verify.finding import Report
from adbench.verify.held_out import check_apart, check_held_out, thresholds_of
from adbench.verify.keys import check_keys
from adbench.verify.lesions import check_areas, check_false_positives, check_lesions
from adbench.verify.standing import check_standing
from adbench.verify.tables import check_contributions, check_histograms, check_predictions
from adbench.verify.words import check_words

T = TypeVar("T")
R = TypeVar("R")
FEW = 8  # records that are examined in this process
WITHOUT_DATA = (
    "whether the tables are what the method gives: who rewrites tables, figures and hashes consistently passes "
    "without data. data_root=DIR --rescore all finds it"
)
NO_DATA = "the data: content, labels, patients, support and overlap were not compared with images. data_root=DIR does"
NO_TRAINING = "the training: whether the saved parameters are what the support teaches. --retrain does"
COSTS = "times, memory and FLOPs, code, packages and device, which no file of a record proves"


class Tables:
    """The tables of a record, each read when it is first asked for; raises RecordError as often as it is."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per test image."""
        return self.record.predictions()

    @cached_property
    def histogram(self) -> dict[str, Any] | None:
        """The pixel histogram, or none."""
        return self.record.histogram()

    @cached_property
    def contributions(self) -> Contributions | None:
        """The histograms of single images; none where there are none, or an older adbench kept none."""
        return self.record.contributions() if self.record.content.get("image_histograms") else None

    @cached_property
    def held_out(self) -> pd.DataFrame | None:
        """One row per held-out image, or none."""
        return self.record.held_out()

    @cached_property
    def held_out_pixels(self) -> dict[str, Any] | None:
        """The histogram of the pixels of held-out normal images, or none."""
        return self.record.held_out_pixels()


def findings(record: Record, declared: bool = True) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield each check with the sentences that it finds; the cheap ones come first, and each works when it is read.

    declared: ask the method what it declares, which imports it, and torch with it.
    """
    tables = Tables(record)
    checks = [("record", check_key(record)), ("record", check_keys(record)), ("files", _files(record))]
    checks += [("facts", check_facts(record)), ("facts", check_words(record))]
    checks += [("facts", check_declaration(record))] if declared else []
    checks += [("standing", _standing(record, tables))]
    checks += [("tables", one(record, tables)) for one in (_tables, _held_out, _lesions)]
    checks += [("figures", _figures(record, tables))]
    for check, sentences in checks:
        yield check, _guarded(sentences)


def _guarded(sentences: Iterator[str]) -> Iterator[str]:
    """Turn what a check raises into a sentence: reading a record examines the types of what it needs, not of all."""
    try:
        yield from sentences
    except OSError as error:
        yield f"its files can't be read ({reason(error)})"
    except AdbenchError as error:
        yield without_advice(error)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        yield f"it holds values that adbench never writes ({said(error)})"


def without_advice(error: AdbenchError) -> str:
    """Return what an error says is wrong, without what to do about it and the full stop."""
    return str(error).partition(" Remove ")[0].rstrip(".")


def _files(record: Record) -> Iterator[str]:
    yield from check_files(record)
    yield from check_parameters(record)
    yield from check_pictures(record)


def _standing(record: Record, tables: Tables) -> Iterator[str]:
    try:
        tested = set(tables.predictions["image"])
    except RecordError:
        tested = set()  # `_tables` says so
    yield from check_standing(record, tested)


def _tables(record: Record, tables: Tables) -> Iterator[str]:
    yield from check_predictions(record, tables.predictions)
    if tables.histogram is not None:
        yield from check_histograms(record, tables.predictions, tables.histogram)
        if tables.contributions is not None:
            yield from check_contributions(record, tables.predictions, tables.histogram, tables.contributions)


def _held_out(record: Record, tables: Tables) -> Iterator[str]:
    yield from check_held_out(record, tables.held_out, tables.held_out_pixels)
    if tables.held_out is not None:
        yield from check_apart(record, tables.held_out, tables.predictions)


def _lesions(record: Record, tables: Tables) -> Iterator[str]:
    yield from check_areas(record, tables.predictions, tables.contributions)
    if (lesions := record.lesions()) is not None:
        parts = tables.contributions
        yield from check_lesions(record, lesions, tables.predictions, parts)
        thresholds = thresholds_of(record, tables.held_out, tables.held_out_pixels)
        yield from check_false_positives(record, record.false_positives(), thresholds, tables.predictions, parts)


def _figures(record: Record, tables: Tables) -> Iterator[str]:
    try:
        found, halves = figures_of(record, tables.predictions, tables.histogram)
    except AdbenchError as error:
        yield f"no figure can be computed from the tables: {without_advice(error)}"
        return
    yield from check_figures(record, found, halves)


def first_finding(record: Record) -> str | None:
    """Return the first sentence that a check finds, or None: all that a leaderboard needs to know.

    The method is asked for what it declares only where the record keeps no hash of what it says about that.
    """
    declared = RECORD not in (record.content.get("files") or {})
    return next((sentence for _, sentences in findings(record, declared) for sentence in sentences), None)


def examine(path: Path) -> Report | None:
    """Check a record without its data; None for the folder of a cell that failed."""
    report = Report(path, name=path.name)
    try:
        record = read(path)
    except FailedCellError:
        return None
    except RecordError as error:
        report.add("record", [without_advice(error)])
        return report
    report.key, report.name = record.key, in_words(record)
    for check, sentences in findings(record):
        report.add(check, sentences)
    report.unchecked = _unchecked(record)
    return report


def in_words(record: Record) -> str:
    """Say which cell a record is of, as in "madclip on brainmri, few_shot, 4 shots, draw 0, seed 0, fold 1 of 3"."""
    facts, support, split = record.content["facts"], record.content["support"], record.splitting
    shots = f"{support['shots']} shots, {support['source'].replace(':', ' ')}, " if support["source"] != "none" else ""
    fold = f", fold {split['fold']} of {split['folds']}" if split.get("folds") else ""
    return f"{facts['method']} on {facts['dataset']}, {record.content['protocol']}, {shots}seed {facts['seed']}{fold}"


def _unchecked(record: Record) -> list[str]:
    """Say what was not checked of this record, besides what never is without data."""
    content, notes = record.content, []
    if content.get("files") is None:
        notes.append(NO_HASHES)
    if content["histogram"] is not None and not content.get("image_histograms"):
        notes.append("the histograms of single images, which an older adbench did not keep")
    if content["selection"].get("last"):
        notes.append("the figures of the last epoch under oracle, of which no table is kept")
    if unknown := unknown_figures(record):
        notes.append(f"figures that this adbench doesn't compute from tables: {', '.join(unknown)}")
    if why := declaration(content)[1]:
        notes.append(why)
    if unproven := unproven_backbone(content):
        notes.append(unproven)
    if bundled := content.get("bundled"):
        notes.append(
            f"record.json before it was bundled, with the SHA-256 {bundled['record'][:12]}…: paths were taken out"
        )
        if not bundled["pictures"]:
            notes.append("the pictures, which were left out of the bundle")
        if bundled["anonymised"]:
            notes.append("names and patients, which are keyed hashes: images are compared by their place in the table")
    return notes


def examine_all(paths: Sequence[Path], count: Callable[[int], None], processes: int = 1) -> list[Report]:
    """Check records without their data; `count` is called with the number that is done."""
    reports: list[Report] = []
    for done, report in enumerate(in_processes(examine, paths, processes), 1):
        reports += [report] if report is not None else []
        count(done)
    return reports


def in_processes(function: Callable[[T], R], items: Sequence[T], processes: int = 1) -> Iterator[R]:
    """Yield `function` of each item, in order: of more than a few in so many processes.

    With one, which a script without a guarded main module needs, they are shared by two threads.
    """
    if len(items) <= FEW:
        yield from map(function, items)
        return
    pool: Executor
    if processes > 1:
        warm_up()
        pool = ProcessPoolExecutor(processes, CONTEXT)
    else:
        pool = ThreadPoolExecutor(2)
    with pool:
        yield from pool.map(function, items, chunksize=max(1, min(16, len(items) // (4 * processes))))
