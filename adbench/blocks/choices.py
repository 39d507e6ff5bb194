"""Parameters that are one of a few words or numbers."""

from __future__ import annotations

from typing import Any

from adbench.errors import AdbenchError


def choices(params: Any, **allowed: tuple[Any, ...]) -> None:
    """Raise AdbenchError for the first parameter whose value is none of those `allowed` for its name.

    >>> from types import SimpleNamespace
    >>> choices(SimpleNamespace(pool="max"), pool=("mean", "attention"))
    Traceback (most recent call last):
    adbench.errors.AdbenchError: method.pool=max is not possible: choose from mean, attention.
    """
    for key, values in allowed.items():
        if getattr(params, key) not in values:
            raise AdbenchError(
                f"method.{key}={getattr(params, key)} is not possible: choose from {', '.join(map(str, values))}."
            )
