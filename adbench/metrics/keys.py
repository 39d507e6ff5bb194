"""Integers that sort like float32 numbers, made from the float's own bits: no bounds to guess, nothing lost."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

LOWEST = -0x7F800000  # the most negative finite float32
HIGHEST = 0x7F7FFFFF  # the largest one
EMPTY = -0x80000000  # no finite float32 has this key


def to_keys(values: npt.NDArray[np.float32]) -> Ints:
    """Return int32 keys of the same shape, in the order of `values`; both zeros get key 0.

    >>> to_keys(np.array([-1.5, -0.0, 0.0, 1e-45, 2.0], np.float32)).tolist()
    [-1069547521, 0, 0, 1, 1073741824]
    """
    bits = values.view(np.int32)
    if not bits.size or bits.min() >= 0:
        return bits
    keys = _flip(bits)
    keys[keys == -1] = 0  # only -0.0 lands on -1
    return keys


def to_floats(keys: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return the float32 numbers of finite keys, the inverse of `to_keys`.

    >>> to_floats(np.array([-1069547521, 0, 1073741824]))
    array([-1.5,  0. ,  2. ], dtype=float32)
    """
    return _flip(np.clip(keys, LOWEST, HIGHEST).astype(np.int32)).view(np.float32)


def upper_edges(bins: npt.NDArray[Any], shift: int) -> npt.NDArray[np.float32]:
    """Return the upper edges, not part of them, of the bins `key >> shift` of scores.

    >>> upper_edges(to_keys(np.array([0.5, 1], np.float32)) >> 22, 22)
    array([0.75, 1.5 ], dtype=float32)
    """
    return to_floats((bins.astype(np.int64) + 1) << shift)


def _flip(bits: Ints) -> Ints:
    # Negative floats sort backwards by magnitude: turning their 31 low bits over makes the signed order right.
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
