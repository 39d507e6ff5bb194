"""What methods said when they were asked, remembered in the cache: a plan asks none of them again.

Asking a method imports torch, Lightning and its own code, which takes seconds. What it says depends on that code and on
what it is asked, so an answer is found by all of it: the source of adbench and its methods, of a plug-in and of what
else was imported, the versions of Python and of all packages, the method's YAML, the words and the backbone's shape.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbench
from adbench.backbone.capability import Capability
from adbench.cells.methods import Asked, ResolvedMethod, Said, resolve_method
from adbench.config import layers
from adbench.data.fingerprint import digest
from adbench.data.stamps import SETTLED_NS
from adbench.errors import AdbenchError
from adbench.plugins import registry, sources
from adbench.system.memory import recall, remember
from adbench.system.session import Session

if TYPE_CHECKING:
    from adbench.method import Method

VERSION = 1  # of what is kept; another one asks again
FILE = "plans/methods.json"  # in the cache
MOST = 2000  # answers remembered


def answer(asked: Asked, cache: Path, session: Session) -> ResolvedMethod | None:
    """Return what a method said before when it was asked the same, and None where that isn't known."""
    known = session.once(recall, cache / FILE, not session.offline)
    if not known or (found := _key(asked, session)) is None or (kept := known.get(found[0])) is None:
        return None
    try:
        layers.check_installed(asked.name)
        params, capability, version, said, others = kept
        if not sources.unchanged(others):
            return None
        load = functools.cache(functools.partial(_load, asked))
        return ResolvedMethod(asked, params, _capability(capability), version, load, Said(*said))
    except (TypeError, ValueError, AttributeError, AdbenchError):  # then it is asked
        return None


def keep(methods: Iterable[ResolvedMethod], cache: Path, session: Session) -> None:
    """Remember what methods said. What may change unseen isn't remembered, nor is what can't be written.

    These are a method whose files changed after this process began, that reads files or brings a network of its own,
    and one whose parameters or capability JSON can't hold.
    """
    known = session.once(recall, cache / FILE, not session.offline)
    new = {}
    for method in methods:
        if method.said or method.capability.own_backbone or (found := _key(method.asked, session)) is None:
            continue
        key, newest = found
        if key in known and sources.unchanged(known[key][-1]):
            continue
        if any(named is not None for named in method.files.values()):
            continue
        others = sources.of_others(method.method_class)
        if others is None or max(newest, others[1]) > adbench.IMPORTED - SETTLED_NS:
            continue
        if (row := _row(method)) is not None:
            new[key] = [*row, others[0]]
    if new:
        kept = {key: row for key, row in known.items() if key not in new} | new
        try:
            remember(cache / FILE, dict([*kept.items()][-MOST:]))
        except AdbenchError:  # the cache may belong to another user
            return
        known.update(new)


def _key(asked: Asked, session: Session) -> tuple[str, int] | None:
    """Return the hash of all that an answer depends on, and when the newest of its files changed, in ns since 1970."""
    try:
        entry = registry.find("method", asked.name)
        yaml = sources.of_file(registry.config_file("method", asked.name))
    except AdbenchError:  # asking raises it
        return None
    harness, own = session.once(sources.of_harness), session.once(sources.of_entry, entry)
    if own is None or yaml is None:
        return None
    what = [VERSION, asked.name, dataclasses.astuple(entry), asked.schedule, sorted(asked.words.items()), asked.shape]
    parts = (harness, own, yaml)
    return digest(repr([*(part.hash for part in parts), *what]))[:40], max(part.newest for part in parts)


def _row(method: ResolvedMethod) -> list[Any] | None:
    """Return an answer as JSON holds it; None where another one would be read back."""
    capability = dataclasses.asdict(method.capability)
    said = [method.level_maps, method.source, method.source_hash]
    row = [method.plain_params, capability, method.version, said]
    try:
        back = json.loads(json.dumps(row, allow_nan=False))
        same = repr([back[0], _capability(back[1]), *back[2:]]) == repr([row[0], method.capability, *row[2:]])
    except (TypeError, ValueError):
        return None
    return row if same else None


def _capability(values: dict[str, Any]) -> Capability:
    tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Capability(**values | tuples)


def _load(asked: Asked) -> tuple[type[Method[Any]], Any]:
    """Import the method after all: somebody asks for its class."""
    return resolve_method(*asked).load()
