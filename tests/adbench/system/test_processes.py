"""Child processes: messages, ends, Ctrl-C, and the end of their parent."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from adbench.system.pids import started
from adbench.system.processes import Child, answer, wait_any, warm_up

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def echo(pipe, *greeting: str) -> None:
    """Send the greeting, then do what the messages say."""
    for word in greeting:
        pipe.send(("greeting", word))
    while True:
        match pipe.recv():
            case "environment":
                pipe.send(("environment", dict(os.environ)))
            case "exit":
                os._exit(3)
            case "raise":
                sys.stderr = io.StringIO()
                raise ValueError
            case "return":
                return
            case message:
                pipe.send(("echo", message))


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Start children, and end them after the test."""
    children: list[Child] = []

    def start(*greeting: str, **environment: str) -> Child:
        children.append(Child(echo, *greeting, environment=os.environ | environment))
        return children[-1]

    yield start
    for process in children:
        process.kill()


def test_messages_arrive_in_order_and_without_loss(child) -> None:
    process = child("first", "second")
    process.send({"any": ["object"]})
    process.send("exit")
    process.process.join()  # what it sent before its end is still there
    messages = [process.receive() for _ in range(4)]
    assert messages == [
        ("greeting", "first"), ("greeting", "second"), ("echo", {"any": ["object"]}), ("died", "ended with exit code 3")
    ]  # fmt: skip


def test_a_child_has_the_environment_that_it_was_given(child) -> None:
    warm_up()  # where there is a server, it has the variables of its own start
    process = Child(echo, environment={"ADBENCH_TEST": "1", "PATH": os.environ["PATH"]})
    process.send("environment")
    word, environment = process.receive()
    process.kill()
    assert word == "environment"
    assert environment == {"ADBENCH_TEST": "1", "PATH": os.environ["PATH"]}
    assert "ADBENCH_TEST" not in os.environ


@pytest.mark.parametrize(
    ("message", "end"),
    [("exit", "ended with exit code 3"), ("raise", "ended with exit code 1"), ("return", "ended with exit code 0")],
)
def test_an_end_has_its_exit_code(child, message: str, end: str) -> None:
    process = child()
    process.send(message)
    assert process.receive() == ("died", end)
    process.send("nobody gets this")
    assert process.receive() == ("died", end)


@needs_signals
@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGKILL, "was ended by SIGKILL: out of memory?"), (signal.SIGTERM, "was ended by SIGTERM")],
)
def test_death_by_a_signal_is_named(child, number: int, end: str) -> None:
    process = child("ready")
    assert process.receive() == ("greeting", "ready")
    os.kill(process.process.pid, number)
    assert process.receive() == ("died", end)


def test_kill_ends_a_child_at_once_and_may_be_repeated(child) -> None:
    process = child("ready")
    process.receive()
    process.kill()
    assert process.process.exitcode == -signal.SIGKILL
    process.kill()
    process.send("nobody gets this")


@needs_signals
def test_sigint_does_not_reach_a_child(child) -> None:
    process = child("ready")
    process.receive()
    os.kill(process.process.pid, signal.SIGINT)
    process.send("still here")
    assert process.receive() == ("echo", "still here")


def test_of_several_children_those_with_a_message_are_returned(child) -> None:
    quiet, speaks, ends = child(), child("hello"), child()
    assert wait_any([quiet, speaks]) == [speaks]
    assert speaks.receive() == ("greeting", "hello")
    ends.send("exit")
    assert wait_any([quiet, speaks, ends]) == [ends]
    assert ends.receive() == ("died", "ended with exit code 3")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process starts the others")
def test_a_child_is_ended_with_the_process_that_starts_children(child) -> None:
    process = child("ready")
    assert process.receive() == ("greeting", "ready")
    pid = process.process.pid
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    word, end = process.receive()
    assert (word, end) == ("died", "has to end, since the process that starts workers was ended: out of memory?")
    assert started(pid) is not None, "it runs, and nobody would know when it has ended"
    process.kill()
    assert started(pid) is None
    process.kill()
    assert child("again").receive() == ("greeting", "again"), "there is another that starts children"


def speaks_to_nobody(pipe) -> None:
    try:
        pipe.close()
        answer(pipe, "stage", "fit")
    finally:
        os._exit(7)  # an error has been raised


def test_a_child_to_which_nobody_listens_ends_without_an_error() -> None:
    process = Child(speaks_to_nobody, environment=os.environ)
    assert process.receive() == ("died", "ended with exit code 1")
    process.kill()


PARENT = """
import os
import time

from adbench.system.processes import Child


def wait(pipe):
    pipe.send(("pid", os.getpid()))
    time.sleep(600)


if __name__ == "__main__":
    child = Child(wait, environment=os.environ)
    print(child.receive()[1], flush=True)
    time.sleep(600)
"""


@needs_signals
def test_a_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, 0)  # it lives
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
    parent.stdout.close()


IMPORTING = """
from multiprocessing import forkserver
from adbench.system.processes import warm_up
preload = forkserver.set_forkserver_preload
forkserver.set_forkserver_preload = lambda names: preload(["takes_long"])
assert warm_up()
print("ends")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no process starts the others")
def test_the_process_that_starts_children_holds_no_pipe_after_the_command(tmp_path: Path) -> None:
    (tmp_path / "takes_long.py").write_text("import time\ntime.sleep(600)")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", IMPORTING]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "ends\n")
