"""Files that are either whole or not there, and the folder of things that can be made again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock

from adbench.errors import AdbenchError

LOCKS = ".locks"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name when the block ends, and vanishes when it fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or nothing."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def alone(path: Path) -> AbstractContextManager[object]:
    """Return a lock for the making of `path`: of two processes that want it, the second finds it made.

    The locks lie in `.locks` beside the file, at most 256 of them.
    """
    folder = path.parent / LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.name.encode()).hexdigest()[:2]
        return FileLock(folder / f"{name}.lock").acquire(poll_interval=0.02)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError, instead: str = "place with runs=DIR or cache=DIR") -> AdbenchError:
    """Return the error for a place that can't be written: no permission, no space, no folder."""
    return AdbenchError(f"cannot write {path}: {error.strerror or error}. Free some space or choose another {instead}.")


def shrink(folders: Iterable[Path], limit_gb: float) -> int:
    """Remove the least recently used files below `folders` until they hold at most `limit_gb` GB; return how many."""
    files = []
    for path in (path for folder in folders for path in folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.parent.name != LOCKS:
                stat = path.stat()
                files.append((stat.st_mtime_ns, stat.st_size, path))
    excess = sum(size for _, size, _ in files) - limit_gb * 1e9
    removed = 0
    for _, size, path in sorted(files):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
        removed += 1
    return removed
