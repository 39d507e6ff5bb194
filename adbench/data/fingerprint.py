"""Content hashes of files, remembered by size and modification time, and the fingerprint of a dataset."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adbench.data.items import Item, check_ids
from adbench.errors import DataError
from adbench.files import write_atomically
from adbench.progress import track
from adbench.remember import reach, remembered


def digest(text: str) -> str:
    """Return the SHA-256 of a text as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_files(paths: Iterable[Path], memory: Path, what: str) -> dict[Path, str]:
    """Return the SHA-256 of every file. `memory` (JSON) spares reading those whose size and time are unchanged."""
    known: dict[str, list[object]] = json.loads(memory.read_text()) if memory.exists() else {}
    found: dict[Path, str] = {}
    stale: list[tuple[Path, int, int]] = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        entry = known.get(str(path))
        if entry and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
            found[path] = str(entry[2])
        else:
            stale.append((path, stat.st_size, stat.st_mtime_ns))
    if stale:
        with ThreadPoolExecutor(4) as pool:
            sums = pool.map(_hash_file, [path for path, _, _ in stale])
            for (path, size, mtime), content in zip(stale, track(sums, f"hashing {what}", len(stale)), strict=True):
                found[path] = content
                known[str(path)] = [size, mtime, content]
        if reach() != "look":
            write_atomically(memory, json.dumps(known).encode())
    return found


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def hash_items(items: Sequence[Item], cache: Path, what: str) -> dict[str, str]:
    """Return by item id the content hash of its image, followed by those of its masks; ids must be unique."""
    check_ids(items)
    files = [path for item in items for path in (item.path, *(item.mask or ()))]
    memory = cache / "hashes" / f"{digest(str(items[0].path.parent) + what)[:16]}.json" if items else cache / "none"
    sums = hash_files(files, memory, what)
    return {item.id: "".join(sums[path] for path in (item.path, *(item.mask or ()))) for item in items}


@remembered()
def fingerprint(items: Sequence[Item], hashes: dict[str, str]) -> str:
    """Return one hash of a dataset's content: ids, labels, patients, images and masks, whatever the layout."""
    rows = (f"{i.id}\t{i.label}\t{i.patient or ''}\t{hashes[i.id]}" for i in sorted(items, key=lambda item: item.id))
    return digest("\n".join(rows))
