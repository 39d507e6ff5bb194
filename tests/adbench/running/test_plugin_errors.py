"""A method that fails in any of its functions, in any way: one sentence, and no other cell is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

METHOD = """
import sys
from dataclasses import dataclass

import torch
from torch import nn

from adbench import Capability, Method, Scores


class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")


def deep():
    return deep()


FAILURES = {
    "exit": lambda: sys.exit(0),
    "exit_text": lambda: sys.exit("no licence"),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "empty": lambda: (_ for _ in ()).throw(RuntimeError()),
    "lines": lambda: (_ for _ in ()).throw(RuntimeError("one\\ntwo {x} %s")),
    "control": lambda: (_ for _ in ()).throw(RuntimeError("a\\x1b[31mred\\x00 über")),
    "long": lambda: (_ for _ in ()).throw(RuntimeError("x" * 1_000_000)),
    "odd": lambda: (_ for _ in ()).throw(Odd()),
    "deep": deep,
    "memory": lambda: (_ for _ in ()).throw(MemoryError()),
    "assertion": lambda: (_ for _ in ()).throw(AssertionError("never")),
    "stop": lambda: next(iter(())),
}


@dataclass
class Params:
    where: str = ""
    how: str = "lines"
    returns: str = ""

    def __post_init__(self):
        fail(self, "Params")


def fail(params, where):
    if params.where == where:
        FAILURES[params.how]()


class Bad(Method[Params]):
    def __init__(self, *args):
        super().__init__(*args)
        fail(self.params, "__init__")

    @classmethod
    def capability(cls, params, architecture):
        fail(params, "capability")
        if params.returns == "capability":
            return {"support": "none"}
        if params.returns == "support":
            return Capability(support="all")
        return Capability(support="both", pooled=True, maps=True, epochs=1, transductive=True)

    def build(self):
        fail(self.params, "build")
        self.layer = nn.Linear(1, 1)

    def prepare(self, support):
        fail(self.params, "prepare")
        return 5

    def train_dataloader(self):
        fail(self.params, "train_dataloader")
        return torch.utils.data.DataLoader(torch.rand(4, 1))

    def training_step(self, batch, index):
        fail(self.params, "training_step")
        if self.params.returns == "training_step":
            return "a text"
        return self.layer(batch).mean()

    def on_train_epoch_end(self):
        fail(self.params, "on_train_epoch_end")

    def configure_optimizers(self):
        fail(self.params, "configure_optimizers")
        if self.params.returns == "configure_optimizers":
            return 5
        return torch.optim.SGD(self.parameters(), 0.1)

    def build_memory(self, support):
        fail(self.params, "build_memory")

    def observe_test_images(self, batches):
        fail(self.params, "observe_test_images")

    def encode(self, images, progress=""):
        fail(self.params, "encode")
        if self.params.returns == "encode":
            return images
        return super().encode(images, progress)

    def score(self, batch):
        fail(self.params, "score")
        n = len(batch.images)
        image, maps = torch.arange(n).float(), torch.rand(n, 4, 4)
        return {
            "": lambda: Scores(image, maps),
            "none": lambda: None,
            "tensor": lambda: image,
            "pair": lambda: (image, maps),
            "two": lambda: Scores(image[:, None].expand(n, 2), maps),
            "column": lambda: Scores(image[:, None], maps),
            "few": lambda: Scores(image[:-1], maps),
            "ints": lambda: Scores(image.long(), maps),
            "list": lambda: Scores(image.tolist(), maps),
            "channel": lambda: Scores(image, maps[:, None]),
            "flat": lambda: Scores(image, maps[:, 0]),
            "no maps": lambda: Scores(image),
            "empty maps": lambda: Scores(image, maps[:, :0]),
            "nan": lambda: Scores(image * float("nan"), maps),
            "grad": lambda: Scores(image.requires_grad_(), maps),
        }.get(self.params.returns, lambda: Scores(image, maps))()
