"""The command `adbench verify`: check records that somebody else made, with and without their data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.bundles.read import opened
from adbench.commands.console import plain_console, print_table
from adbench.commands.keys import VERIFY_KEYS, check_root, places_and_keys
from adbench.commands.leaderboard import PROCESSES
from adbench.commands.score import load_keys
from adbench.config.words import parse_one
from adbench.errors import AbsentError, AdbenchError, RecordError
from adbench.plugins import registry
from adbench.records import files
from adbench.records.record import Record, places, read
from adbench.system.files import write_output
from adbench.system.progress import counting
from adbench.system.text import counted, printable, said
from adbench.verify.examine import COSTS, NO_DATA, NO_TRAINING, WITHOUT_DATA, examine_all
from adbench.verify.finding import CHECKS, Report

if TYPE_CHECKING:  # imports torch
    from adbench.running.apply import LoadKeys
    from adbench.system.session import Session

OTHER_IMAGES = "whether the tables are what the method gives of the other test images. --rescore all finds it"
SHOWN = 12  # records up to which each has its table; of more, only those with findings


def verify_words(words: Sequence[str], rescore: str | None, retrain: bool, as_json: bool, out: Path | None) -> bool:
    """Check records, show or write what was found, and return whether nothing was.

    words: folders of records, bundles, and `key=value`.
    """
    runs, keys = _sorted(words)
    count = _count(rescore)
    root = keys.get("data_root")
    if root is None and (rescore is not None or retrain):
        raise AdbenchError(
            f"{'--rescore' if rescore is not None else '--retrain'} needs the images: name their folder with "
            "data_root=DIR, or data_root=phantom for records of phantoms."
        )
    if unused := [key for key in keys if key != "data_root"] if root is None else []:
        raise AdbenchError(f"{unused[0]}= has no effect without data_root=DIR: nothing is scored. Leave it out.")
    with opened(runs) as bundles:
        paths = [path for folder in bundles.folders for path in places(folder)]
        with counting("verifying", len(paths)) as done:
            reports = examine_all(paths, done, PROCESSES)
        if not reports:
            raise RecordError(f"no record in {', '.join(map(str, runs))}. `adbench run` makes one.")
        records = {report.path: read(report.path) for report in reports if report.key}  # others can't be read
        rows, seeds = _rows(list(records.values()))
        if root is not None:
            _with_data(reports, records, root, keys, (rescore is not None, count), retrain)
        content = _content(reports, [*bundles.problems, *rows], root, rescore, retrain)
        content["not_checked"] += seeds
    text = bundles.named(json.dumps(content, indent=2, ensure_ascii=False)) + "\n"
    data = text.encode("utf-8", "backslashreplace")  # of names that are not UTF-8, as JSON escapes them
    if out is not None:
        read_here = (path / name for path in paths for name in files.ALL)
        write_output(out, data, "file with --out FILE", read_here)
    if as_json:
        print(data.decode(), end="")
    else:
        _show(reports, content, bundles.named)
        if out is not None:
            print(f"written: {out}")
    return content["findings"] == 0


def _check_there(keys: Mapping[str, str]) -> None:
    """Raise AdbenchError for files that the command names and that aren't there; a record's own may be missing."""
    from adbench.backbone.weights import is_path

    weights, text = keys.get("backbone.weights", ""), keys.get("backbone.text")
    if is_path(weights) and not Path(weights).expanduser().is_file():
        raise AdbenchError(f"backbone.weights={weights} is not a file.")
    if text is not None and not Path(text).expanduser().is_dir():
        raise AdbenchError(f"backbone.text={text} is not a folder.")


def _sorted(words: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    runs, keys = places_and_keys(words, VERIFY_KEYS)
    if empty := [key for key, value in keys.items() if not value]:
        raise AdbenchError(f"{empty[0]}= needs a value.")
    _check_there(keys)
    return [Path(word).expanduser() for word in runs or ["runs"]], keys


def _count(rescore: str | None) -> int | None:
    if rescore in (None, "all"):
        return None
    if not (rescore.isascii() and rescore.isdigit() and 0 < int(rescore) <= 10**9):
        raise AdbenchError(f"--rescore {printable(rescore)} is not possible: a number of test images from 1, or all.")
    return int(rescore)


def _rows(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    """Return what is missing from rows, and records that contradict each other; and what can't be known."""
    from adbench.board.copies import alike, copies, equal_seeds, other_tests
    from adbench.board.draws import contradictions, missing_runs, unproven_seeds

    if not records:
        return [], []
    pairs = list(alike(records))
    found = [*missing_runs(records), *contradictions(records), *other_tests(records), *copies(pairs)]
    return found, [*unproven_seeds(records), *equal_seeds(pairs)]


def _with_data(
    reports: Sequence[Report], records: Mapping[Path, Record], root: str, keys: dict[str, str],
    rescore: tuple[bool, int | None], retrain: bool,
) -> None:  # fmt: skip
    """Add to each report what the data on disk, and scoring and training again, say."""
    from adbench.system.session import Session
    from adbench.training.fit import device_of

    checked = parse_one([f"data_root={root}", *([f"device={keys['device']}"] if "device" in keys else [])])
    check_root(checked.data_root)
    device_of(checked)  # what is wrong with this machine is no finding about a record
    session, machine = Session(), load_keys({key: value for key, value in keys.items() if key != "method"})
    named = _named(keys.get("method", ""), [one for one in records.values() if not _registered(one)])
    for number, report in enumerate(reports, 1):
        if not (record := records.get(report.path)):
            continue
        own, title = machine, f"record {number}/{len(reports)}"
        if not _registered(record):
            if record.key not in named:
                report.unchecked.append(_unnamed(record))
                continue
            own = {**machine, "method": named[record.key]}
        _check_one(report, record, checked.data_root, own, session, rescore, retrain, title)


