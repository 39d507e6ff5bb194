"""Leases: files that say by a heartbeat that a temporary folder is still being written.

Several hosts and containers may share a folder, and none of them knows the processes of the others. So a writer touches
a file next to its temporary folder every `HEARTBEAT` seconds; once that has stopped for `EXPIRY` seconds, by the clock
of the file system itself, whoever tidies up removes both. Of a writer under the same kernel and in the same container,
the system knows at once whether it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from adbench.errors import AdbenchError
from adbench.system.pids import UNKNOWN, started

HOST = platform.node().replace(".", "-") or "host"
HEARTBEAT = 20.0  # seconds between two touches
EXPIRY = 300.0  # seconds after the last touch: a network folder may show a touch a minute late
LEFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.[0-9a-f]+\.(?P<kind>tmp|old|lease)")


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
    """Clean up after killed writers: remove their temporary folders, restore the folders that they set aside."""
    clock = _Clock(folder)
    leftovers: dict[Path, list[re.Match[str]]] = {}
    for path in folder.glob(".*"):
        if left := LEFT.fullmatch(path.name):
            leftovers.setdefault(path.with_suffix(".lease"), []).append(left)
    for lease, parts in leftovers.items():
        owner = _owner(lease)
        if _writes(owner, clock) if owner is not None else _may_write(parts[0]):
            continue
        for left in parts:
            path, final = folder / left.string, folder / str((owner or {}).get("name") or left["name"])
            if left["kind"] == "old" and not final.exists():
                with contextlib.suppress(OSError):  # another process does the same
                    path.rename(final)
            elif left["kind"] != "lease":
                shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            lease.unlink()


class _Clock:
    """The clock of a file system, which may be that of another machine; read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def now(self) -> float | None:
        """Seconds since 1970; none in a folder that can't be written."""
        try:
            number, probe = tempfile.mkstemp(prefix=".clock-", dir=self.folder)
        except OSError:
            return None
        try:
            return os.fstat(number).st_mtime
        finally:
            os.close(number)
            os.unlink(probe)


def _owner(lease: Path) -> dict[str, Any] | None:
    """Return what a lease says and the time of its last touch; none where there is no lease."""
    try:
        with lease.open(encoding="utf-8") as file:  # opening makes a network folder look again
            touched = os.fstat(file.fileno()).st_mtime
            content = json.loads(file.read() or "{}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {"touched": lease.lstat().st_mtime}
    return {**(content if isinstance(content, dict) else {}), "touched": touched}


def _writes(owner: dict[str, Any], clock: _Clock) -> bool:
    """Whether the owner of a lease still writes: it lives under this kernel, or touched the lease lately."""
    machine, pid = owner.get("machine"), owner.get("pid")
    if machine is not None and machine == _machine() and isinstance(pid, int):
        return started(pid) in (owner.get("started"), UNKNOWN)
    return clock.now is None or abs(clock.now - owner["touched"]) < EXPIRY


def _may_write(left: re.Match[str]) -> bool:
    """Whether a temporary folder without a lease may be written: by an adbench before leases, on this or another host.

    One whose lease is gone was left by a writer that was killed while it cleaned up.
    """
    return left["host"] != HOST or started(os.getpid()) is None or started(int(left["pid"])) is not None


def _machine() -> str | None:
    """Name this boot of this kernel, and the container: process ids mean the same where both are the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
