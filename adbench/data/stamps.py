"""Measurements of files, cached by file size and modification time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from adbench.system.files import write_atomically
from adbench.system.progress import track

Row = tuple[Any, ...]


def measured(
    paths: Iterable[Path],
    measure: Callable[[Path], Row],
    memory: Path,
    title: str,
    keep: Callable[[Row], bool] = lambda row: True,
    write: bool = True,
) -> dict[Path, Row]:
    """Return `measure` of every file, a tuple of numbers and texts; unchanged files are read from the cache.

    measure: runs in threads and should release the GIL; it is also called for a file that does not exist.
    memory: the JSON file of the cache; `write`: whether it is updated.
    title: the text of the progress bar.
    keep: whether a row is cached.
    """
    known: dict[str, list[Any]] = json.loads(memory.read_text()) if memory.exists() else {}
    rows: dict[Path, Row] = {}
    stale: dict[Path, list[int]] = {}
    for path in paths:
        stamp = _stamp(path)
        entry = known.get(str(path))
        if entry and entry[:2] == stamp:
            rows[path] = tuple(entry[2:])
        else:
            stale[path] = stamp
    if stale:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            measurements = track(pool.map(measure, stale), title, len(stale))
            for (path, stamp), row in zip(stale.items(), measurements, strict=True):
                rows[path] = row
                if keep(row):
                    known[str(path)] = [*stamp, *row]
        if write:
            write_atomically(memory, json.dumps(known).encode())
    return rows


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []  # `measure` reports the error
    return [stat.st_size, stat.st_mtime_ns]
