"""What comes in: scores, labels and masks from NumPy, torch or plain lists, checked before anything is counted."""

from typing import Any

import numpy as np
import numpy.typing as npt

from adbench.errors import AdbenchError, NumericalError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

FLOAT32_MAX = float(np.finfo(np.float32).max)


def to_numpy(values: Any) -> Array:
    """Return `values` as an array; half precision becomes float32, which holds it exactly."""
    if hasattr(values, "detach"):  # a torch tensor; torch itself is not imported here
        values = values.detach().cpu()
        if str(values.dtype) in ("torch.bfloat16", "torch.float16"):  # NumPy has no bfloat16
            values = values.float()
        values = values.numpy()
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def as_scores(values: Any, name: str = "scores") -> Array:
    """Return finite real numbers of any shape, in the precision they came in.

    Raises:
        AdbenchError: they are not real numbers.
        NumericalError: some are NaN or infinite; says how many and where the first one is.

    >>> as_scores([0.25, 0.5])
    array([0.25, 0.5 ])

    """
    array = to_numpy(values)
    if array.dtype.kind not in "fiub":
        raise AdbenchError(f"{name} must be real numbers, got dtype {array.dtype}; pass a float array")
    # min and max carry a NaN along and are far cheaper than a mask of the whole array
    if array.dtype.kind == "f" and array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        bad = ~np.isfinite(array)
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        raise NumericalError(
            f"{name}: {int(bad.sum())} of {array.size} values are not finite, the first ({array[first]}) at index "
            f"{first[0] if len(first) == 1 else first}; look for a division by zero or an overflow in the method"
        )
    return array


def as_booleans(values: Any, name: str = "labels") -> Bools:
    """Return booleans from booleans or from numbers that are all 0 or 1; anything else is an `AdbenchError`.

    >>> as_booleans([0, 1, 1])
    array([False,  True,  True])
    """
    array = to_numpy(values)
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "fiu":
        raise AdbenchError(f"{name} must be boolean, or numbers 0 and 1, got dtype {array.dtype}")
    one = array == 1
    odd = ~(one | (array == 0))
    if odd.any():
        raise AdbenchError(f"{name} must be 0 or 1, got {array[odd][0]}; binarise them first, e.g. `{name} > 0`")
    return one


def as_maps(scores: Any, masks: Any) -> tuple[Array, Bools]:
    """Return score maps and masks of one shape (N, H, W); errors of `as_scores` and `as_booleans`, or AdbenchError.

    >>> as_maps([[[0.5, 1.0]]], [[[0, 1]]])[1]
    array([[[False,  True]]])
    """
    maps, truth = as_scores(scores), as_booleans(masks, "masks")
    if maps.shape != truth.shape or maps.ndim != 3:
        raise AdbenchError(f"scores have shape {maps.shape} and masks {truth.shape}; both must be the same (N, H, W)")
    return maps, truth


def as_float32(scores: Array) -> tuple[npt.NDArray[np.float32], Bools | None]:
    """Round finite scores to float32 and say which ones were changed by it (None: not one).

    Values beyond float32 go to its largest number: the order is kept, and they count as changed.
    """
    if scores.dtype == np.float32:
        return np.ascontiguousarray(scores), None
    if scores.dtype.kind == "f":
        rounded = np.clip(scores, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
        changed = rounded.astype(scores.dtype) != scores
    else:
        rounded = scores.astype(np.float32)
        wide = scores.astype(np.float64)
        changed = (wide > 2**24) | (wide < -(2**24))  # up to here float32 holds every integer
    return np.ascontiguousarray(rounded), (changed if changed.any() else None)


def require_both_classes(metric: str, positives: int, negatives: int, unit: str) -> None:
    """Raise an `AdbenchError` that names the metric and both counts unless abnormal and normal units are present."""
    if positives and negatives:
        return
    missing = "abnormal" if not positives else "normal"
    source = "masks" if unit == "pixels" else "labels"
    raise AdbenchError(
        f"{metric} needs abnormal and normal {unit}, got {positives} abnormal and {negatives} normal; "
        f"add {missing} {unit} (check the split and its {source}) or leave {metric} out"
    )
