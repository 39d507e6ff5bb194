"""Files and folders that appear whole or not at all, output files, locks, and the size of the cache."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from adbench.errors import AdbenchError
from adbench.system.leases import ABANDONED, HOST, check_lease, leased, temporary_name, tidy
from adbench.system.locks import acquired
from adbench.system.text import warn, warn_once

__all__ = [
    "BY_KEYS", "HOST", "INDEX", "LOCKS", "alone", "atomic", "check_lease", "check_outputs", "check_png",
    "check_writable", "damaged", "discard", "replacing", "scratch", "shrink", "tidy", "unwritable", "write_atomically",
    "write_output",
]  # fmt: skip

PICTURES = (".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".svg", ".pdf", ".eps")  # but for PNG
LOCKS = ".locks"
INDEX = ".index"  # what the name of a file's index adds to its own
BY_KEYS = "place with runs=DIR or cache=DIR"  # the end of an error message about a file of runs or cache
# What to do, by the kind of error, before "or choose another".
ADVICE = {
    errno.ENOSPC: "Free some space", errno.EDQUOT: "Free some space", errno.EACCES: "Get its permission",
    errno.EPERM: "Get its permission", errno.EROFS: "Make it writable", errno.ENAMETOOLONG: "Shorten it",
    errno.EISDIR: "Remove that folder", errno.ENOTDIR: "Remove that file", errno.ELOOP: "Remove that link",
}  # fmt: skip


@contextlib.contextmanager
def atomic(path: Path, instead: str = BY_KEYS) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is renamed to `path` when the block ends, and removed when it fails.

    What killed processes left next to it is cleaned up, by the first file that this process writes there.

    `instead` ends the error message of a path that can't be written: the key or option that names another place.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _tidy_once(path.parent.absolute())
        temporary = temporary_name(path)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(path, error, instead) from error
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error, instead) from error
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _tidy_once(folder: Path) -> None:
    tidy(folder)


def write_atomically(path: Path, content: bytes, instead: str = BY_KEYS) -> None:
    """Write a whole file or nothing."""
    with atomic(path, instead) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with the line ends that it has, the same on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def write_output(path: Path, content: bytes, instead: str, inputs: Iterable[Path | str] = ()) -> None:
    """Write a file that the user named: whole or not at all where it is a regular file.

    A link stays and its target is replaced. A device, a pipe or an open descriptor (/dev/stdout) is written to.
    Raises AdbenchError for a path that can't be written, or that is one of the `inputs` of this command.
    """
    try:
        own = _descriptor(path)
        there = os.fstat(own) if own is not None else os.stat(path) if path.exists() else None
        if there and stat.S_ISREG(there.st_mode) and any(_is(there, file) for file in inputs):
            raise AdbenchError(f"{path} is read by this command and would be overwritten. Choose another {instead}.")
        if own is not None:
            sys.stdout.flush()
            with os.fdopen(os.dup(own), "wb") as stream:
                stream.write(content)
        elif there and not (stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)):
            with path.open("wb") as stream:
                stream.write(content)
        else:
            write_atomically(path.resolve() if path.is_symlink() else path, content, instead)
    except BrokenPipeError:
        raise  # its reader has enough, as with `| head`
    except (OSError, RuntimeError) as error:  # resolve() calls a loop of links a RuntimeError before Python 3.13
        raise unwritable(path, error if isinstance(error, OSError) else OSError(str(error)), instead) from error


def check_writable(folder: Path, instead: str = BY_KEYS) -> None:
    """Make a folder where it is missing; raises AdbenchError where no file can be written into it."""
    probe = temporary_name(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
    except OSError as error:
        raise unwritable(folder, error, instead) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def check_outputs(**outputs: Path | None) -> None:
    """Raise AdbenchError where two options, by their names, give one file: the second would replace the first."""
    named: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None or _descriptor(path) is not None or (path.exists() and not path.is_file()):
            continue  # /dev/stdout takes both
        other = named.setdefault(os.path.realpath(path), option)
        if other != option:
            raise AdbenchError(f"--{other} and --{option} both name {path}. Give each a file of its own.")


def check_png(out: Path | None) -> None:
    """Raise AdbenchError where `--out` has the ending of another kind of file than the PNG that is written."""
    if out is not None and out.suffix.lower() in PICTURES:
        raise AdbenchError(f"--out {out} is not possible: the picture is a PNG. Write --out {out.with_suffix('.png')}")


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file of this process that a path such as /dev/stdout stands for."""
    own = Path(f"/proc/{os.getpid()}/fd")
    for _ in range(8):
        folder = path.parent.resolve()
        if folder == own and path.name.isdigit():
            return int(path.name)
        if not path.is_symlink():
            break
        path = folder / os.readlink(path)
    return None


