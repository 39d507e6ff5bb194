"""Measurements of files, remembered for as long as a file's size, times and inode stay the same."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from adbench.errors import DataError
from adbench.system import cores
from adbench.system.memory import recall, remember
from adbench.system.progress import track

Row = tuple[Any, ...]
File = TypeVar("File", bound="os.PathLike[str]")  # a path, or that of a frame
Stamp = str  # size in bytes, times of modification and of change in ns, inode; a text is read back fastest
# A file may change twice within one tick of its file system's clock, and the second time leaves no trace in its stamp.
# So a stamp counts once it is older than the longest tick there is, FAT's.
SETTLED_NS = 2_000_000_000
TRIES = 3


class Measured(NamedTuple, Generic[File]):
    """The rows by file, and the stamps of those files whose stamp would tell a later change."""

    rows: dict[File, Row]
    stamps: dict[File, Stamp]


def stamp_of(path: os.PathLike[str]) -> Stamp | None:
    """Return what the file system says of a file's content; none where there is no such file."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def measured(
    paths: Iterable[File],
    measure: Callable[[File], Row],
    memory: Path,
    title: str,
    keep: Callable[[Row], bool] = lambda row: True,
    write: bool = True,
    since: float = 0.0,
) -> Measured[File]:
    """Return `measure` of every file, a tuple of numbers and texts; unchanged files are read from the cache.

    Unchanged: size, times of modification and change, and inode are the same. A file that changed less than two
    seconds before it was read is not remembered, because its next change might not show.

    paths: of files, or of frames of files.
    measure: runs in threads and should release the GIL; it is also called for a file that does not exist.
    memory: the JSON file of the cache, which is made again where it is damaged; `write`: whether it is updated.
    title: the text of the progress bar.
    keep: whether a row is cached.
    since: seconds since 1970; what was measured earlier is measured again.

    Raises DataError for a file that changes each time it is read.
    """
    known, earliest = recall(memory, write), int(since * 1e9)
    rows: dict[File, Row] = {}
    stamps: dict[File, Stamp] = {}
    stale: dict[File, Stamp | None] = {}
    for path in paths:
        stamp = stamp_of(path)
        entry = known.get(str(path))
        if entry and stamp and entry[0] == stamp and entry[1] >= earliest:
            rows[path], stamps[path] = tuple(entry[2:]), stamp
        else:
            stale[path] = stamp
    if stale:
        with ThreadPoolExecutor(cores.available()) as pool:
            found = pool.map(lambda item: _steady(measure, *item), stale.items())
            for path, (stamp, when, row) in zip(stale, track(found, title, len(stale)), strict=True):
                rows[path] = row
                if stamp and when - int(stamp.split()[2]) > SETTLED_NS:
                    stamps[path] = stamp
                    if keep(row):
                        known[str(path)] = [stamp, when, *row]
        if write:
            remember(memory, known)
    return Measured(rows, stamps)


def _steady(measure: Callable[[File], Row], path: File, stamp: Stamp | None) -> tuple[Stamp | None, int, Row]:
    """Measure a file until its stamp is the same before and after; return stamp, the time (ns) before, and the row."""
    for _ in range(TRIES):
        when = time.time_ns()
        row = measure(path)
        before, stamp = stamp, stamp_of(path)
        if before == stamp:
            return stamp, when, row
    raise DataError(f"{path} changes while it is read. Run the command again when nothing writes to it any more.")
