"""Pixel values of any depth to 8-bit grey levels.

One rule for PNG, TIFF and DICOM: pixels of more than 8 bits that bring no window are stretched from the lowest to the
highest value of their image, or from one range for a whole dataset, `dataset.intensity_range`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntensityRange = Sequence[float]  # two values, ascending: what becomes 0 and 255


def grey_levels(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Map values to [0, 255], `low` to 0 and `high` to 255; what lies beyond is clipped, and a range of zero is all 0.

    >>> grey_levels(np.array([-5, 0, 2048, 4095]), 0, 4095).round(1).tolist()
    [0.0, 0.0, 127.5, 255.0]
    """
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) * (255 / (high - low)), 0, 255)


def own_range(values: NDArray[Any], known: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Return the lowest and the highest of the `known` values, by default of all; (0, 0) where none is known."""
    chosen = values if known is None else values[known]
    return (float(chosen.min()), float(chosen.max())) if chosen.size else (0.0, 0.0)
