"""What a record keeps of values that JSON doesn't know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adbench.records.plain import plain
from adbench.records.record import to_json


class Colour(Enum):
    RED = 1


@dataclass
class Params:
    levels: tuple[int, ...]
    folder: Path


class Mute:
    def __str__(self) -> str:
        raise ValueError("no text")


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"a": 1, 2: [True, None, "x"]}, {"a": 1, 2: [True, None, "x"]}),
        (Params((1, 2), Path("/x")), {"levels": [1, 2], "folder": "/x"}),
        ({"c": Colour.RED, "n": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True)},
         {"c": "RED", "n": 0.5, "i": 3, "b": True}),
    ],
)  # fmt: skip
def test_what_json_knows_is_kept_without_a_word(value: Any, kept: Any) -> None:
    assert plain(value) == (kept, [])


@pytest.mark.parametrize(
    ("value", "kept", "says"),
    [
        ({"metrics": {"auroc": float("nan")}}, {"metrics": {"auroc": None}}, "metrics.auroc is nan: kept as null"),
        ({"a": [1.0, -np.inf]}, {"a": [1.0, None]}, "a.1 is -inf: kept as null"),
        ({"a": np.float32("nan")}, {"a": None}, "a is nan"),
        ({"a": {3}}, {"a": "{3}"}, "a is of set, which JSON doesn't know: kept as the text '{3}'"),
        ({"a": torch.tensor(0.5)}, {"a": "tensor(0.5000)"}, "a is of Tensor"),
        ({"a": b"x"}, {"a": "b'x'"}, "a is of bytes"),
        ({"a": Mute()}, {"a": "Mute"}, "a is of Mute"),
        ({"a": np.zeros(2)}, {"a": "[0. 0.]"}, "a is of ndarray"),
    ],
)
def test_anything_else_is_kept_as_null_or_text_and_said(value: Any, kept: Any, says: str) -> None:
    found, (sentence,) = plain(value)
    assert found == kept
    assert says in sentence


def test_a_record_is_written_whatever_it_holds() -> None:
    circle: dict[str, Any] = {}
    circle["again"] = circle
    content = {
        "notes": ["a note"], "metrics": {"x": float("inf"), "y": 1.0}, "circle": circle, "deep": nested(100),
        "given": ["data_root=/caf\udce9"], ("odd", "key"): 1,
    }  # fmt: skip
    read = json.loads(to_json(content))
    assert read["metrics"] == {"x": None, "y": 1.0}
    assert read["given"] == ["data_root=/caf\udce9"]
    assert read["notes"][:2] == ["a note", "metrics.x is inf: kept as null"]
    assert len(read["notes"]) == 4
    to_json(content).encode("utf-8")


def test_a_record_that_json_knows_is_written_as_it_always_was() -> None:
    content = {"schema": 2, "name": "Läsion", "levels": (3, 6), "share": np.float64(0.1)}
    expected = '{\n  "schema": 2,\n  "name": "Läsion",\n  "levels": [\n    3,\n    6\n  ],\n  "share": 0.1\n}\n'
    assert to_json(content) == expected