def _named(methods: str, records: Sequence[Record]) -> dict[str, str]:
    """Return by key the file that the user names for the method of each record, of those that are not registered.

    methods: FILE.py:Class, several with commas between them. Raises AdbenchError for one that made none of the records.
    """
    found: dict[str, str] = {}
    for name in filter(None, methods.split(",")):
        if not records:
            raise AdbenchError(f"method={name} has no effect: the records' methods are registered. Leave it out.")
        method = parse_one([f"method={name}"]).method
        entry = registry.find("method", method)
        made = entry.name, entry.source(entry.load())
        keys = [record.key for record in records if made in _made_by(record)]
        if not keys:
            others = ", ".join(sorted({f"{method} ({source})" for one in records for method, source in _made_by(one)}))
            raise AdbenchError(
                f"method={name} made none of these records: it is {made[0]} ({made[1]}), and they were made by "
                f"{printable(others)}. Name the file as it was then."
            )
        found |= dict.fromkeys(keys, method)
    return found


def _made_by(record: Record) -> list[tuple[str, str | None]]:
    """Return the name and source by which the method of a record is known: as it was registered, or its file."""
    facts, file = record.content["facts"], record.content["code"].get("method_source")
    return [(facts["method"], facts.get("source")), *([(facts["method"], f"file:{file}")] if file else [])]


def _unnamed(record: Record) -> str:
    """Say that a record's method has to be named, which is no fault of the record."""
    from adbench.running.apply import unregistered

    return f"the data, scores and training: {unregistered(record)}, several with commas between them"


def _registered(record: Record) -> bool:
    """Whether a record's method is one that is registered here."""
    return record.content["resolved"]["method"] in registry.entries("method")


def _check_one(
    report: Report, record: Record, root: str, machine: LoadKeys, session: Session,
    rescore: tuple[bool, int | None], retrain: bool, title: str,
) -> None:  # fmt: skip
    from adbench.running.recheck import Reopened, check_data, unlike_here
    from adbench.running.rescore import check_scores, check_training

    try:
        again = Reopened(record, root, machine, session)
    except AbsentError as error:  # what this machine lacks is no finding about a record
        report.unchecked.append(f"the data, scores and training: {str(error).rstrip('.')}")
        return
    except AdbenchError as error:
        report.add("data", [f"it can't be compared with the data: {str(error).rstrip('.')}"])
        return
    try:
        report.add("data", check_data(again))
        if odd := unlike_here(again):
            report.unchecked.append(f"facts that are others with the code and weights of this machine: {odd}")
        if len(again.cell.test_items) != record.content["test_images"]:
            return  # said already
        wanted, count = rescore
        if wanted:
            sentences, scored = check_scores(again, machine, count, f"{title}: scoring")
            report.add("scores", sentences)
            there = record.content["test_images"]
            of_all = f" of {there}" if scored.images < there else ""
            report.notes.append(f"scores: {scored.images}{of_all} images scored again: {scored.how}")
            report.unchecked += [*scored.unchecked, *([OTHER_IMAGES] if of_all else [])]
        if retrain:
            sentences, scored = check_training(again, title)
            report.add("training", sentences)
            report.notes.append(f"training: the cell was run from nothing: {scored.how}")
    except AdbenchError as error:
        report.add("data", [f"it can't be run again: {str(error).rstrip('.')}"])
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        report.add("data", [f"it holds values that adbench never writes ({said(error)})"])


def _content(
    reports: Sequence[Report], rows: list[str], root: str | None, rescore: str | None, retrain: bool
) -> dict[str, Any]:
    """Return all that was found, as JSON can hold it."""
    never = [COSTS]
    never += [NO_DATA] if root is None else []
    never += [WITHOUT_DATA] if rescore is None else []
    never += [NO_TRAINING] if not retrain else []
    return {
        "findings": sum(len(report.findings) for report in reports) + len(rows),
        "records": [report.as_dict() for report in reports],
        "rows": rows,
        "not_compared": [] if root is None else [str(report.path) for report in reports if "data" not in report.done],
        "not_checked": never,
    }


def _show(reports: Sequence[Report], content: dict[str, Any], named: Callable[[str], str]) -> None:
    shown = [report for report in reports if report.findings or len(reports) <= SHOWN]
    for report in shown:
        made = [check for check in CHECKS if check in report.done]
        rows = [(check, report.result(check), CHECKS[check]) for check in made]
        title = printable(named(f"{report.path}: {report.name}"))
        print_table(("check", "result", "what agrees"), rows, title, [named(line) for line in _lines(report)])
    console = plain_console()
    if len(shown) < len(reports):
        console.print(f"{counted(len(reports) - len(shown), 'record')} without a finding.")
        for sentence, many in _common([one for report in reports if report not in shown for one in report.unchecked]):
            console.print(f"not checked of {counted(many, 'record')}: {sentence}")
    for sentence in content["rows"]:
        console.print(f"FINDING {printable(named(sentence))}.")
    apart = f", {len(content['not_compared'])} of them not compared with the data" if content["not_compared"] else ""
    console.print(f"{counted(len(reports), 'record')} verified{apart}, {counted(content['findings'], 'finding')}.")
    for sentence in content["not_checked"]:
        console.print(f"not checked: {sentence}")


def _lines(report: Report) -> Iterator[str]:
    yield from (f"FINDING {one.check}: {printable(one.sentence)}." for one in report.findings)
    yield from (printable(note) for note in report.notes)
    yield from (f"not checked: {printable(sentence)}" for sentence in report.unchecked)


def _common(sentences: Sequence[str]) -> list[tuple[str, int]]:
    return Counter(map(printable, sentences)).most_common(5)
