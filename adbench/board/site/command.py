"""The command that reproduces a record, from its resolved configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from adbench.config import layers
from adbench.config.layers import write_value
from adbench.config.schema import KEYS, NOT_AXES
from adbench.config.words import defaults
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.session import Session

if TYPE_CHECKING:
    from adbench.method import Method

ALWAYS = ("method", "dataset", "shots", "draw", "seed")
SECTIONS = ("method", "dataset", "backbone", "trainer")
# Keys that describe a machine, not a cell; and a preset, whose keys are written out.
LEFT_OUT = {"preset", *NOT_AXES} - {"data_root", "support"}


class Again(NamedTuple):
    """A shell command, and a caveat where the installed adbench would make a different record with it."""

    command: str
    caveat: str


def again(content: Mapping[str, Any], session: Session) -> Again:
    """Return the command that reproduces a record, from the content of its record.json.

    Parameters of the method are written out where today's defaults differ from the record's. To compare them, the
    method's class is imported, and torch with it. A method that is named by its file is not imported: the hash of its
    source is part of the key, and the file may have any author.
    """
    resolved = content["resolved"]
    more, why = ({}, "") if ":" in resolved["method"] else _against_today(resolved, content["facts"], session)
    code = content["code"]
    made = f"commit {code['commit'][:12]}" if code["commit"] else f"adbench {code['version']}, of an unknown commit"
    made += ", modified" if code["dirty"] else ""
    caveat = f"Made by {made}; this version of adbench would make a different record: {why}."
    return Again(shlex.join(["adbench", "run", *words(resolved, more)]), caveat if why else "")


def words(resolved: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> list[str]:
    """Return the `key=value` words of a resolved configuration: those that differ from the defaults, and `ALWAYS`.

    `more` holds parameters of the method, in addition to those that were typed.

    >>> words(defaults() | {"method": "clip", "shots": 0, "seed": 3, "schedule": "paper"})
    ['method=clip', 'dataset=brainmri', 'schedule=paper', 'shots=0', 'draw=0', 'seed=3']
    """
    usual = defaults()
    given = {
        key: value
        for key, value in resolved.items()
        if key in KEYS and key not in LEFT_OUT and (key in ALWAYS or value != usual.get(key))
    }
    if given.get("support"):
        given.pop("draw", None)  # the file lists the images
    order = [key for key in given if key not in ALWAYS]
    order = [*ALWAYS[:2], *order, *ALWAYS[2:]]
    overrides = resolved.get("overrides") or {}
    overrides = overrides | {"method": overrides.get("method", {}) | dict(more or {})}
    return [f"{key}={write_value(given[key])}" for key in order if key in given] + [
        f"{section}.{key}={write_value(value, typed=True)}"
        for section in SECTIONS
        for key, value in overrides.get(section, {}).items()
    ]


def _against_today(
    resolved: Mapping[str, Any], facts: Mapping[str, Any], session: Session
) -> tuple[dict[str, Any], str]:
    """Return the parameters of the method to write out, and why the record would differ nevertheless (or empty)."""
    name, recorded = resolved["method"], facts["params"]
    entry = registry.entries("method").get(name)
    if entry is None:
        return {}, f"it has no method {name}"
    typed = (resolved.get("overrides") or {}).get("method", {})
    more: dict[str, Any] = {}
    try:
        loaded = _loaded(name)
        recorded = recorded | {key: typed[key] for key in loaded.files if key in typed}  # the path, as it was typed
        made = session.once(_params, name, resolved["schedule"], json.dumps(typed))
        more = dict(_differing(recorded, made))
        with contextlib.suppress(AdbenchError):  # a parameter that no longer exists is reported below
            made = session.once(_params, name, resolved["schedule"], json.dumps(typed | more))
    except AdbenchError as error:
        return more, str(error).rstrip(".")
    if differ := [key for key in sorted({*recorded, *made}) if _json(recorded, key) != _json(made, key)]:
        return more, f"its {name} differs in {', '.join(differ)}"
    here, there = (loaded.version, entry.source(loaded)), (facts.get("method_version"), facts.get("source"))
    if here != there:
        return more, f"its {name} has version {_source(*here)}, the record's has {_source(*there)}"
    return more, ""


def _source(version: str | None, source: str | None) -> str:
    return f"{version} of {source}" if source else str(version)


def _loaded(name: str) -> type[Method[Any]]:
    loaded: type[Method[Any]] = registry.find("method", name).load()
    return loaded


def _params(name: str, schedule: str, typed: str) -> dict[str, Any]:
    """Resolve the parameters of a method with today's code, as a record would hold them; `typed` is JSON."""
    yaml = layers.method_config(name)
    params = layers.merge_params(_loaded(name).Params, yaml, schedule, json.loads(typed), f"method {name!r}")
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(params)))
    return plain


def _differing(recorded: Mapping[str, Any], made: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, recorded value) of what differs."""
    for key, value in recorded.items():
        if value and isinstance(value, dict) and isinstance(made.get(key), dict):
            yield from _differing(value, made[key], f"{prefix}{key}.")
        elif _json(recorded, key) != _json(made, key):
            yield prefix + key, value


def _json(values: Mapping[str, Any], key: str) -> str | None:
    """Write a value as it enters the key of a cell: 1, 1.0 and true differ."""
    return json.dumps(values[key], sort_keys=True) if key in values else None
