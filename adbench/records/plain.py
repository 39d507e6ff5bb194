"""Plain values: what a record's JSON can hold, and what becomes of anything else."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

DEEPEST = 64  # containers within containers


def plain(thing: Any) -> tuple[Any, list[str]]:
    """Return a value as JSON can hold it, and a sentence on each thing that had to be changed for that.

    Dataclasses become dictionaries, tuples lists, paths and members of enumerations texts, NumPy numbers Python's.
    These need no sentence. NaN and infinity become None, and any other object the text that Python prints for it.

    >>> plain({"a": (1, Path("x")), "b": float("inf")})
    ({'a': [1, 'x'], 'b': None}, ['b is inf: kept as null'])
    """
    changed: list[str] = []
    return _plain(thing, (), changed), changed


def _plain(thing: Any, where: tuple[str, ...], changed: list[str]) -> Any:
    if isinstance(thing, Enum):
        return thing.name
    if thing is None or isinstance(thing, (bool, int, str)):
        return thing
    if isinstance(thing, float):
        if math.isfinite(thing):
            return thing
        changed.append(f"{'.'.join(where)} is {float(thing)}: kept as null")
        return None
    if isinstance(thing, np.generic):
        return _plain(thing.item(), where, changed)
    if isinstance(thing, Path):
        return str(thing)
    if len(where) < DEEPEST:
        if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
            thing = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        if isinstance(thing, Mapping):
            return {_key(key): _plain(value, (*where, str(_key(key))), changed) for key, value in thing.items()}
        if isinstance(thing, (list, tuple)):
            return [_plain(value, (*where, str(place)), changed) for place, value in enumerate(thing)]
    text = _text(thing)
    changed.append(
        f"{'.'.join(where)} is of {type(thing).__name__}, which JSON doesn't know: kept as the text {text!r}"
    )
    return text


def _key(key: Any) -> Any:
    return key if key is None or isinstance(key, (str, int)) else _text(key)


def _text(thing: Any) -> str:
    try:
        return " ".join(str(thing).split())[:200]
    except Exception:  # of somebody else's class
        return type(thing).__name__
