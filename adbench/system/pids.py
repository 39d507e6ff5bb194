"""Process ids: which process has one, for the system gives the id of a process that ended to another."""

from __future__ import annotations

import os
from pathlib import Path

UNKNOWN = "unknown"  # the start of a process that lives and is somebody else's


def started(pid: int) -> str | None:
    """Return when a process of this container started, in ticks since boot; none where it has ended.

    The id and this time together name one process. None too where the system has no /proc.
    """
    try:
        os.kill(pid, 0)
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except PermissionError:
        return UNKNOWN
    except (OSError, OverflowError, ValueError):
        return None
    return None if state in "ZX" else fields[18]
