"""Validation of a method's parameters: choices, subsets, and numbers within bounds.

Each function raises AdbenchError for the first parameter that is not allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from adbench.errors import AdbenchError

MOST = 10**6  # of what has no bound of its own: a larger number is a slip, and ends in a crash or in no memory


def choices(params: Any, **allowed: tuple[Any, ...]) -> None:
    """Require each parameter to be one of the values `allowed` for its name.

    >>> from types import SimpleNamespace
    >>> choices(SimpleNamespace(pool="max"), pool=("mean", "attention"))
    Traceback (most recent call last):
    adbench.errors.AdbenchError: method.pool=max is not possible: choose from mean, attention.
    """
    for key, values in allowed.items():
        if getattr(params, key) not in values:
            _refuse(params, key, f"choose from {', '.join(map(str, values))}.")


def some_of(params: Any, **allowed: Sequence[str]) -> None:
    """Require each parameter, a list, to hold at least one of the words `allowed` for its name, and no other.

    >>> from types import SimpleNamespace
    >>> some_of(SimpleNamespace(towers=[]), towers=("vision", "text"))
    Traceback (most recent call last):
    adbench.errors.AdbenchError: method.towers=[] is not possible: name some of vision, text, as in method.towers=[vision].
    """  # noqa: E501
    for key, words in allowed.items():
        chosen = getattr(params, key)
        if not chosen or set(chosen) - set(words):
            _refuse(params, key, f"name some of {', '.join(words)}, as in method.{key}=[{words[0]}].")


def shares(params: Any, *keys: str) -> None:
    """Require numbers in [0, 1]."""
    for key in keys:
        if not 0 <= getattr(params, key) <= 1:
            _refuse(params, key, "a share from 0 to 1 is needed.")


def positive(params: Any, *keys: str, most: float = MOST) -> None:
    """Require numbers above 0, up to `most`."""
    for key in keys:
        if not 0 < getattr(params, key) <= most:
            _refuse(params, key, f"a number above 0 is needed, at most {most}.")


def at_least(params: Any, least: int, *keys: str, most: float = MOST) -> None:
    """Require numbers from `least` to `most`."""
    for key in keys:
        if not least <= getattr(params, key) <= most:
            _refuse(params, key, f"at least {least} is needed, and at most {most}.")


def odd(params: Any, *keys: str, most: int = 1001) -> None:
    """Require odd whole numbers above 0, such as the side of a window with a middle."""
    for key in keys:
        if not 1 <= getattr(params, key) <= most or getattr(params, key) % 2 == 0:
            _refuse(params, key, f"an odd number from 1 to {most} is needed.")


def intervals(params: Any, least: float, most: float, *keys: str, of: str = "method") -> None:
    """Require lists of two numbers, rising or equal, from `least` to `most`; `of` is what an error calls `params`.

    >>> from types import SimpleNamespace
    >>> intervals(SimpleNamespace(sides=[0.5, 0.1]), 0, 1, "sides", of="method.ranges")
    Traceback (most recent call last):
    adbench.errors.AdbenchError: method.ranges.sides=[0.5,0.1] is not possible: two numbers from 0 to 1 are needed, the smaller one first.
    """  # noqa: E501
    for key in keys:
        value = getattr(params, key)
        if len(value) != 2 or not least <= value[0] <= value[1] <= most:
            _refuse(params, key, f"two numbers from {least} to {most} are needed, the smaller one first.", of)


def _refuse(params: Any, key: str, needed: str, of: str = "method") -> NoReturn:
    value = getattr(params, key)
    text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else value
    raise AdbenchError(f"{of}.{key}={text} is not possible: {needed}")
