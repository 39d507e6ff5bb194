"""What a record says was asked for, `given` and `resolved.overrides`, against what it says was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from adbench.config.groups import groups
from adbench.config.layers import DECIMAL
from adbench.config.schema import SPELLINGS
from adbench.data.fingerprint import CONTENT
from adbench.plugins import registry
from adbench.records.record import Record
from adbench.system.text import brief, printable

KINDS: tuple[Literal["method", "dataset"], ...] = ("method", "dataset")
SETTLED = (0, "full")  # what `draw`, `seed` and `shots` are set to where they have no effect
SECTIONS = ("method", "dataset", "backbone", "trainer")
TRUE, FALSE = ("true", "yes", "on", "y", "1"), ("false", "no", "off", "n", "0")  # as a typed key reads texts
# Keys of a dataset that its images decide, or whether they are the published ones.
OF_THE_IMAGES = ("title", "source", "licence", "citation")


def check_words(record: Record) -> Iterator[str]:
    """Yield a sentence where words name another cell than the facts, or overrides other values than the record.

    Of a bundle with keyed hashes in place of names the words are not compared: a word may have been hashed.
    """
    content = record.content
    given = [word.partition("=") for word in content["given"]]
    typed = {SPELLINGS.get(key, key): text for key, equals, text in given if equals}
    if typed and not (content.get("bundled") or {}).get("anonymised"):
        yield from _check_names(content, typed)
        yield from _check_numbers(content, typed)
        if all(equals for _, equals, _ in given):  # else of `adbench reproduce PAPER`, which adds keys of the paper's
            yield from _check_sections(content, typed)
    yield from _check_overrides(content)


def _check_names(content: Mapping[str, Any], typed: Mapping[str, str]) -> Iterator[str]:
    for kind in KINDS:
        name, text = str(content["facts"][kind]), typed.get(kind)
        if text is not None and not any(_may_mean(kind, part.strip(), name) for part in text.split(",")):
            yield f"given has {printable(f'{kind}={text}'[:80])}, and facts.{kind} is {brief(name)}"


def _may_mean(kind: Literal["method", "dataset"], word: str, name: str) -> bool:
    """Whether a word of the command line can stand for a name; of a wildcard or a group that is unknown here it can."""
    word = word.strip("'\"")
    if ":" in word:
        return word.rpartition(":")[2] == name
    members = {group: content[kind] for group, content in groups().items() if kind in content}
    if word in members:
        return name in members[word]
    return word == name or word not in registry.entries(kind)


def _check_numbers(content: Mapping[str, Any], typed: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for a draw, seed or number of shots that was not asked for."""
    for key in ("shots", "draw", "seed"):
        parts = [part.strip() for part in typed.get(key, "").split(",") if part.strip()]
        value = content["resolved"][key]
        known = all(DECIMAL.fullmatch(part) or part == "full" for part in parts)
        if parts and known and value not in SETTLED and value not in [_number(part) for part in parts]:
            yield f"given has {printable(f'{key}={typed[key]}'[:80])}, and resolved.{key} is {brief(value)}"


def _number(text: str) -> int | str:
    return int(text[:30]) if DECIMAL.fullmatch(text) else text


def _check_sections(content: Mapping[str, Any], typed: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence where `section.X=` words and overrides name other keys."""
    overrides = content["resolved"].get("overrides") or {}
    stated = {f"{section}.{key}" for section in SECTIONS for key in overrides.get(section, {})}
    words = {key for key in typed if key.partition(".")[0] in SECTIONS and "." in key}
    unasked = stated - words - ({"dataset.fold"} if "dataset.folds" in words else set())
    if unasked:
        yield f"resolved.overrides has {_some(unasked)}, and given doesn't"
    if left_out := words - stated - {"dataset.support_split"}:  # which has no effect on some cells
        yield f"given has {_some(left_out)}, and resolved.overrides doesn't"


def _some(keys: set[str]) -> str:
    return printable(", ".join(sorted(keys)[:3]))


def _check_overrides(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each override that is not what the record says was run.

    Of a method that adbench does not bring, the parameters may be derived from what was typed.
    """
    overrides, bundled = content["resolved"].get("overrides") or {}, bool(content.get("bundled"))
    places = {"dataset": content["dataset"], "backbone": content["backbone"], "method": content["facts"]["params"]}
    for section, recorded in places.items():
        if (section == "method" and content["facts"].get("source")) or (
            section == "backbone" and content["capability"].get("own_backbone")
        ):
            continue
        for key, value in overrides.get(section, {}).items():
            if section == "dataset" and (key in OF_THE_IMAGES or value is None):
                continue
            holder: Any = recorded
            *parents, leaf = key.split(".")
            for parent in parents:
                holder = holder.get(parent) if isinstance(holder, dict) else None
            there = isinstance(holder, dict) and leaf in holder
            if not there or not _agrees(value, holder[leaf], bundled):
                place = "facts.params" if section == "method" else section
                found = brief(holder[leaf]) if there else "missing"
                yield f"resolved.overrides.{section} has {printable(key)} {brief(value)}, and {place} has {found}"


def _agrees(typed: Any, recorded: Any, bundled: bool) -> bool:
    """Whether a value that was typed may have become the recorded one.

    A file or folder is recorded by its content; a bundle has paths taken out, of overrides and not of facts.
    """
    if isinstance(recorded, str) and (recorded.startswith(CONTENT) or (bundled and "/" in recorded)):
        return True
    if isinstance(typed, dict) and isinstance(recorded, dict):
        return all(key in recorded and _agrees(value, recorded[key], bundled) for key, value in typed.items())
    if isinstance(typed, list) and isinstance(recorded, list):
        return len(typed) == len(recorded) and all(_agrees(a, b, bundled) for a, b in zip(typed, recorded, strict=True))
    if typed == recorded or isinstance(typed, (dict, list)) or isinstance(recorded, (dict, list)):
        return bool(typed == recorded)
    if isinstance(recorded, bool):
        return str(typed).lower() in (TRUE if recorded else FALSE)
    return _text(typed) == _text(recorded)


def _text(value: Any) -> str:
    """Write a value such that a number is the same as text, as an integer and as a fraction."""
    try:
        return str(float(value))
    except (TypeError, ValueError, OverflowError):
        return str(value)
