"""Files that hold several images: NIfTI volumes, DICOM files with several frames, TIFF files with several pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.data import dicom, volumes
from adbench.data.decode import page_count
from adbench.data.frames import Frame, FramePath, ImagePath
from adbench.data.series import read_header
from adbench.data.volumes import VolumeStats
from adbench.errors import DataError


def images_in(path: Path, axis: str, percentiles: Sequence[float]) -> list[ImagePath]:
    """Return every image of a file, empty slices too: the file itself where it holds one.

    axis, percentiles: of volumes, see `volumes.measure`. Raises DataError for a volume that can't be read.
    """
    if volumes.is_volume(path):
        stats = volumes.measure(path, axis, percentiles)
        if stats.error:
            raise DataError(stats.error)
        return [FramePath(path, frame) for frame in slices(path, stats, axis)]
    count = frame_count(path)
    return [FramePath(path, Frame(number)) for number in range(count)] if count > 1 else [path]


def frame_count(path: Path) -> int:
    """Return the number of images in a DICOM or TIFF file; 1 for any other, and for one that can't be read.

    Raises DataError for a TIFF whose pages differ in size.
    """
    return read_header(path).frames if dicom.is_dicom(path) else page_count(path)


def slices(path: Path, stats: VolumeStats, axis: str) -> list[Frame]:
    """Return the frames of all slices of a volume; raises DataError where they would be lines."""
    if min(stats.size) == 1 < stats.count:
        names = [name for name, _ in sorted(volumes.AXES.items(), key=lambda pair: pair[1]) if name != axis]
        raise DataError(
            f"{path}: its {axis} slices are {stats.size[0]} x {stats.size[1]} pixels, which are no images. Remove the "
            f"file, or take another axis in the run: dataset.slice_axis={names[stats.size.index(1)]}."
        )
    return [Frame(number, axis, stats.window) for number in range(stats.count)]
