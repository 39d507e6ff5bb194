"""Answers kept for the length of one command: the thousands of cells of a sweep share data sets, draws and weights."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from adbench.errors import AdbenchError

P = ParamSpec("P")
T = TypeVar("T")

# look: nothing is drawn, fetched or written. all: whatever a run needs.
Reach = Literal["look", "all"]


class NotThereError(AdbenchError):
    """What a cell's key needs is not on this machine yet, and this command only looks."""


@dataclasses.dataclass
class Scope:
    """What one command remembers, how far it may go, and when it began, in seconds since 1970."""

    reach: Reach = "all"
    began: float = dataclasses.field(default_factory=time.time)
    answers: dict[Any, Any] = dataclasses.field(default_factory=dict)
    own: set[int] = dataclasses.field(default_factory=set)  # identities of answers, and of what a tuple of them holds


_scopes: list[Scope] = []


@contextlib.contextmanager
def remembering(scope: Scope) -> Iterator[Scope]:
    """Within the block, calls of `remembered` functions with the same arguments are made once."""
    _scopes.append(scope)
    try:
        yield scope
    finally:
        _scopes.pop()


def reach() -> Reach:
    """Return how far the running command may go: `all`, unless it only looks."""
    return _scopes[-1].reach if _scopes else "all"


def began() -> float:
    """Return when the running command began; infinity where none remembers anything."""
    return _scopes[-1].began if _scopes else math.inf


def remembered(*fields: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember the answers of a function; of a RunConfig among its arguments only `fields` matter.

    Outside `remembering` the function is called as ever: what is on disk may have changed. Errors aren't kept.

    >>> calls = []
    >>> @remembered()
    ... def double(x):
    ...     calls.append(x)
    ...     return 2 * x
    >>> with remembering(Scope()):
    ...     [double(4), double(4)]
    [8, 8]
    >>> calls
    [4]
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if not _scopes:
                return function(*args, **kwargs)
            scope = _scopes[-1]
            parts = [_part(value, fields, scope.own) for value in args]
            parts += [(name, _part(value, fields, scope.own)) for name, value in kwargs.items()]
            key = (function, *parts)
            if key not in scope.answers:
                answer = function(*args, **kwargs)
                # The arguments stay alive with the answer, so that an identity keeps its meaning.
                scope.answers[key] = answer, args, kwargs
                scope.own.update(map(id, [answer, *answer] if isinstance(answer, tuple) else [answer]))
            return scope.answers[key][0]

        return call

    return decorate


def _part(value: Any, fields: tuple[str, ...], own: set[int]) -> Any:
    """Return what tells an argument from another: its value where it is small, else the object itself."""
    if value is None or isinstance(value, (str, int, float, Path, type)):
        return value
    if id(value) in own:
        return id(value)
    if isinstance(value, tuple) and len(value) <= 8:
        return tuple(_part(one, fields, own) for one in value)
    if dataclasses.is_dataclass(value):
        if fields and all(hasattr(value, name) for name in fields):
            return tuple(repr(getattr(value, name)) for name in fields)
        if not vars(type(value))["__dataclass_params__"].frozen:
            return repr(value)  # a configuration or parameters: small, and may be built anew
    return id(value)
