"""Leases: files that say by a heartbeat that a temporary folder is still being written.

Several hosts and containers may share a folder, and none of them knows the processes of the others. So a writer touches
a file next to its temporary folder every `HEARTBEAT` seconds; once that has stopped for `EXPIRY` seconds, by the clock
of the file system itself, whoever tidies up removes both. Of a writer under the same kernel and in the same container,
the system knows at once whether it lives. So it does of the writer of a temporary file, which has no lease: its name
tells who that is. What another machine left is removed when it is a day old.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from adbench.errors import AdbenchError
from adbench.system.pids import UNKNOWN, started
from adbench.system.text import shortened

HOST = platform.node().replace(".", "-") or "host"
HEARTBEAT = 20.0  # seconds between two touches
EXPIRY = 300.0  # seconds after the last touch: a network folder may show a touch a minute late
ABANDONED = 86400.0  # seconds after which a temporary file that has no lease belongs to nobody
LONGEST = 120  # bytes of a file's name that its temporary file keeps, which adds up to 100 of its own
LEFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.(?P<mark>[0-9a-f]+)\.(?P<kind>tmp|old|lease)")


def temporary_name(final: Path) -> Path:
    """Return a hidden name next to `final` that no other process takes; `tidy` reads from it who wrote there."""
    mark = f"{_mark()}{uuid.uuid4().hex[:8]}"
    return final.with_name(f".{shortened(final.name, LONGEST)}.{HOST}.{os.getpid()}.{mark}.tmp")


@contextlib.contextmanager
def leased(temporary: Path, final: Path) -> Iterator[None]:
    """Keep the lease of a temporary folder, which will be called `final`, until the block ends."""
    lease, ended = temporary.with_suffix(".lease"), threading.Event()
    owner = {"name": final.name, "machine": _machine(), "pid": os.getpid(), "started": started(os.getpid())}
    lease.write_text(json.dumps(owner), encoding="utf-8")
    threading.Thread(target=_beat, args=(lease, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        lease.unlink(missing_ok=True)


def check_lease(temporary: Path, final: Path) -> None:
    """Raise AdbenchError where another process took the writer of a temporary folder for one that had ended."""
    if not temporary.with_suffix(".lease").exists():
        raise AdbenchError(
            f"this process was suspended, and its lease on {final} ended after {EXPIRY:.0f} seconds: another one may "
            "have taken over. Run the command again."
        )


def _beat(lease: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        with contextlib.suppress(OSError):
            os.utime(lease)  # without times: a file server then sets its own


def tidy(folder: Path) -> None:
    """Clean up after killed writers: remove temporary files and folders, restore the folders that they set aside."""
    clock = Clock(folder)
    leftovers: dict[Path, list[re.Match[str]]] = {}
    for path in folder.glob(".*"):
        if left := LEFT.fullmatch(path.name):
            leftovers.setdefault(path.with_suffix(".lease"), []).append(left)
    for lease, parts in leftovers.items():
        owner = _owner(lease)
        if _writes(owner, clock) if owner is not None else _may_write(folder, parts[0], clock):
            continue
        for left in parts:
            path, final = folder / left.string, folder / str((owner or {}).get("name") or left["name"])
            with contextlib.suppress(OSError):  # another process does the same
                if left["kind"] == "old" and not final.exists():
                    path.rename(final)
                elif path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path != lease:
                    path.unlink()
        if not any(os.path.lexists(lease.with_suffix(f".{kind}")) for kind in ("tmp", "old")):
            with contextlib.suppress(OSError):
                lease.unlink()


class Clock:
    """The clock of a file system, which may be that of another machine; read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def now(self) -> float | None:
        """Seconds since 1970; none in a folder that can't be written."""
        probe = temporary_name(self.folder / "clock")
        try:
            with probe.open("x") as file:
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()


def ahead(folder: Path) -> float:
    """Return by how many seconds a file system's clock is ahead of this machine's; 0 where it can't be read."""
    here, there = time.time(), Clock(folder).now
    return 0.0 if there is None else there - here


def _owner(lease: Path) -> dict[str, Any] | None:
    """Return what a lease says and the time of its last touch; none where there is no lease."""
    try:
        with lease.open(encoding="utf-8") as file:  # opening makes a network folder look again
            touched = os.fstat(file.fileno()).st_mtime
            content = json.loads(file.read() or "{}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {"touched": _newest(lease)}
    return {**(content if isinstance(content, dict) else {}), "touched": touched}


def _writes(owner: dict[str, Any], clock: Clock) -> bool:
    """Whether the owner of a lease still writes: it lives under this kernel, or touched the lease lately."""
    machine, pid = owner.get("machine"), owner.get("pid")
    if machine is not None and machine == _machine() and isinstance(pid, int):
        return started(pid) in (owner.get("started"), UNKNOWN)
    return clock.now is None or abs(clock.now - owner["touched"]) < EXPIRY


def _may_write(folder: Path, left: re.Match[str], clock: Clock) -> bool:
    """Whether a temporary file or folder without a lease may be being written.

    A writer has a lease of its folder, so this one was left by an adbench before leases, or by a writer that was killed
    while it cleaned up: the name of the host is enough. No file has a lease, and its name says where its number counts.
    """
    path = folder / left.string
    here = left["host"] == HOST and (path.is_dir() or left["mark"].startswith(_mark()))
    if here and started(os.getpid()) is not None and started(int(left["pid"])) is None:
        return False
    return clock.now is None or clock.now - _newest(path) < ABANDONED


def _newest(path: Path) -> float:
    """Return when a file, or a folder with all that is in it, was last changed, in seconds since 1970."""
    newest = 0.0
    below = (Path(folder, name) for folder, folders, files in os.walk(path) for name in folders + files)
    for place in (path, *below):
        with contextlib.suppress(OSError):
            newest = max(newest, place.lstat().st_mtime)
    return newest


def _mark() -> str:
    """Return eight hexadecimal digits for this boot and container; where they have no name, other ones each time."""
    return hashlib.sha256((_machine() or uuid.uuid4().hex).encode()).hexdigest()[:8]


def _machine() -> str | None:
    """Name this boot of this kernel, and the container: process ids mean the same where both are the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
