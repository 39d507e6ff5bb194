"""Waiting for the lock of another process, and saying so; where a file system has no locks, files stand for them."""

from __future__ import annotations

import errno
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from adbench.system.text import printable, warn

PATIENCE = 5.0  # seconds after which a waiting process says so
POLL = 0.02  # seconds between two tries
_kinds: dict[int, type[BaseFileLock]] = {}  # by the device of a file system


def acquired(lock: Path, made: Path) -> AbstractContextManager[object]:
    """Acquire the lock under which `made` is made, and return it; who waits long says on standard error for what."""
    held = _kind(lock.parent)(lock)
    try:
        return held.acquire(timeout=PATIENCE, poll_interval=POLL)
    except Timeout:
        waiting = f"adbench: waiting for another process that makes {made} (lock {lock})."
        print(printable(waiting), file=sys.stderr, flush=True)
    return held.acquire(poll_interval=POLL)


def _kind(folder: Path) -> type[BaseFileLock]:
    """Return the class of the locks in a folder; a file system without any is named once."""
    device = folder.stat().st_dev
    if device not in _kinds:
        _kinds[device] = FileLock if _has_locks(folder) else SoftFileLock
        if _kinds[device] is SoftFileLock:
            warn(
                f"the file system of {folder} has no locks (flock): files there stand for them. After a command was "
                "killed, remove the lock file that others say they wait for."
            )
    return _kinds[device]


def _has_locks(folder: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, which has locks of its own
        return True
    with tempfile.TemporaryFile(dir=folder) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno != errno.ENOSYS
    return True
