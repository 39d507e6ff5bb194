"""Real records, and what may become of a record.json on its way: keys removed, values of other types and sizes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

REMOVED = object()
NASTY = "\x1b[31m\r\n=1+1|`x`<script>[red]\u202e\\input{x}"


def deep(depth: int) -> Any:
    """Lists within each other."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


MUTATIONS: dict[str, Any] = {
    "removed": REMOVED,
    "null": None,
    "text": "x",
    "number": 7.5,
    "list": ["x"],
    "object": {"x": 1},
    "flag": True,
    "NaN": float("nan"),
    "huge": 10**300,
    "negative": -3,
    "empty": "",
    "nasty": NASTY,
    "long": "x" * 100_000,
    "deep": deep(200),
}


def places(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield every key of the first and second level."""
    for key, value in content.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, inner) for inner in value)


def mutated(content: dict[str, Any], place: tuple[str, ...], name: str) -> str:
    """Return record.json with one value changed."""
    changed = copy.deepcopy(content)
    *parents, leaf = place
    holder = changed
    for parent in parents:
        holder = holder[parent]
    if MUTATIONS[name] is REMOVED:
        del holder[leaf]
    else:
        holder[leaf] = MUTATIONS[name]
    return json.dumps(changed)