def _is(there: os.stat_result, file: Path | str) -> bool:
    try:
        return os.path.samestat(there, os.stat(file))
    except OSError:
        return False


@contextlib.contextmanager
def scratch(final: Path, instead: str) -> Iterator[Path]:
    """Yield a new temporary folder next to `final`, with a lease; it is removed when the block ends.

    What killed processes left next to it is cleaned up first. Raises AdbenchError where the lease ended meanwhile, and
    with it the folder.
    """
    with contextlib.ExitStack() as after:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            tidy(final.parent)
            new = temporary_name(final)
            after.enter_context(leased(new, final))
            after.callback(shutil.rmtree, new, ignore_errors=True)
            new.mkdir()
        except OSError as error:
            raise unwritable(final.parent, error, instead) from error
        try:
            yield new
        except (OSError, AdbenchError) as error:
            if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
                check_lease(new, final)
            raise


@contextlib.contextmanager
def replacing(final: Path, instead: str, stays: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a temporary folder that replaces `final` when the block ends, and is removed when it fails.

    A folder `final` for which `stays` is true is kept, and the new one is removed.
    """
    with scratch(final, instead) as new:
        old = new.with_suffix(".old")
        try:
            yield new
            check_lease(new, final)
            _take_place(new, final, old, stays)
        except OSError as error:
            raise unwritable(final, error, instead) from error
        finally:
            if old.exists() and not final.exists():
                with contextlib.suppress(OSError):  # another process has just put its own there
                    old.rename(final)
            shutil.rmtree(old, ignore_errors=True)


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


def alone(path: Path, instead: str = BY_KEYS) -> AbstractContextManager[object]:
    """Return a lock under which `path` is made: of two threads or processes, the second waits and finds it made.

    The locks are at most 256 files in the folder `.locks` next to `path`. `instead`: as of `atomic`.
    """
    folder = path.parent / LOCKS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(path.name.encode()).hexdigest()[:2]
        return acquired(folder / f"{name}.lock", path)
    except OSError as error:
        raise unwritable(path, error, instead) from error


def unwritable(path: Path, error: OSError, instead: str = BY_KEYS) -> AdbenchError:
    """Return the error for a path that can't be written: no permission, no space, no folder."""
    advice = ADVICE.get(error.errno or 0, "Correct that")
    reason = os.strerror(error.errno) if error.errno else error.strerror or error  # other libraries write their own
    return AdbenchError(f"cannot write {path}: {reason}. {advice} or choose another {instead}.")


def damaged(path: Path, why: object) -> None:
    """Warn that a file of the cache is damaged; it is then made again."""
    warn(f"{path} is damaged ({' '.join(str(why).split())}) and is made again.")


def discard(path: Path, why: object) -> None:
    """Warn that a file of the cache is damaged, and remove it: it is made again."""
    damaged(path, why)
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def shrink(folders: Iterable[Path], limit_gb: float) -> int:
    """Remove the least recently used files below `folders` until they hold at most `limit_gb` GB; return how many.

    A file and its index go together. Temporary files are being written, unless they are a day old: then they are
    removed in any case and not counted. What may not be read or removed stays, with a warning.
    """
    whole: dict[str, tuple[int, int]] = {}  # time of the last use, and bytes, of files with their indices
    refused: list[OSError] = []
    abandoned = time.time() - ABANDONED
    for entry in (entry for folder in folders for entry in _files_below(folder, refused)):
        with _noting(refused):
            found = entry.stat(follow_symlinks=False)
            if not entry.name.endswith((".tmp", ".lease")):
                path = entry.path.removesuffix(INDEX)
                used, size = whole.get(path, (0, 0))
                whole[path] = max(used, found.st_mtime_ns), size + found.st_size
            elif found.st_mtime < abandoned:
                os.unlink(entry.path)
    excess = sum(size for _, size in whole.values()) - limit_gb * 1e9
    removed = 0
    for (_, size), path in sorted((facts, path) for path, facts in whole.items()) if excess > 0 else ():
        with _noting(refused):
            for file in (path, path + INDEX):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
                    removed += 1
            excess -= size
        if excess <= 0:
            break
    if refused:
        why = f"{refused[0].filename} can't be read or removed ({refused[0].strerror})"
        warn_once(f"{why}: the cache may hold more than cache_gb={limit_gb:g}.")
    return removed


@contextlib.contextmanager
def _noting(refused: list[OSError]) -> Iterator[None]:
    """Keep an error of the file system and go on; what another process has just removed is none."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        refused.append(error)


def _files_below(folder: str | Path, refused: list[OSError]) -> Iterator[os.DirEntry[str]]:
    """Yield all files but locks. A cache holds 100,000s of them, and `Path.rglob` takes four times as long."""
    with _noting(refused), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry
            elif entry.name != LOCKS:
                yield from _files_below(entry.path, refused)
