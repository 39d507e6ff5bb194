"""A fake method whose cells wait, raise, die or eat memory, and what tests of whole commands share."""

from __future__ import annotations

import cProfile
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from adbench.config.schema import RunConfig
from adbench.records import files, record
from adbench.records.record import read_all

FAKE = """
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from adbench import Capability, Method, Scores

HERE = Path(__file__).parent


@dataclass
class Params:
    pass


class Fake(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", blocks=(1,), maps=False)

    def prepare(self, support):
        begun = time.time()
        with (HERE / "starts").open("a") as file:
            file.write(f"{self.seed}\\n")
        own = HERE / f"behaviour_{self.seed}"
        behaviour, _, amount = (own if own.exists() else HERE / "behaviour").read_text().partition(" ")
        if behaviour == "print":
            print("the fake method prints")
        if behaviour in ("spoil", "alter"):
            torch.set_default_dtype(torch.float64)
        if behaviour in ("raise", "spoil"):
            raise ValueError("the fake method raises")
        if behaviour == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "eat":
            held = bytearray(int(amount) * 2**20)
            held[:: 4096] = b"x" * len(held[:: 4096])
            time.sleep(60)
        while behaviour == "hold" and not (HERE / "released").exists():
            assert time.time() < begun + 600, "nobody releases it"
            time.sleep(0.05)
        while behaviour == "meet" and len((HERE / "starts").read_text().splitlines()) < int(amount):
            assert time.time() < begun + 120, "it is alone"
            time.sleep(0.05)
        time.sleep(float(amount) if behaviour == "sleep" else 0)
        with (HERE / "spans").open("a") as file:
            file.write(f"{begun} {time.time()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}\\n")

    def score(self, batch):
        # The last summand is 4, or 8 in a process where an earlier cell changed the default dtype.
        return Scores(batch.images.float().mean((1, 2, 3)) + self.seed + torch.zeros(()).element_size())
"""


