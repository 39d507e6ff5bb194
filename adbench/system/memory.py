"""Memories: JSON files in the cache of what was found out once. A damaged one is made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from adbench.system.files import damaged, discard, write_atomically

HEAD, MIDDLE, END = b'{"sha256": "', b'", "files": ', b"}\n"
START = len(HEAD) + 64 + len(MIDDLE)


def recall(memory: Path, write: bool = True) -> dict[str, list[Any]]:
    """Return the entries of a memory, lists by name; none where there is no such file, or a damaged one.

    A damaged one is removed, with a warning; without `write` it stays.
    """
    try:
        data = memory.read_bytes()
        if data[: len(HEAD)] == HEAD and data[len(HEAD) : START - len(MIDDLE)].decode() == _sum(data):
            entries: dict[str, list[Any]] = json.loads(data[START : -len(END)])
            return entries
        why = "its checksum is another"
    except FileNotFoundError as error:
        if not memory.is_symlink():
            return {}
        why = str(error)
    except (OSError, ValueError) as error:
        why = str(error)
    (discard if write else damaged)(memory, why)
    return {}


def remember(memory: Path, entries: dict[str, list[Any]]) -> None:
    """Write the entries of a memory; raises AdbenchError where that isn't possible."""
    body = json.dumps(entries).encode()
    write_atomically(memory, HEAD + hashlib.sha256(body).hexdigest().encode() + MIDDLE + body + END)


def _sum(data: bytes) -> str:
    return hashlib.sha256(data[START : -len(END)]).hexdigest()
