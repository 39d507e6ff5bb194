"""A method whose cells wait, raise, die or eat memory, for executors whose cells run far away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.records.record import read_all

MOODY = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from adbench import Capability, Method, Scores

HERE = Path(__file__).parent


@dataclass
class Params:
    pass


class Moody(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", blocks=(1,), maps=False)

    def prepare(self, support):
        begun = time.time()
        with (HERE / "starts").open("a") as file:
            file.write(f"{self.seed} {os.getpid()}\\n")
        mood = HERE / f"mood_{self.seed}"
        what, _, amount = (mood if mood.exists() else HERE / "mood").read_text().partition(" ")
        if what == "raise":
            raise ValueError("this method is moody")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "eat":
            held = bytearray(int(amount) * 2**20)
            held[:: 4096] = b"x" * len(held[:: 4096])
            time.sleep(60)
        while what == "hold" and not (HERE / "go").exists():
            assert time.time() < begun + 300, "nobody says go"
            time.sleep(0.05)
        while what == "meet" and len((HERE / "starts").read_text().splitlines()) < int(amount):
            assert time.time() < begun + 120, "it is alone"
            time.sleep(0.05)
        time.sleep(float(amount or 0) if what == "sleep" else 0)
        with (HERE / "spans").open("a") as file:
            file.write(f"{begun} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\\n")

    def score(self, batch):
        return Scores(batch.images.float().mean((1, 2, 3)) + self.seed)
"""


class MoodyFile:
    """The file of that method, what its cells are to do, and which of them began in which process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "moody.py").write_text(MOODY)
        self.word = f"method={folder / 'moody.py'}:Moody"
        self.be("sleep 0")

    def be(self, mood: str, seed: int | None = None) -> None:
        """`hold`: until `go`; `meet N`: until N cells have begun; `sleep SECONDS`, `raise`, `die`, `eat MEGABYTES`."""
        (self.folder / ("mood" if seed is None else f"mood_{seed}")).write_text(mood)

    def go(self) -> None:
        (self.folder / "go").touch()

    @property
    def starts(self) -> list[int]:
        """The seeds of the cells that began, in order of number."""
        file = self.folder / "starts"
        return sorted(int(line.split()[0]) for line in file.read_text().splitlines()) if file.exists() else []

    @property
    def spans(self) -> list[tuple[float, float, str]]:
        """Begin, end and visible GPUs of each cell that ended well."""
        lines = [line.split(" ") for line in (self.folder / "spans").read_text().splitlines()]
        return sorted((float(begin), float(end), gpus) for begin, end, gpus in lines)


@pytest.fixture
def moody(tmp_path: Path) -> MoodyFile:
    return MoodyFile(tmp_path / "moody")


def _start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *map(str, words)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell has Ctrl-C ignored, and so would the child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.fixture
def started() -> Callable[..., subprocess.Popen[str]]:
    """Start `adbench run WORDS` in a process of its own."""
    return _start


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition, at most so many seconds."""

    def wait(condition: Callable[[], Any], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    return wait


@pytest.fixture
def predictions() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of the predictions of every record in a folder."""
    return lambda runs: {r.key: (r.path / "predictions.parquet").read_bytes() for r in read_all(runs)}
