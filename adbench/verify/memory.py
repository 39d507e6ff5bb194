"""Which records were found to agree with themselves, remembered for as long as their files stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adbench.data.stamps import SETTLED_NS
from adbench.errors import AdbenchError, FailedCellError, RecordError
from adbench.records import tables
from adbench.records.files import RECORD
from adbench.records.hashes import names_in, stamp
from adbench.records.record import MOST_JSON, Record, read
from adbench.system.memory import recall, remember
from adbench.system.progress import counting
from adbench.verify.examine import first_finding, in_processes

CHECKS = 3  # the version of the checks, those of `check.problem` too: a newer one forgets what an older one found
MOST = 200_000  # records remembered


class Mark(NamedTuple):
    """A record's content as it is: a hash of it and of its files' stamps, and whether a later change would show."""

    path: Path
    data: bytes
    hash: str
    settled: bool


def agreeing(paths: Sequence[Path], cache: Path, processes: int = 1) -> tuple[list[Record], list[str]]:
    """Read the records that agree with themselves, and return a sentence for each of the others; failed cells are none.

    All that `adbench verify` checks without data is checked, see `first_finding`. What was found is kept in the folder
    `cache`, by the hash of record.json and by size, times and inode of each file, and nothing is checked again while
    these are the same; a damaged memory is made again.
    """
    memory = cache / "verified.json"
    known = {hash: why for hash, (why,) in recall(memory).items()}
    began = time.time_ns()
    marks = [_mark(path, began) for path in paths]
    left_out, records = list[str](), dict[Mark, Record]()
    for mark in marks:
        try:
            same = known.get(mark.hash) == ""
            records[mark] = Record(mark.path, json.loads(mark.data)) if same else read(mark.path)
        except FailedCellError:
            continue
        except RecordError as error:
            left_out.append(str(error))
    found = {mark: known[mark.hash] for mark in records if mark.hash in known}
    stale = {mark: record for mark, record in records.items() if mark not in found}
    if stale:
        answers = in_processes(first_finding, [*stale.values()], processes)
        with counting("verifying", len(stale)) as count:
            for done, (mark, sentence) in enumerate(zip(stale, answers, strict=True), 1):
                found[mark] = sentence or ""
                if mark.settled:
                    known[mark.hash] = sentence or ""
                count(done)
        with contextlib.suppress(AdbenchError):  # the cache may belong to another user
            remember(memory, {hash: [why] for hash, why in list(known.items())[-MOST:]})
    for mark, why in found.items():
        if why:
            left_out.append(f"{mark.path} doesn't agree with itself: {why}. `adbench verify {mark.path}` shows all.")
    return [record for mark, record in records.items() if not found[mark]], left_out


def _mark(path: Path, now: int) -> Mark:
    whole, newest = hashlib.sha256(f"{CHECKS} {path.name}".encode("utf-8", "surrogateescape")), 0
    folder, file = os.fspath(path), path / RECORD
    try:
        if tables.regular(file, MOST_JSON):  # a pipe would never end
            return Mark(path, b"", whole.hexdigest(), False)
        data, names = file.read_bytes(), names_in(path)
    except OSError:
        return Mark(path, b"", whole.hexdigest(), False)
    whole.update(data)
    for name in names:
        found = stamp(f"{folder}/{name}")
        whole.update(f"\0{name} {found}".encode("utf-8", "surrogateescape"))
        newest = max(newest, *(found[1:3] if found else ()))
    return Mark(path, data, whole.hexdigest()[:40], now - newest > SETTLED_NS)