class FakeMethod:
    """The file of the fake method, what its cells are to do, and which of them began."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "fake.py").write_text(FAKE)
        self.path = f"{folder / 'fake.py'}:Fake"
        self.word = f"method={self.path}"
        self.behave("sleep 0")

    def behave(self, behaviour: str, *seeds: int) -> None:
        """Set what the cells of some seeds do, or those of all other seeds.

        `hold`: wait for `release`; `meet N`: wait until N cells have begun; `sleep SECONDS`; `raise` an error;
        `print` a line; `alter`: change a setting of torch; `spoil`: do so and raise; `die` by SIGKILL; `eat MEGABYTES`
        of memory.
        """
        for name in [f"behaviour_{seed}" for seed in seeds] or ["behaviour"]:
            (self.folder / name).write_text(behaviour)

    def repair(self) -> None:
        """Let the cells of all seeds end well."""
        for file in self.folder.glob("behaviour_*"):
            file.unlink()
        self.behave("sleep 0")

    def release(self) -> None:
        """Let the cells that hold go on."""
        (self.folder / "released").touch()

    @property
    def starts(self) -> list[int]:
        """The seeds of the cells that began, sorted."""
        file = self.folder / "starts"
        return sorted(map(int, file.read_text().split())) if file.exists() else []

    @property
    def spans(self) -> list[tuple[float, float, str]]:
        """Begin, end and visible GPUs of each cell that ended well."""
        lines = [line.split(" ") for line in (self.folder / "spans").read_text().splitlines()]
        return sorted((float(begin), float(end), gpus) for begin, end, gpus in lines)


@pytest.fixture
def no_stale_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without modules of other tests whose files are gone: where one is imported, no method's answer is remembered."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not (os.path.isabs(file) and os.path.isfile(file)):
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def fake(tmp_path: Path) -> FakeMethod:
    return FakeMethod(tmp_path / "fake")


@pytest.fixture
def words(tiny: Path, tmp_path: Path) -> list[str]:
    """Words for cells on the tiny dataset, with their records in `tmp_path / "runs"`."""
    return [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start `adbench run WORDS` in a process of its own."""

    def start(*words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "adbench", "run", *map(str, words)], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A test run in the background of a shell has Ctrl-C ignored, and so would the child.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    return start


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition, at most so many seconds."""

    def wait(condition: Callable[[], Any], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)

    return wait


@pytest.fixture
def predictions() -> Callable[[Path], dict[str, bytes]]:
    """The bytes of the predictions of every record in a folder."""
    return lambda runs: {r.key: (r.path / "predictions.parquet").read_bytes() for r in read_all(runs)}


@pytest.fixture
def stub_record() -> Callable[..., None]:
    """Write a record whose figures are null: what `record.find` and an estimate of costs want."""

    def write(config: RunConfig, key: str, seconds: float = 1.0, facts: dict[str, Any] | None = None) -> None:
        folder = Path(config.runs) / key
        folder.mkdir(parents=True)
        for name in files.ALWAYS:
            (folder / name).touch()
        (folder / "record.json").write_text(json.dumps(stub_content(config, key, seconds, facts)))

    return write


def stub_content(config: RunConfig, key: str, seconds: float, given: dict[str, Any] | None) -> dict[str, Any]:
    """Return the least that a record.json holds, by default with facts that no cell has."""
    facts = {"method": config.method_name, "dataset": config.dataset, "data": "d", "dataset_facets": {}, "params": {}}
    facts |= {"support": "s", "seed": config.seed, "weights": "w", "train_on": None}
    facts = given or facts | {"protocol": "few_shot"}
    about: dict[str, Any] = dict.fromkeys(("title", "modality", "organ", "source", "licence"), "x")
    about |= {"masks": True, "fingerprint": facts["data"]}
    support = {"source": "draw:0", "shots": 1, "normal": [], "abnormal": [], "hash": facts["support"]}
    return {
        "schema": record.SCHEMA, "key": key, "status": "complete", "data": "real", "given": [], "notes": [],
        "resolved": dataclasses.asdict(config), "facts": facts, "protocol": facts["protocol"],
        "backbone": {"name": "b"}, "dataset": about, "capability": {"maps": True}, "metrics": {"image_auroc": 0.5},
        "support": support, "half_widths": {},
        "histogram": None, "test_images": 2, "parameters": {"trainable": 0}, "seconds": {"fit": seconds},
        "peak_memory": {"host_bytes": 10**9}, "code": {"version": "0", "commit": None, "dirty": None}, "packages": {},
        "device": {}, "finished": "2026", "overlap": 0, "selection": {"rule": config.selection, "last": None},
        "images_per_second": None, "gflops_per_image": None,
    }  # fmt: skip


_listeners: list[list[Path]] = []


def _listen(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _listeners and isinstance(args[0], str):
        for files in _listeners:
            files.append(Path(args[0]))


@pytest.fixture(scope="session")
def _audit_hook() -> None:
    sys.addaudithook(_listen)  # a hook can't be removed


@pytest.fixture
def opened_files(_audit_hook: None) -> Callable[[], AbstractContextManager[list[Path]]]:
    """Keep the files that this process opens within a block."""

    @contextmanager
    def listening() -> Iterator[list[Path]]:
        files: list[Path] = []
        _listeners.append(files)
        try:
            yield files
        finally:
            _listeners.remove(files)

    return listening


@pytest.fixture
def count_calls() -> Callable[..., AbstractContextManager[list[int]]]:
    """Count how often this thread calls each of some functions within a block; the list is filled at its end."""

    @contextmanager
    def counting(*functions: Any) -> Iterator[list[int]]:
        counts: list[int] = []
        profile = cProfile.Profile()
        with profile:
            yield counts
        calls = {entry.code: entry.callcount for entry in profile.getstats() if isinstance(entry.code, CodeType)}
        counts += [calls.get(function.__code__, 0) for function in functions]

    return counting
