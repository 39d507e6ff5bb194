"""What tells rows of one method apart: the settings of a record other than the defaults, as they are typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adbench.config.schema import KEYS
from adbench.config.words import defaults
from adbench.data.fingerprint import digest
from adbench.records.record import Record

# Facts that tell draws, seeds and datasets apart, not methods.
APART = ("support", "held", "seed", "dataset", "data", "dataset_facets", "sources")
# Keys of a run that are neither columns of a leaderboard nor places or settings of a machine.
TOLD = ("precision", "input_size", "eval_size", "batch_size", "threads")
LONGEST = 40  # characters of a value; longer ones stand as a hash


def variants(
    records: Sequence[Record], heads: Sequence[Mapping[str, str]], lists: Sequence[str]
) -> list[tuple[str, str]]:
    """Return schedule and variant of each record: `key=value` words for what was set other than the defaults.

    A variant depends on its own record only, except: the same settings typed in two ways (a default written out, or a
    schedule that a method has only one of) have the fewest words; and where records of one row still differ, whatever
    its shots (those of two versions of adbench, say), what differs is added, `-` where a record doesn't have it.
    """
    settings = [setting(record) for record in records]
    typed = [_words(record, name) for record, name in zip(records, lists, strict=True)]
    rows = [tuple(text for key, text in head.items() if key not in ("shots", "schedule")) for head in heads]
    same = [(row, name, frozenset(own.items())) for row, name, own in zip(rows, lists, settings, strict=True)]
    schedules, usual = [head["schedule"] for head in heads], defaults()["schedule"]
    ways = [
        (len(words), name != usual, name, _text(words), words) for words, name in zip(typed, schedules, strict=True)
    ]
    shortest: dict[Any, tuple[str, dict[str, str]]] = {}
    for key, (_, _, name, _, words) in sorted(zip(same, ways, strict=True), key=lambda pair: pair[1][:4]):
        shortest.setdefault(key, (name, words))
    groups: dict[Any, list[int]] = {}
    for i, (row, key) in enumerate(zip(rows, same, strict=True)):
        name, words = shortest[key]
        groups.setdefault((row, name, _text(words)), []).append(i)
    texts = [("", "")] * len(records)
    for members in groups.values():
        differ: list[str] = []
        if len({same[i] for i in members}) > 1:
            keys = sorted({key for i in members for key in settings[i]})
            differ = [key for key in keys if len({settings[i].get(key) for i in members}) > 1]
        for i in members:
            name, words = shortest[same[i]]
            more = {_name(key): _short(settings[i].get(key, "-")) for key in differ}
            texts[i] = name, _text(words | more)
    return texts


def setting(record: Record) -> dict[str, str]:
    """Return what a record's cell is made of, flat, without support, seed and dataset."""
    return dict(flat({k: v for k, v in record.content["facts"].items() if k not in APART}))


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of nested mappings; the text is what one types.

    >>> list(flat({"a": {"b": True}, "c": {}, "d": [1, "e"], "f": "g h"}))
    [('a.b', 'true'), ('c', '{}'), ('d', '[1,"e"]'), ('f', 'g h')]
    """
    for key, value in facts.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif type(value) in (str, int):
            yield f"{prefix}{key}", str(value)
        elif type(value) is bool:
            yield f"{prefix}{key}", "true" if value else "false"
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _words(record: Record, support: str) -> dict[str, str]:
    """Return what a record says was set other than the defaults of configs/run.yaml and of its method."""
    resolved, facts, usual = record.content["resolved"], record.content["facts"], defaults()
    given = resolved.get("overrides") or {}
    own = {key: resolved[key] for key in TOLD if key in resolved and resolved[key] != usual[key]}
    own |= {f"params.{key}": value for key, value in given.get("method", {}).items()}
    own |= {f"backbone.{key}": value for key, value in given.get("backbone", {}).items()}
    own |= {f"trainer.{key}": value for key, value in (facts.get("trainer") or {}).items()}
    for key in ("weights", "model"):  # a file's content, not the path where a machine keeps it
        if own.pop(f"backbone.{key}", None) is not None or str(facts.get(key)).startswith("random-"):
            own[key] = facts[key]
    return {_name(key): _short(text) for key, text in flat(own)} | ({"support": support} if support else {})


def _name(key: str) -> str:
    """Write a parameter of the method without `params.`, but for those that share their name with a key of a run."""
    section, _, name = key.partition(".")
    if section != "params":
        return key
    return f"method.{name}" if name in KEYS else name


def _short(text: str) -> str:
    if text.startswith("random-"):
        return f"random-{digest(text)[:6]}"
    if len(text) > LONGEST:
        return digest(text)[:6]
    return json.dumps(text, ensure_ascii=False) if not text or any(c.isspace() for c in text) else text


def _text(words: Mapping[str, str]) -> str:
    return " ".join(f"{key}={words[key]}" for key in sorted(words))
