"""The kinds of value that fields of a configuration take, in words for error messages."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from adbench.system.text import cut, printable

NAMES: Mapping[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null",
}  # fmt: skip
USABLE = "int, float, bool, str, lists of these, X | None and dataclasses"
EXAMPLES = {int: "[1,2]", float: "[0.5,0.5]", str: "[a,b]", bool: "[true,false]"}


def needed(schema: type, key: str) -> str:
    """Return what the field of a dataclass takes, by its path; "" where that isn't known.

    >>> @dataclasses.dataclass
    ... class Params:
    ...     epochs: int | None = None
    ...     levels: list[float] = dataclasses.field(default_factory=list)
    >>> needed(Params, "epochs"), needed(Params, "levels"), needed(Params, "levels[0]")
    ('a whole number or null', 'a list such as [0.5,0.5]', 'a number')
    """
    names = [_name(one) for one in _choices(_at(schema, key))]
    return " or ".join(names) if all(names) else ""


@functools.cache
def kinds_of(schema: type, key: str) -> tuple[type, ...]:
    """Return the types that a field of a dataclass may have, such as int and None."""
    return _choices(get_type_hints(schema)[key])


def unusable(schema: type, name: str = "Params") -> str | None:
    """Return what makes a dataclass unusable as the schema of a method's parameters; None: nothing.

    >>> @dataclasses.dataclass
    ... class Own:
    ...     sides: tuple[int, ...] = (1, 2)
    >>> unusable(Own).partition(":")[0]
    'Params.sides is of type tuple[int, ...]'
    """
    hints = get_type_hints(schema)
    for field in dataclasses.fields(schema):
        place, hint = f"{name}.{field.name}", hints[field.name]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            return f"{place} has no default: every field needs one"
        if not _is_usable(hint):
            shown = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
            return f"{place} is of type {shown.replace('typing.', '')}: {USABLE} are possible"
        if _fields(_plain(hint)) and (inner := unusable(_plain(hint), place)):
            return inner
    return None


def _is_usable(hint: Any) -> bool:
    some = [one for one in _choices(hint) if one is not type(None)]
    if len(some) != 1:
        return False
    (one,) = some
    if get_origin(one) is list:
        return bool(get_args(one)) and all(map(_is_usable, get_args(one)))
    if get_origin(one) is dict:
        return get_args(one)[:1] == (str,)
    return one in (int, float, bool, str) or dataclasses.is_dataclass(one) or get_origin(one) is Literal


def fields(schema: type, key: str) -> list[str]:
    """Return the names of the fields next to that of a path; none where it isn't in a dataclass."""
    return _fields(_plain(_at(schema, key.rpartition(".")[0])))


def given(layers: Sequence[Any], key: str) -> str:
    """Return the value that the last layer which has a key gives it, as it is written."""
    from omegaconf import OmegaConf  # a tenth of a second, which completion of words is spared

    for layer in reversed(layers):
        value = OmegaConf.select(OmegaConf.create(dict(layer)), key, default=dataclasses.MISSING)
        if value is not dataclasses.MISSING:
            return "no value" if value is None else cut(printable(str(value)), 80)
    return "another value"


def _at(schema: type, key: str) -> Any:
    """Return the type of what is at a path: of a field, an element of a list, a value of a mapping."""
    hint: Any = schema
    for part in filter(None, key.replace("[", ".[").split(".")):
        hint = _plain(hint)
        inner = get_args(hint)
        if _fields(hint):
            hint = get_type_hints(hint).get(part, Any)
        elif get_origin(hint) is dict:
            hint = inner[1]
        else:
            hint = inner[0] if inner and get_origin(hint) in (list, tuple) else Any
    return hint


def _plain(hint: Any) -> Any:
    """Return the one type of a value that may also be None; Any where there are several."""
    some = [one for one in _choices(hint) if one is not type(None)]
    return some[0] if len(some) == 1 else Any


def _fields(hint: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) in (list, tuple):
        return f"a list such as {EXAMPLES.get(get_args(hint)[0], '[…]')}"
    if inner := _fields(hint):
        return f"a mapping such as {{{inner[0]}: …}}"
    if get_origin(hint) is dict:
        return "a mapping such as {name: value}"
    return NAMES.get(hint, "")
