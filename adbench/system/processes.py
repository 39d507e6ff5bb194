"""Child processes that die with their parent and ignore SIGINT, and the pipe by which they answer."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

# A server process imports torch and Lightning once, and every child is a fork of it; elsewhere each imports its own.
CONTEXT = get_context("forkserver") if sys.platform == "linux" else get_context("spawn")


def warm_up() -> bool:
    """Start the server process, which imports what children need; false where each child does so itself."""
    if CONTEXT.get_start_method() != "forkserver":
        return False
    with no_interrupts():
        forkserver.set_forkserver_preload(["adbench.executors.work", "adbench.backbone.openclip"])
        forkserver.ensure_running()
    return True


class Child:
    """A child process and this end of the pipe to it; messages are pairs of a word and a value.

    `target` is called with the child's end of the pipe, then `args`.
    """

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=target, args=(theirs, *args))
        with no_interrupts():
            self.process.start()  # not as a daemon: a method's DataLoader may have processes of its own
        theirs.close()

    def send(self, message: Any) -> None:
        """Send a message; a child that has died doesn't get it, which `receive` then says."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> tuple[str, Any]:
        """Return the next message, or ("died", how); call it where there is news."""
        with contextlib.suppress(EOFError, OSError):
            # Without a message it is the process that has ended, whoever else may hold the pipe open.
            if self.pipe.poll():
                word, value = self.pipe.recv()
                return str(word), value
        self.process.join()
        return "died", describe_exit(self.process.exitcode)

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


C = TypeVar("C", bound=Child)


def with_news(children: Sequence[C]) -> list[C]:
    """Wait until some children have sent a message or ended, and return these."""
    ready = wait([thing for child in children for thing in (child.pipe, child.process.sentinel)])
    return [child for child in children if {child.pipe, child.process.sentinel}.intersection(ready)]


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
    """Set the environment (a forkserver child inherits the server's), ignore SIGINT, exit when the parent exits."""
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


def redirect_output(file: Path, append: bool = False) -> None:
    """Send what this process and its libraries print to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    target = os.open(file, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC), 0o666)
    for stream in (1, 2):
        os.dup2(target, stream)
    os.close(target)


def describe_exit(code: int | None) -> str:
    """Say how a process ended, from its exit code.

    >>> describe_exit(-9), describe_exit(3)
    ('was ended by SIGKILL: out of memory?', 'ended with exit code 3')
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"
