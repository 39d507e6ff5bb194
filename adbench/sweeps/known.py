"""Records that were read and checked before, remembered for as long as their files stay as they are.

A plan of many recorded cells needs little of each record, and that is kept in the cache: no record is read again whose
record.json and whose other files have the size, times and inode of before.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from adbench.data.fingerprint import digest
from adbench.data.stamps import SETTLED_NS
from adbench.errors import AdbenchError
from adbench.plugins import sources
from adbench.records.files import RECORD
from adbench.records.hashes import stamp
from adbench.records.record import Record, needed, read
from adbench.system.memory import recall, remember
from adbench.system.session import Session

VERSION = 1  # of what is kept; another one reads again
FOLDER = "plans"  # in the cache
OF = ""  # the entry that says which adbench has checked the records
MOST = 200_000  # records remembered
# An estimate comes from the records with equal values of all these keys; without any, of all but the last, and so on.
MATCHED = ("method", "backbone", "schedule", "dataset", "shots")

Entries = Mapping[str, list[Any]]


class Brief(NamedTuple):
    """What a plan needs of a record.

    values: of `MATCHED`. seconds, memory: wall time of all stages, and resident bytes at most. source: the hash of the
    method's source, where a package of somebody else brings it.
    """

    values: tuple[Any, ...]
    seconds: float
    memory: int
    source: str | None


class Kept(Record):
    """A record of which the brief is known; its content is read when it is asked for."""

    def __init__(self, path: Path, brief: Brief) -> None:
        object.__setattr__(self, "path", path)  # a record is frozen
        object.__setattr__(self, "brief", brief)

    brief: Brief

    @cached_property
    def content(self) -> dict[str, Any]:
        """What its record.json holds; raises RecordError where it is no record any more."""
        return read(self.path).content


def brief_of(record: Record) -> Brief:
    """Return what a plan needs of a record."""
    if isinstance(record, Kept):
        return record.brief
    content = record.content
    values = tuple(content["resolved"][name] for name in MATCHED)
    seconds = float(sum(content["seconds"].values()))
    return Brief(
        values, seconds, int(content["peak_memory"]["host_bytes"]), content.get("code", {}).get("method_source")
    )


def recalled(runs: Path, cache: Path, session: Session) -> Entries:
    """Return what is known of the records in a folder; nothing where another adbench has checked them."""
    entries = session.once(recall, _memory(runs, cache), not session.offline)
    return entries if entries.get(OF) == _checked_by(session) else {}


def find(runs: Path, key: str, entries: Entries) -> Kept | None:
    """Return a record that is known and has not changed since; None for any other."""
    entry = entries.get(key)
    if entry is None or len(entry) != 6:
        return None
    mark, names, values, seconds, memory, source = entry
    found = _mark(f"{runs}{os.sep}{key}", names)
    if found is None or found[0] != mark:
        return None
    return Kept(runs / key, Brief(tuple(values), seconds, memory, source))


def keep(records: Collection[Record], runs: Path, cache: Path, session: Session, began: int) -> None:
    """Remember records that were read after `began`, in ns since 1970; what can't be written isn't remembered.

    Those of which a file changed after that, or so shortly before that its next change might not show, are left out.
    """
    if not records:
        return
    entries, new = recalled(runs, cache, session), dict[str, list[Any]]()
    for record in records:
        names = [RECORD, *needed(record.content)]
        found = _mark(os.fspath(record.path), names)
        if found is None or found[1] > began - SETTLED_NS:
            continue
        row = [found[0], names, *brief_of(record)]
        if entries.get(record.path.name, [None])[0] != row[0]:
            new[record.path.name] = row
    if not new:
        return
    kept = [(key, row) for key, row in entries.items() if key != OF and key not in new]
    try:
        remember(_memory(runs, cache), {OF: _checked_by(session), **dict([*kept, *new.items()][-MOST:])})
    except AdbenchError:  # the cache may belong to another user
        return


def _memory(runs: Path, cache: Path) -> Path:
    return cache / FOLDER / f"{digest(ascii(runs.absolute()))[:20]}.json"


def _checked_by(session: Session) -> list[Any]:
    return [VERSION, session.once(sources.of_harness).hash]


def _mark(folder: str, names: Iterable[str]) -> tuple[str, int] | None:
    """Return a hash of the stamps of some files, and when the newest changed, in ns; None where one is missing.

    A folder that was renamed counts as changed then: it may have taken another one's place.
    """
    stamps = [stamp(f"{folder}{os.sep}{name}") for name in names]
    if None in stamps or (own := stamp(folder)) is None:
        return None
    newest = max(own[2], *(max(one[1:3]) for one in stamps if one))
    return sha256(repr(stamps).encode()).hexdigest()[:32], newest
