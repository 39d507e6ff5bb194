"""Child processes that die with their parent and ignore SIGINT, and the pipe by which they answer."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from adbench.system.pids import started

# A server process imports torch and Lightning once, and every child is a fork of it; elsewhere each imports its own.
CONTEXT = get_context("forkserver") if sys.platform == "linux" else get_context("spawn")


def warm_up() -> bool:
    """Start the server process, which imports what children need; false where each child does so itself."""
    if CONTEXT.get_start_method() != "forkserver":
        return False
    with _no_interrupts():
        forkserver.set_forkserver_preload(["adbench.executors.work", "adbench.backbone.openclip"])
        forkserver.ensure_running()
    atexit.register(_end_server, os.getpid())
    return True


def _end_server(owner: int) -> None:
    """End the server process with the process `owner` that started it, unless children of it still run.

    By itself it would end after its imports, and until then hold the pipe of `adbench run … | tee`.
    """
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None and os.getpid() == owner and not active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Child:
    """A child process and this end of the pipe to it.

    `target(pipe, *args)` is called in the child, with its end of the pipe and with exactly the variables of
    `environment`. It sends pairs of a word and a value by `answer`, ("stage", "fit") for instance; the word `died` is
    taken: it is how `receive` says that the process has ended, or that nobody would know if it had.
    """

    def __init__(self, target: Callable[..., None], *args: Any, environment: Mapping[str, str]) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_main, args=(dict(environment), target, theirs, *args))
        with _no_interrupts():
            self.process.start()  # not as a daemon: a method's DataLoader may have processes of its own
        theirs.close()
        self.began = started(self.process.pid or 0)

    def send(self, message: Any) -> None:
        """Send a message; where the child has died, `receive` says so."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> tuple[str, Any]:
        """Wait for the next message; ("died", how the process ended) after the last one."""
        wait([self.pipe, self.process.sentinel])
        with contextlib.suppress(EOFError, OSError):
            # Without a message it is the process that has ended, whoever else may hold the pipe open.
            if self.pipe.poll():
                word, value = self.pipe.recv()
                return str(word), value
        self.process.join()
        if self._orphaned():
            return "died", "has to end, since the process that starts workers was ended: out of memory?"
        return "died", describe_exit(self.process.exitcode)

    def kill(self) -> None:
        """End the process at once, and wait until it has ended."""
        self.process.kill()
        self.process.join()
        while self._orphaned():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, signal.SIGKILL)
            time.sleep(0.01)
        self.pipe.close()

    def _orphaned(self) -> bool:
        """Whether it runs although it counts as ended: with the server process ends the news of all its children."""
        ended = self.process.exitcode is not None
        return ended and self.began is not None and started(self.process.pid or 0) == self.began


C = TypeVar("C", bound=Child)


def wait_any(children: Sequence[C]) -> list[C]:
    """Wait until some children have sent a message or ended, and return these."""
    ready = wait([handle for child in children for handle in (child.pipe, child.process.sentinel)])
    return [child for child in children if {child.pipe, child.process.sentinel}.intersection(ready)]


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
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


def _main(
    environment: dict[str, str], target: Callable[..., None], pipe: Connection[Any, Any], *args: Any
) -> None:  # fmt: skip
    """Set the environment (a forkserver child inherits the server's), ignore SIGINT, exit when the parent exits."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    target(pipe, *args)


def answer(pipe: Connection[Any, Any], word: str, value: Any = None) -> None:
    """Send a word and a value to the parent; end this process, without a traceback, where it no longer listens."""
    try:
        pipe.send((word, value))
    except OSError:
        os._exit(1)


def _die_with_parent() -> None:
    """End this process when its parent has gone, even killed: nobody would take what is computed."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def describe_exit(code: int | None) -> str:
    """Say how a process ended, from its exit code.

    >>> describe_exit(-9), describe_exit(3)
    ('was ended by SIGKILL: out of memory?', 'ended with exit code 3')
    """
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"ended with exit code {code}"
