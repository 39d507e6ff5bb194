"""Files that are either whole or not there, and the folder of things that can be made again."""

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
OWN = "place with runs=DIR or cache=DIR"  # where a file is written that no option of a command names
LEFT = re.compile(rf"\.(?P<name>.+)\.{re.escape(HOST)}\.(?P<pid>\d+)\.[0-9a-f]+\.(?P<kind>tmp|old)")


@contextlib.contextmanager
def atomic(path: Path, instead: str = OWN) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the name when the block ends, and vanishes when it fails.

    `instead` ends the message of what can't be written: which key or option names another place.
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


def write_atomically(path: Path, content: bytes, instead: str = OWN) -> None:
    """Write a whole file or nothing."""
    with atomic(path, instead) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(final: Path, instead: str, stays: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `final` when the block ends well, and vanishes otherwise.

    A folder of that name is removed then, unless `stays` holds for it: in that case the new one vanishes. What killed
    processes left beside it is mended first.
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
            with contextlib.suppress(OSError):  # somebody else's has just taken its place
                old.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


def _take_place(new: Path, final: Path, old: Path, stays: Callable[[Path], bool]) -> None:
    """Give `new` its name; a folder of that name goes aside first, and another process may be doing the same."""
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
    """Mend what killed processes of this machine left of `replacing`: half a folder goes, one set aside comes back."""
    for path in folder.glob(".*"):
        left = LEFT.fullmatch(path.name)
        if left is None or not Path("/proc/self").exists() or Path(f"/proc/{left['pid']}").exists():
            continue
        final = path.with_name(left["name"])
        if left["kind"] == "old" and not final.exists():
            with contextlib.suppress(OSError):  # another process mends the same
                path.rename(final)
        else:
            shutil.rmtree(path, ignore_errors=True)


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


def unwritable(path: Path, error: OSError, instead: str = OWN) -> AdbenchError:
    """Return the error for a place that can't be written: no permission, no space, no folder."""
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
