"""Which records were found to agree with themselves, remembered for as long as their files stay as they are."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from adbench.data.stamps import SETTLED_NS
from adbench.errors import AdbenchError
from adbench.records.hashes import RECORD, names_in, stamp
from adbench.records.record import Record
from adbench.system.files import discard, write_atomically
from adbench.system.progress import counting
from adbench.verify.examine import first_finding, in_processes

CHECKS = 1  # the version of the checks: a newer one forgets what an older one found
MOST = 200_000  # records remembered


def agreeing(records: Sequence[Record], cache: Path, processes: int = 1) -> tuple[list[Record], list[str]]:
    """Return the records that agree with themselves, and a sentence for each of the others.

    All that `adbench verify` checks without data is checked, see `first_finding`. What was found is kept in the folder
    `cache`, by the hash of record.json and by size, times and inode of each file, and not computed again while these
    are the same; a damaged memory is made again.
    """
    memory = cache / "verified.json"
    known = _read(memory)
    began = time.time_ns()
    marks = [_mark(record, began) for record in records]
    found = {mark: known[mark] for mark, _ in marks if mark in known}
    stale = [(record, *mark) for record, mark in zip(records, marks, strict=True) if mark[0] not in found]
    if stale:
        answers = in_processes(first_finding, [record for record, *_ in stale], processes)
        with counting("verifying", len(stale)) as count:
            for done, ((_, mark, settled), sentence) in enumerate(zip(stale, answers, strict=True), 1):
                found[mark] = sentence or ""
                if settled:
                    known[mark] = sentence or ""
                count(done)
        with contextlib.suppress(AdbenchError):  # the cache may belong to another user
            _write(memory, known)
    kept, left_out = [], []
    for record, (mark, _) in zip(records, marks, strict=True):
        if found[mark]:
            left_out.append(
                f"{record.path} doesn't agree with itself: {found[mark]}. `adbench verify {record.path}` shows all."
            )
        else:
            kept.append(record)
    return kept, left_out


def _mark(record: Record, now: int) -> tuple[str, bool]:
    """Return a hash of a record.json and of the stamps of a record's files, and whether a later change would show."""
    whole, newest = hashlib.sha256(f"{CHECKS} {record.path.name}".encode("utf-8", "surrogateescape")), 0
    folder = os.fspath(record.path)
    try:
        whole.update((record.path / RECORD).read_bytes())
        names = names_in(record.path)
    except OSError:
        return whole.hexdigest(), False
    for name in names:
        found = stamp(f"{folder}/{name}")
        whole.update(f"\0{name} {found}".encode("utf-8", "surrogateescape"))
        newest = max(newest, *(found[1:3] if found else ()))
    return whole.hexdigest()[:40], now - newest > SETTLED_NS


def _read(memory: Path) -> dict[str, str]:
    try:
        content = json.loads(memory.read_bytes())
        if content["sha256"] == _sum(content["found"]):
            return dict(content["found"])
        why: object = "its checksum is another"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        why = error
    discard(memory, why)
    return {}


def _write(memory: Path, known: dict[str, str]) -> None:
    kept = dict(list(known.items())[-MOST:])
    write_atomically(memory, json.dumps({"sha256": _sum(kept), "found": kept}).encode())


def _sum(found: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
