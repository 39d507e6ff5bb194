"""Variants: the settings of a record that differ from the defaults, as `key=value` words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adbench.config.layers import section
from adbench.config.schema import KEYS
from adbench.config.words import defaults
from adbench.data.fingerprint import CONTENT, digest
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError
from adbench.records.record import Record

# Facts about the draw, the seed and the dataset, which are no settings of a method.
NOT_SETTINGS = ("support", "held", "held_out", "seed", "dataset", "data", "dataset_facets", "sources")
DRAWN_FROM = ("support_split", "support_fill", "abnormal_support")  # of a dataset: the splits that a draw is from
# Keys of a run that change results and have no column of their own.
RUN_KEYS = ("precision", "input_size", "eval_size", "batch_size", "threads", "deterministic", "compile")
LONGEST = 40  # characters of a value; a longer one is replaced by its hash


def variants(
    records: Sequence[Record], heads: Sequence[Mapping[str, str]], lists: Sequence[str]
) -> list[tuple[str, str]]:
    """Return the schedule and the variant of each record; a variant lists the settings other than the defaults.

    A variant depends on its own record only, with two exceptions. The same settings typed in two ways (a default
    written out, or a schedule that equals the default one) get the shorter text. And where records of one row still
    differ, whatever its shots (records of two versions of adbench, for example), the settings in which they differ are
    added, `-` where a record doesn't have one.
    """
    drawn = [_drawn_from(record) for record in records]
    settings = [setting(record) | one for record, one in zip(records, drawn, strict=True)]
    typed = [_words(record, name) | one for record, name, one in zip(records, lists, drawn, strict=True)]
    rows = [tuple(text for key, text in head.items() if key not in ("shots", "schedule")) for head in heads]
    same = [(row, name, frozenset(facts.items())) for row, name, facts in zip(rows, lists, settings, strict=True)]
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
    """Return the facts of a record's cell as flat `key: text`, without support, seed and dataset."""
    return dict(flat({k: v for k, v in record.content["facts"].items() if k not in NOT_SETTINGS}))


def _drawn_from(record: Record) -> dict[str, str]:
    """Return the keys that say which splits a draw is from, where they are others than the dataset's own."""
    given = (record.content["resolved"].get("overrides") or {}).get("dataset", {})
    if not (keys := [key for key in DRAWN_FROM if key in given]):
        return {}
    try:
        usual = dataclasses.asdict(section(DatasetConfig, "dataset", record.content["facts"]["dataset"]))
    except AdbenchError:  # of a package that is not installed here
        usual = {}
    now, own = (dict(flat({key: one.get(key) for key in keys})) for one in (given, usual))
    return {f"dataset.{key}": _short(text) for key, text in now.items() if text != own[key]}


def flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of nested mappings; the text is as one types it.

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
    """Return the settings of a record that differ from the defaults of configs/run.yaml and of its method."""
    resolved, facts = record.content["resolved"], record.content["facts"]
    usual = defaults() | {"threads": 1}  # a key of older records
    given = resolved.get("overrides") or {}
    changed = {key: resolved[key] for key in RUN_KEYS if key in resolved and resolved[key] != usual[key]}
    changed |= {f"params.{key}": _content(facts, key, value) for key, value in given.get("method", {}).items()}
    if record.content.get("capability", {}).get("own_backbone") and "model" in facts["params"]:
        changed["params.model"] = facts["params"]["model"]  # one of many, of which the default says nothing
    changed |= {f"backbone.{key}": value for key, value in given.get("backbone", {}).items()}
    changed |= {f"trainer.{key}": value for key, value in (facts.get("trainer") or {}).items()}
    for key in ("weights", "model"):  # the hash of the content, not the path on one machine
        if changed.pop(f"backbone.{key}", None) is not None or str(facts.get(key)).startswith("random-"):
            changed[key] = facts[key]
    return {_name(key): _short(text) for key, text in flat(changed)} | ({"support": support} if support else {})


def _content(facts: Mapping[str, Any], key: str, typed: Any) -> Any:
    """Return what was typed for a parameter; of a file or folder the hash of its content, not a path on one machine."""
    recorded = facts["params"].get(key)
    return recorded if str(recorded).startswith(CONTENT) else typed


def _name(key: str) -> str:
    """Write a parameter of the method without `params.`, or as `method.X` where a key of a run is called X too."""
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
