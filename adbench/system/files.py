"""Files and folders that appear whole or not at all, locks, and the size of the cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock

from adbench.errors import AdbenchError

LOCKS = ".locks"
HOST = platform.node().replace(".", "-") or "host"
BY_KEYS = "place with runs=DIR or cache=DIR"  # the end of an error message about a file of runs or cache
LEFT = re.compile(rf"\.(?P<name>.+)\.{re.escape(HOST)}\.(?P<pid>\d+)\.[0-9a-f]+\.(?P<kind>tmp|old)")


@contextlib.contextmanager
def atomic(path: Path, instead: str = BY_KEYS) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is renamed to `path` when the block ends, and removed when it fails.

    `instead` ends the error message of a path that can't be written: the key or option that names another place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(path.parent, error, instead) from error
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error, instead) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes, instead: str = BY_KEYS) -> None:
    """Write a whole file or nothing."""
    with atomic(path, instead) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(final: Path, instead: str, stays: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a temporary folder that replaces `final` when the block ends, and is removed when it fails.

    A folder `final` for which `stays` is true is kept, and the new one is removed. What killed processes left next to
    it is cleaned up first.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        tidy(final.parent)
        new = final.with_name(f".{final.name}.{HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        new.mkdir()
    except OSError as error:
        raise unwritable(final.parent, error, instead) from error
    old = new.with_suffix(".old")
    try:
        yield new
        _take_place(new, final, old, stays)
    except OSError as error:
        raise unwritable(final, error, instead) from error
    finally:
        if old.exists() and not final.exists():
            with contextlib.suppress(OSError):  # another process has just put its own there
                old.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


def _take_place(new: Path, final: Path, old: Path, stays: Callable[[Path], bool]) -> None:
    """Rename `new` to `final`, whose old folder is set aside first; other processes may be doing the same."""
    while True:
        if final.exists():
            if stays(final):
                return
            shutil.rmtree(old, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                final.rename(old)
        try:
            new.rename(final)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def tidy(folder: Path) -> None:
    """Clean up after killed `replacing`s of this machine: remove half-written folders, restore those set aside."""
    for path in folder.glob(".*"):
        left = LEFT.fullmatch(path.name)
        if left is None or not Path("/proc/self").exists() or Path(f"/proc/{left['pid']}").exists():
            continue
        final = path.with_name(left["name"])
        if left["kind"] == "old" and not final.exists():
            with contextlib.suppress(OSError):  # another process does the same
                path.rename(final)
        else:
            shutil.rmtree(path, ignore_errors=True)


def alone(path: Path) -> AbstractContextManager[object]:
    """Return a lock under which `path` is made: of two processes, the second waits and finds it made.

    The locks are at most 256 files in the folder `.locks` next to `path`.
    """
    folder = path.parent / LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.name.encode()).hexdigest()[:2]
        return FileLock(folder / f"{name}.lock").acquire(poll_interval=0.02)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError, instead: str = BY_KEYS) -> AdbenchError:
    """Return the error for a path that can't be written: no permission, no space, no folder."""
    return AdbenchError(f"cannot write {path}: {error.strerror or error}. Free some space or choose another {instead}.")


def shrink(folders: Iterable[Path], limit_gb: float) -> int:
    """Remove the least recently used files below `folders` until they hold at most `limit_gb` GB; return how many."""
    files = []
    for entry in (entry for folder in folders for entry in _files_below(folder)):
        with contextlib.suppress(FileNotFoundError):
            stat = entry.stat()
            files.append((stat.st_mtime_ns, stat.st_size, entry.path))
    excess = sum(size for _, size, _ in files) - limit_gb * 1e9
    removed = 0
    for _, size, path in sorted(files) if excess > 0 else ():
        Path(path).unlink(missing_ok=True)
        excess -= size
        removed += 1
        if excess <= 0:
            break
    return removed


def _files_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield all files but locks. A cache holds 100,000s of them, and `Path.rglob` takes four times as long."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir():
                yield entry
            elif entry.name != LOCKS:
                yield from _files_below(entry.path)
