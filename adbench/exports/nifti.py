"""NIfTI volumes of maps and masks on the grid of the volume that was scored, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.data.volumes import Volume


def write_volume(
    path: Path, volume: Volume, axis: str, slices: Sequence[NDArray[Any]], dtype: type[np.generic], words: str
) -> None:
    """Write slices as a volume with the shape and the affine of the volume that they are slices of.

    axis: "axial", "coronal" or "sagittal". slices: (H, W) each, in the order of the slices, as shown.
    words: the header's description, at most 79 characters.
    """
    import nibabel

    values: NDArray[Any] = np.zeros(volume.shape, dtype, order="F")
    for number, plane in enumerate(slices):
        volume.put(values, axis, number, plane)
    image: Any = nibabel.Nifti1Image(values, volume.affine)
    qform, sform = volume.codes
    image.header.set_xyzt_units(volume.unit)
    image.set_qform(volume.affine, 0 if sform else qform)
    image.set_sform(volume.affine, sform)
    image.header["descrip"] = words.encode("ascii", "replace")[:79]
    nibabel.save(image, path)