"""


@pytest.fixture
def method(tmp_path: Path) -> str:
    (tmp_path / "bad.py").write_text(METHOD)
    return f"method={tmp_path / 'bad.py'}:Bad"


def is_one_sentence(answer: Any) -> bool:
    lines = answer.err.strip().splitlines()
    return (
        answer.code not in (0, 130)
        and len(lines) == 1
        and lines[0].startswith("adbench: ")
        and len(lines[0]) < 1200
        and "Traceback" not in answer.out + answer.err
        and "\x1b" not in answer.err
    )


@pytest.mark.parametrize(
    ("where", "how"),
    [
        ("Params", "exit"), ("capability", "exit"), ("capability", "odd"), ("__init__", "exit"), ("build", "deep"),
        ("prepare", "interrupt"), ("train_dataloader", "memory"), ("training_step", "exit"),
        ("training_step", "interrupt"), ("on_train_epoch_end", "lines"), ("configure_optimizers", "empty"),
        ("build_memory", "control"), ("observe_test_images", "assertion"), ("encode", "odd"), ("score", "exit"),
        ("score", "exit_text"), ("score", "interrupt"), ("score", "long"), ("score", "stop"),
    ],
)  # fmt: skip
def test_whatever_a_method_raises_is_one_sentence(adbench, words, method: str, tmp_path: Path, where, how) -> None:
    answer = adbench("run", method, "shots=2", f"method.where={where}", f"method.how={how}", *words)
    assert is_one_sentence(answer), answer
    assert f"the method Bad failed in {where}" in answer.err
    records = list((tmp_path / "runs").glob("*/record.json"))
    assert not records


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        ("none", "score() of Bad returned None, where Scores(image, maps) is needed"),
        ("tensor", "score() of Bad returned shape ("),
        ("pair", "returned class tuple, where Scores(image, maps) is needed"),
        ("two", r", 2) for "),
        ("column", r", 1) for "),
        ("few", "image of shape ("),
        ("ints", "image of type torch.int64, where floating-point scores is needed"),
        ("list", "image of class list for"),
        ("channel", "maps of shape ("),
        ("flat", "maps of shape ("),
        ("empty maps", ", 0, 4) for"),
        ("no maps", "no maps though its capability declares maps=True"),
        ("nan", "a score that is not finite"),
        ("capability", "capability() of the method Bad is wrong on phantom-clip: {'support': 'none'} came back"),
        ("support", "support='all', which is none of none, normal, both"),
        ("encode", "encode() of Bad returned a Tensor; Features are needed"),
        ("training_step", "the method Bad failed in its training"),
        ("configure_optimizers", "the method Bad failed in its training"),
    ],
)
def test_what_a_function_returns_is_checked(adbench, words, method: str, returns: str, says: str) -> None:
    answer = adbench("run", method, "shots=2", f"method.returns={returns}", *words)
    assert is_one_sentence(answer), answer
    assert says in answer.err


def test_a_score_with_a_gradient_is_taken(adbench, words, method: str) -> None:
    assert adbench("run", method, "shots=2", "method.returns=grad", *words).code == 0


@pytest.mark.parametrize(("where", "workers"), [("capability", 1), ("score", 2), ("Params", 2)])
def test_in_a_sweep_it_costs_its_own_cells(adbench, words, method: str, tmp_path: Path, where, workers) -> None:
    (tmp_path / "bad.py").write_text(
        METHOD.replace('where: str = ""', f'where: str = "{where}"').replace('"lines"', '"exit"')
    )
    answer = adbench("run", f"{method},clip", "shots=2", *words, f"workers={workers}")
    assert answer.code == 1
    assert "failed, 1 of 2 cells" in answer.out
    assert f"failed in {where}" in " ".join(answer.out.split())
    assert "Traceback" not in answer.out + answer.err
    done = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")]
    assert [one["resolved"]["method"] for one in done if one["status"] == "complete"] == ["clip"]


def test_the_traceback_of_a_cell_is_in_its_log(adbench, words, method: str) -> None:
    answer = adbench("run", method, "shots=2", "method.where=score", *words)
    log = Path(answer.err.partition("The traceback is in ")[2].strip().rstrip("."))
    assert "RuntimeError: one\ntwo {x} %s" in log.read_text()
    assert "in score" in log.read_text()
