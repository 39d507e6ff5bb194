"""Threads and processes that a method leaves running."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import NoReturn

from adbench.system import cores

PATIENCE = 2.0  # seconds in which what is about to end may do so


def newer() -> Callable[[], list[str]]:
    """Return a function that says which threads and child processes are running then and weren't now.

    Threads: those for which Python waits when it ends. It looks again for two seconds before it says that one is.
    """
    before = dict(_running())

    def more() -> list[str]:
        until = time.monotonic() + PATIENCE
        while (left := dict(_running()).keys() - before.keys()) and time.monotonic() < until:
            time.sleep(0.01)
        return sorted(name for key, name in _running() if key in left)

    return more


def leave(code: int) -> NoReturn:
    """End this process with an exit code, without waiting for threads and processes that nobody ends."""
    for process in multiprocessing.active_children():
        process.kill()
    atexit._run_exitfuncs()
    os._exit(code)


def _running() -> Iterator[tuple[int, str]]:
    """Yield a number and a name for each thread and each child process."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and not cores.owns(thread):
            yield id(thread), f"the thread {thread.name}"
    started = {process.pid: process.name for process in multiprocessing.active_children() if process.pid}
    for pid, name in (started | _children()).items():
        yield -pid, f"the process {started.get(pid, name)}"


def _children() -> dict[int, str]:
    """Return the names of this process's children by number, where the system has /proc; zombies are none.

    Nor are the servers that multiprocessing starts for all its processes.
    """
    servers = {getattr(forkserver._forkserver, "_forkserver_pid", None),
               getattr(resource_tracker._resource_tracker, "_pid", None)}  # fmt: skip
    found: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text().rpartition(")")
        except OSError:  # it has ended
            continue
        state, parent = rest.split()[:2]
        pid, _, name = head.partition(" (")
        if int(parent) == os.getpid() and state != "Z" and int(pid) not in servers:
            found[int(pid)] = name
    return found
