"""The SHA-256 of each file of a record, which its record.json keeps as `files`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adbench.records.files import RECORD
from adbench.system.text import CONTROL

CHUNK = 2**20  # bytes read at a time
HASH = re.compile(r"[0-9a-f]{64}")


def content_hash(content: Mapping[str, Any]) -> str:
    """Return the hash of a record.json: of all its keys but `files`, as JSON with sorted keys.

    >>> content_hash({"a": 1, "files": {}}) == content_hash({"a": 1})
    True
    """
    rest = {key: value for key, value in content.items() if key != "files"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def hash_of(file: Path) -> str:
    """Return the hash of a file; raises OSError where it can't be read."""
    whole = hashlib.sha256()
    with file.open("rb", buffering=0) as opened:
        while part := opened.read(CHUNK):
            whole.update(part)
    return whole.hexdigest()


def names_in(folder: Path) -> list[str]:
    """Return the files below a folder, sorted, as in `gallery/hit_01.png`: no hidden ones, and no link is followed."""
    return sorted(_names(os.fspath(folder), ""))


def _names(folder: str, prefix: str) -> Iterator[str]:
    # A leaderboard looks at 10,000 folders, and `Path.rglob` takes ten times as long.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _names(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def hashes_of(folder: Path, content: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each file in a record's folder by its name, and of the content of its record.json."""
    names = [name for name in names_in(folder) if name != RECORD]
    return {RECORD: content_hash(content)} | {name: hash_of(folder / name) for name in names}


def is_name(text: Any) -> bool:
    """Whether a text names a file inside of a record: relative, and without a way out of it.

    >>> is_name("gallery/hit_01.png"), is_name("../x"), is_name("/x"), is_name("a//b")
    (True, False, False, False)
    """
    if type(text) is not str or not 0 < len(text) <= 300 or "\\" in text or CONTROL.search(text):
        return False
    return all(part not in ("", ".", "..") for part in text.split("/"))


def stamp(file: str | Path) -> tuple[int, int, int, int] | None:
    """Return size, times of modification and change in ns, and inode of a file; none where there is none."""
    try:
        found = os.lstat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
