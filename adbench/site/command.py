"""The command that makes a record again, from its resolved configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from adbench import config as configs
from adbench.errors import AdbenchError

ALWAYS = ("method", "dataset", "shots", "draw", "seed")
SECTIONS = ("method", "dataset", "backbone", "trainer")
# What names a place or a machine, not a cell; a preset is written out by the keys that it sets.
LEFT_OUT = {"preset", *configs.NOT_AXES} - {"data_root", "support"}


def command(resolved: Mapping[str, Any]) -> str:
    """Return `adbench run ...` for one cell, quoted for a shell.

    >>> command(configs.defaults() | {"method": "clip", "shots": 0, "seed": 3, "schedule": "paper"})
    'adbench run method=clip dataset=brainmri schedule=paper shots=0 draw=0 seed=3'
    """
    return shlex.join(["adbench", "run", *words(resolved)])


def words(resolved: Mapping[str, Any]) -> list[str]:
    """Return the `key=value` words of a resolved configuration: those that differ from the defaults, and `ALWAYS`."""
    defaults = configs.defaults()
    told = {
        key: value
        for key, value in resolved.items()
        if key in configs.KEYS and key not in LEFT_OUT and (key in ALWAYS or value != defaults.get(key))
    }
    if told.get("support"):
        told.pop("draw", None)  # the file says which images
    order = [key for key in told if key not in ALWAYS]
    order = [*ALWAYS[:2], *order, *ALWAYS[2:]]
    return [f"{key}={_text(told[key])}" for key in order if key in told] + list(_overrides(resolved))


def _overrides(resolved: Mapping[str, Any]) -> Iterator[str]:
    overrides = resolved.get("overrides") or {}
    for section in SECTIONS:
        yield from (f"{section}.{key}={_text(value, typed=True)}" for key, value in overrides.get(section, {}).items())


def _text(value: Any, typed: bool = False) -> str:
    """Write a value so that `config.value` reads it back: as the same text, or where `typed` as the same type too."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    try:
        read = configs.value(value)
    except AdbenchError:
        read = None
    return value if (read if typed else str(read)) == value else json.dumps(value, ensure_ascii=False)
