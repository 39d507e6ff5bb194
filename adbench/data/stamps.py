"""What was measured of files, remembered by their size and modification time."""

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
    what: str,
    keep: Callable[[Row], bool] = lambda row: True,
    write: bool = True,
) -> dict[Path, Row]:
    """Return `measure` of every file, a tuple of numbers and texts; a file whose stamp is in `memory` isn't read again.

    `memory` is a JSON file, written where `write` says so; rows that `keep` refuses aren't remembered. `measure` runs
    in threads and should release the interpreter lock. A file that isn't there goes to `measure` too.
    """
    known: dict[str, list[Any]] = json.loads(memory.read_text()) if memory.exists() else {}
    found: dict[Path, Row] = {}
    stale: dict[Path, list[int]] = {}
    for path in paths:
        stamp = _stamp(path)
        entry = known.get(str(path))
        if entry and entry[:2] == stamp:
            found[path] = tuple(entry[2:])
        else:
            stale[path] = stamp
    if stale:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            rows = track(pool.map(measure, stale), what, len(stale))
            for (path, stamp), row in zip(stale.items(), rows, strict=True):
                found[path] = row
                if keep(row):
                    known[str(path)] = [*stamp, *row]
        if write:
            write_atomically(memory, json.dumps(known).encode())
    return found


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []  # for `measure` to say
    return [stat.st_size, stat.st_mtime_ns]
