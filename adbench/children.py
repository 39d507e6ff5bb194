"""Processes that end with the one that started them, and that Ctrl-C doesn't reach: their parent decides."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path

# A server process imports torch and Lightning once, and every child is a fork of it; elsewhere each imports its own.
CONTEXT = get_context("forkserver") if sys.platform == "linux" else get_context("spawn")


def warm_up() -> bool:
    """Start the server process, which imports what children need; false where each child does so itself."""
    if CONTEXT.get_start_method() != "forkserver":
        return False
    with no_interrupts():
        forkserver.set_forkserver_preload(["adbench.executors.work", "adbench.openclip"])
        forkserver.ensure_running()
    return True


@contextlib.contextmanager
def no_interrupts() -> Iterator[None]:
    """Let a child start with Ctrl-C blocked: the terminal sends it to all, and this process alone decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_child(environment: Mapping[str, str]) -> None:
    """Begin a child: its variables, for a fork's own are those of its server; no Ctrl-C; no life without the parent."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this process when its parent has gone, even killed: nobody would take what is computed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def print_to(file: Path, append: bool = False) -> None:
    """Send what this process and its libraries print to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(file, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC), 0o666)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)


def epitaph(code: int | None) -> str:
    """Say how a process ended, from its exit code.

    >>> epitaph(-9), epitaph(3)
    ('was ended by SIGKILL: out of memory?', 'ended with exit code 3')
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"
