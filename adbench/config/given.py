"""What Python code gives as a value: the plain texts, numbers, lists and mappings that it stands for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adbench.errors import AdbenchError

CLASS = "A class of your own is written into a file and named there: method=FILE.py:"
VALUES = "a text, a number, true or false, None, or a list of these"


def plain_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords with plain values, and those in the dictionary `overrides` too.

    >>> plain_keys({"method": ("clip",), "overrides": {"method.levels": range(2)}})
    {'method': ['clip'], 'overrides': {'method.levels': [0, 1]}}
    """
    return {key: _overrides(value) if key == "overrides" else plain(key, value) for key, value in keys.items()}


def _overrides(values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise AdbenchError(f"overrides={values!r} is not possible: give a dictionary, as in {{'method.epochs': 10}}.")
    return {str(key): plain(str(key), value) for key, value in values.items()}


def plain(key: str, value: Any) -> Any:
    """Return the value of a key as None, truth, number, text, or a list or mapping of these.

    Scalars, arrays and tensors of NumPy, pandas and torch are their numbers and lists, paths their texts. Raises
    AdbenchError for a class, for what has no order, such as a set, and for any other object.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, type):
        raise _no_class(key, value)
    if hasattr(value, "tolist"):  # of NumPy, pandas and torch, none of which is imported for this
        return plain(key, value.tolist())
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(key, one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(key, one) for one in value]
    if key == "device":  # torch's own class of devices
        return str(value)
    kind = type(value).__name__
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        raise AdbenchError(f"{key}= can't be of type {kind}: give a list, as in {key}=[…].")
    if key == "method":
        raise AdbenchError(f"method= takes names, and an object of type {kind} is given. {CLASS}Class.")
    raise AdbenchError(f"{key}= can't be of type {kind}: give {VALUES}.")


def _no_class(key: str, given: type) -> AdbenchError:
    if key == "method":
        return AdbenchError(f"method= takes names, and the class {given.__name__} is given. {CLASS}{given.__name__}.")
    return AdbenchError(f"{key}= can't be the class {given.__name__}: give {VALUES}.")
