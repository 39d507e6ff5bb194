"""Errors of a method's own code: named as such, and never a computed cell lost to its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

METHOD = """
import errno
import os
from dataclasses import dataclass, field

import torch

from adbench import Capability, Method, Scores


@dataclass
class Params:
    fails: str = ""
    share: float = 0.5


class Own(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        odd = torch.tensor(0.5) if params.fails == "capability" else None
        return Capability(support="none", maps=False, pooled=True, threshold=odd, stochastic=False)

    def build(self):
        self.one = torch.nn.Linear(2, 2)
        self.two = self.one  # tied weights
        self._open("build")

    def prepare(self, support):
        self._open("prepare")

    def score(self, batch):
        if self.params.fails == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._open("score")
        return Scores(batch.images.float().mean((1, 2, 3)))

    def _open(self, where):
        if self.params.fails == where:
            open("/no/such/bank.pt")
"""


@pytest.fixture
def method(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(METHOD)
    return f"method={tmp_path / 'own.py'}:Own"


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (
            "build",
            "the method Own failed in build(): FileNotFoundError: [Errno 2] No such file or directory: '/no/",
        ),
        ("prepare", "the method Own failed in prepare(): FileNotFoundError: [Errno 2] No such file or directory"),
        ("score", "the method Own failed in score(): FileNotFoundError"),
        ("full", "the method Own failed in score(): OSError: [Errno 28] No space left on device"),
    ],
)
def test_an_oserror_of_a_method_is_its_failure_and_no_lack_of_space(
    adbench, words, method: str, tmp_path: Path, fails: str, says: str
) -> None:
    answer = adbench("run", method, f"method.fails={fails}", *words)
    assert answer.code == 1
    assert says in answer.err
    assert "Free some space" not in answer.err
    assert "Traceback" not in answer.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["logs"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("method.share=.nan", "can't be recorded: params.share is nan"),
        ("method.share=.inf", "can't be recorded: params.share is inf"),
        ("method.fails=capability", "can't be recorded: capability.threshold is of Tensor"),
    ],
)
def test_what_a_record_cannot_hold_is_said_before_any_work(
    adbench, words, method: str, tmp_path: Path, word: str, says: str
) -> None:
    answer = adbench("run", method, word, *words)
    assert answer.code == 2
    assert says in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_figure_that_is_not_finite_and_tied_weights_lose_no_cell(
    adbench, words, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adbench.running import cell

    monkeypatch.setattr(cell, "throughput", lambda *args: (float("inf"), float("nan")))
    answer = adbench("run", method, *words)
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "runs").iterdir()
    content = json.loads((folder / "record.json").read_text())
    assert content["images_per_second"] is None
    assert content["notes"][-2] == "images_per_second is inf: kept as null"
    assert content["notes"][-1] == "gflops_per_image is nan: kept as null"
