"""What the fields of a method's Params may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from adbench.config.kinds import unusable
from adbench.config.layers import merge_params
from adbench.errors import AdbenchError


@dataclass
class Inner:
    sides: list[float] = field(default_factory=lambda: [0.1, 0.5])


@dataclass
class Usable:
    epochs: int | None = None
    rate: float = 0.1
    name: str = ""
    on: bool = True
    resize: Literal["bicubic", "bilinear"] = "bicubic"
    blocks: list[int] = field(default_factory=list)
    args: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


@dataclass
class Tuples:
    blocks: tuple[int, ...] = (1,)


@dataclass
class Sets:
    blocks: set = field(default_factory=set)  # type: ignore[type-arg]


@dataclass
class Several:
    size: int | str = 1


@dataclass
class Bare:
    blocks: list = field(default_factory=list)  # type: ignore[type-arg]


@dataclass
class Required:
    block: int


@dataclass
class Deep:
    inner: Tuples = field(default_factory=Tuples)


def test_what_the_documentation_allows_is_usable() -> None:
    assert unusable(Usable) is None
    assert merge_params(Usable, {}, "short", {"inner.sides": [0.2, 0.3], "epochs": 4}, "method 'own'").epochs == 4


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (Tuples, r"Params\.blocks is of type tuple\[int, \.\.\.\]: int, float, bool, str, lists of these"),
        (Sets, r"Params\.blocks is of type set: "),
        (Bare, r"Params\.blocks is of type list: "),
        (Several, r"Params\.size is of type int \| str: "),
        (Required, r"Params\.block has no default: every field needs one"),
        (Deep, r"Params\.inner\.blocks is of type tuple"),
    ],
)
def test_another_type_is_named(schema: type[Any], says: str) -> None:
    with pytest.raises(AdbenchError, match=f"^method 'own': {says}"):
        merge_params(schema, {}, "short", {}, "method 'own'")
