"""Patients as groups of images."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.errors import AdbenchError

Groups = NDArray[np.intp]


def group(patients: Iterable[object], length: int | None = None) -> Groups:
    """Return the number of each image's patient, (N,) from 0, in the order in which patients first appear.

    An image whose patient is unknown (missing as pandas has it, such as None or NaN, or an empty text) is a patient of
    its own.

    Raises AdbenchError where `length` is given and there are not as many.

    >>> group(["a", "b", None, "a", None]).tolist()
    [0, 1, 2, 0, 3]
    """
    names = list(patients)
    if length is not None and len(names) != length:
        raise AdbenchError(f"{len(names)} patients are given for {length} images; one for each image is needed.")
    known: dict[object, int] = {}
    numbers = np.empty(len(names), np.intp)
    count = 0
    missing = pd.Series(names, dtype=object).isna().to_numpy()
    for place, name in enumerate(names):
        unknown = missing[place] or name == ""
        if unknown or name not in known:
            numbers[place] = count
            if not unknown:
                known[name] = count
            count += 1
        else:
            numbers[place] = known[name]
    return numbers


def renumbered(groups: NDArray[np.integer]) -> Groups:
    """Return the patient of each image as a number from 0, (N,), in the order of the numbers given, without gaps.

    >>> renumbered(np.array([30, 10, 30, 20])).tolist()
    [2, 0, 2, 1]
    """
    return np.unique(groups, return_inverse=True)[1]


def sums(values: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Return the sum of `values` (N,) or (K, N) over each patient's images, (I,) or (K, I).

    groups: (N,), numbers from 0 without gaps, as from `group` or `renumbered`.
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    if values.ndim == 1:
        return np.bincount(groups, values, count).astype(np.float64)
    return np.stack([np.bincount(groups, row, count).astype(np.float64) for row in values])
