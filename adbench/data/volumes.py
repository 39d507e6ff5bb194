"""NIfTI volumes: their slices as a radiologist sees them, an intensity window, and masks.

Needs nibabel, an extra: `pip install 'adbench-medical[nifti]'`. Axes are those of the patient, right, anterior and
superior (RAS+), to which the voxel axes are turned and flipped, never resampled: the closest canonical orientation of
nibabel. Slices are numbered from 0, from inferior, posterior or left. They are shown in the radiological convention:

    axial      anterior is up, the patient's right is at the left
    coronal    superior is up, the patient's right is at the left
    sagittal   superior is up, anterior is at the left
"""

from __future__ import annotations

import contextlib
import gzip
import threading
import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adbench.data.frames import Frame
from adbench.errors import AdbenchError, DataError

ENDINGS = (".nii", ".nii.gz")
AXES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis of right, anterior, superior that numbers the slices
UNPACKED = 2**31  # bytes of the largest compressed volume that is read; an uncompressed one may have any size
SAMPLE = 2**24  # voxels that the window is computed from: all, or in a larger volume as many, evenly spaced
HELD = 2  # unpacked volumes in memory
HEADER = 544  # bytes, of NIfTI-2 with its extension flag
UNITS = {1: "meter", 3: "micron"}  # codes of the unit of length; the others are mm or unknown


@dataclass(frozen=True)
class Volume:
    """One volume on disk, by its header.

    packed, dtype, shape, offset: how its voxels (I, J, K) are stored.
    slope, inter: a value is slope * voxel + inter.
    affine: (4, 4), voxel indices to millimetres in RAS+.
    order: for each of right, anterior, superior the voxel axis, and 1 or -1 for its direction.
    oriented: whether the file says how the patient lies (a qform or an sform code).
    codes: those of qform and sform. unit: that of the affine; mm where the file doesn't say one.
    """

    path: Path
    packed: bool
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    slope: float
    inter: float
    affine: NDArray[np.float64]
    order: tuple[tuple[int, int], ...]
    oriented: bool
    codes: tuple[int, int] = (0, 0)
    unit: str = "mm"

    def count(self, axis: str) -> int:
        """The number of slices along an axis."""
        return self.shape[self.order[AXES[axis]][0]]

    def size(self, axis: str) -> tuple[int, int]:
        """Return (width, height) of a slice."""
        wide, high = (self.shape[self.order[a][0]] for a in range(3) if a != AXES[axis])
        return wide, high

    def voxels(self) -> NDArray[Any]:
        """Return (I, J, K) as stored: memory-mapped, or unpacked where the file is compressed. Raises DataError."""
        size = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if not self.packed:
            have = self.path.stat().st_size - self.offset
            if have < size:
                raise DataError(_unreadable(self.path, f"it ends {size - have:,} bytes too early"))
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, "F")
        if size > UNPACKED:
            raise DataError(
                f"{self.path} unpacks to {size / 2**30:.1f} GiB, and {UNPACKED / 2**30:.0f} GiB is the most that is "
                f"read compressed. Unpack it: gunzip {self.path.name}"
            )
        content = _unpacked(self.path, self.offset + size)
        if len(content) < self.offset + size:
            raise DataError(_unreadable(self.path, f"it ends {self.offset + size - len(content):,} bytes too early"))
        flat = np.frombuffer(content, self.dtype, size // self.dtype.itemsize, self.offset)
        return flat.reshape(self.shape, order="F")

    def plane(self, voxels: NDArray[Any], axis: str, number: int) -> NDArray[np.float64]:
        """Return the values (H, W) of one slice in the radiological convention."""
        through, direction = self.order[AXES[axis]]
        place = number if direction > 0 else self.shape[through] - 1 - number
        raw = np.take(voxels, place, through)
        first, second = (self.order[a] for a in range(3) if a != AXES[axis])
        if first[0] > second[0]:
            raw = raw.T
        # Now right or anterior x anterior or superior; both fall along the rows and columns of the picture.
        raw = raw[:: -first[1], :: -second[1]].T
        return np.asarray(raw, np.float64) * self.slope + self.inter

    def put(self, voxels: NDArray[Any], axis: str, number: int, plane: NDArray[Any]) -> None:
        """Write a slice (H, W), as `plane` returns it, into an array of this volume's shape."""
        through, direction = self.order[AXES[axis]]
        place = number if direction > 0 else self.shape[through] - 1 - number
        first, second = (self.order[a] for a in range(3) if a != AXES[axis])
        raw = plane.T[:: -first[1], :: -second[1]]
        voxels[(slice(None),) * through + (place,)] = raw.T if first[0] > second[0] else raw


@dataclass(frozen=True)
class VolumeStats:
    """What one pass over a volume finds, for one axis and one pair of percentiles.

    count, shown: the number of slices, and the numbers of those that show something.
    window: the values that become black and white.
    nan: whether voxels are not a number. oriented: see `Volume`.
    size: (width, height) of a slice.
    shape, affine: of the voxels, for masks.
    error: why the file can't be read; everything else is then empty.
    """

    count: int = 0
    shown: tuple[int, ...] = ()
    window: tuple[float, float] = (0.0, 0.0)
    nan: bool = False
    oriented: bool = True
    size: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    affine: tuple[float, ...] = ()
    error: str = ""


def unoriented(paths: Sequence[Path]) -> str:
    """Say of volumes that don't say how the patient lies how they are read; empty for none."""
    if not paths:
        return ""
    return (
        f"{paths[0]} does not say how the patient lies (qform and sform codes are 0; one of {len(paths)}): its axes "
        "are read as right to left, posterior to anterior, inferior to superior."
    )


def is_volume(path: Path) -> bool:
    """Whether a file is a NIfTI volume, by its ending."""
    return path.name.lower().endswith(ENDINGS)


def measure(path: Path, axis: str, percentiles: Sequence[float]) -> VolumeStats:
    """Look through a volume once.

    The background is the value that all eight corners of the volume have, and NaN; where the corners differ there is
    none. A slice shows something unless it is background throughout, or one value. The window spans the two
    `percentiles` (0 to 100) of the values outside the background; where they are equal, all values.
    """
    try:
        volume = open_volume(path)
        voxels = volume.voxels()
    except DataError as error:
        return VolumeStats(error=str(error))
    corners = voxels[np.ix_(*[(0, -1)] * 3)].astype(np.float64) * volume.slope + volume.inter
    background = float(corners.flat[0]) if (corners == corners.flat[0]).all() else np.nan
    step = -(-voxels.size // SAMPLE)
    shown, samples, nan = [], [], False
    low, high = np.inf, -np.inf
    for number in range(volume.count(axis)):
        plane = volume.plane(voxels, axis, number)
        known = plane[np.isfinite(plane)]
        nan |= bool(np.isnan(plane).any())
        if not known.size:
            continue
        inside = known[known != background]
        low, high = min(low, float(known.min())), max(high, float(known.max()))
        if inside.size and known.min() < known.max():
            shown.append(number)
        samples.append(inside[::step])
    values = np.concatenate(samples) if samples else np.empty(0)
    # Nine digits, so that machines whose last bits differ agree on the window, which is part of content hashes.
    ends = np.percentile(values, percentiles) if values.size else (0.0, 0.0)
    window = tuple(float(f"{value:.9g}") for value in ends)
    if window[0] == window[1]:
        window = (low, high) if low < high else (0.0, 1.0)
    affine = tuple(float(value) for value in volume.affine.ravel())
    return VolumeStats(
        volume.count(axis), tuple(shown), (window[0], window[1]), nan, volume.oriented, volume.size(axis),
        volume.shape, affine,
    )  # fmt: skip


def lesion_slices(path: Path, axis: str) -> VolumeStats:
    """Look through a mask volume once: `shown` are the slices with a lesion. Raises nothing; see `error`."""
    try:
        volume = open_volume(path)
        voxels = volume.voxels()
        shown = [n for n in range(volume.count(axis)) if _lesion(path, volume.plane(voxels, axis, n)).any()]
    except DataError as error:
        return VolumeStats(error=str(error))
    affine = tuple(float(value) for value in volume.affine.ravel())
    return VolumeStats(volume.count(axis), tuple(shown), shape=volume.shape, affine=affine)


def read_slice(path: Path, frame: Frame | None) -> NDArray[np.uint8]:
    """Return one slice as (H, W) grey, uint8: its window becomes 0 to 255, NaN 0. Raises DataError."""
    volume, axis, number = _slice_of(path, frame)
    low, high = frame.window if frame and frame.window else (0.0, 0.0)
    if not low < high:
        raise DataError(f"{path}{frame} has no intensity window.")
    values = np.nan_to_num(volume.plane(volume.voxels(), axis, number), nan=low, posinf=high, neginf=low)
    return np.asarray(np.rint(np.clip((values - low) / (high - low), 0, 1) * 255), np.uint8)


def read_mask_slice(path: Path, frame: Frame | None) -> NDArray[np.uint8]:
    """Return one slice of a mask volume as (H, W), uint8: 255 where the label is above 0, else 0. Raises DataError."""
    volume, axis, number = _slice_of(path, frame, "mask")
    return _lesion(path, volume.plane(volume.voxels(), axis, number)).astype(np.uint8) * 255


def slice_size(path: Path, frame: Frame | None) -> tuple[int, int]:
    """Return (width, height) of a slice."""
    volume, axis, _ = _slice_of(path, frame)
    return volume.size(axis)


def open_volume(path: Path) -> Volume:
    """Read the header of a volume.

    Raises DataError for a damaged file, voxels of several values (RGB, complex), more than three axes, and an affine
    that can't be inverted; AdbenchError without nibabel.
    """
    try:
        import nibabel
        from nibabel.orientations import io_orientation
    except ImportError as error:
        raise AdbenchError(f"reading the volume {path} needs nibabel: pip install 'adbench-medical[nifti]'") from error
    if not path.is_file():
        raise DataError(f"{path} does not exist.")
    packed = _is_packed(path)
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(HEADER)
        if not head:
            raise DataError(_unreadable(path, "it has zero bytes"))
        two = 540 in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
        kind: Any = nibabel.Nifti2Header if two else nibabel.Nifti1Header
        magic = head[4:8] if two else head[344:348]
        if magic[:2] == b"ni":
            raise DataError(_unreadable(path, "its voxels are in another file, which is not read: write one .nii file"))
        if magic != (b"n+2\0" if two else b"n+1\0"):
            raise DataError(_unreadable(path, "it is no NIfTI file"))
        header = kind(head[: kind.template_dtype.itemsize], check=False)  # it would log what it repairs
        dtype, shape = header.get_data_dtype(), tuple(int(n) for n in header.get_data_shape())
        slope, inter = header.get_slope_inter()  # none where scl_slope is 0: the voxels are the values
        affine = np.asarray(header.get_best_affine(), np.float64)
        offset = max(int(header.get_data_offset()), HEADER if two else 352)
    except (OSError, EOFError, zlib.error, ValueError, OverflowError, nibabel.spatialimages.HeaderDataError) as error:
        raise DataError(_unreadable(path, str(error))) from error
    except KeyError as error:
        raise DataError(_unreadable(path, f"its data type {error} is unknown")) from error
    shape = _three_axes(path, shape)
    if dtype.fields is not None or dtype.kind not in "iuf":
        what = "RGB" if dtype.fields is not None else "complex"
        raise DataError(f"{path} holds {what} voxels; one number for each voxel is read. Convert it, or remove it.")
    orientation = io_orientation(affine) if np.isfinite(affine).all() else np.full((3, 2), np.nan)
    if np.isnan(orientation).any():
        raise DataError(f"{path} does not say how its voxels lie: its affine can't be inverted. Write a valid one.")
    order = [(0, 1)] * 3
    for voxel_axis, (world_axis, direction) in enumerate(orientation.astype(int)):
        order[world_axis] = (voxel_axis, int(direction))
    codes = int(header["qform_code"]), int(header["sform_code"])
    unit = UNITS.get(int(header["xyzt_units"]) & 7, "mm")
    scale = 1.0 if slope is None else float(slope)
    return Volume(
        path, packed, dtype, shape, offset, scale, float(inter or 0.0), affine, tuple(order), any(codes), codes,
        unit,
    )  # fmt: skip


def _three_axes(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or min(shape) < 1:
        sides = " x ".join(map(str, shape))
        raise DataError(
            f"{path} has {len(shape)} axes ({sides}); a volume has three. Save each volume of it as a file of its own."
            if len(shape) > 3
            else f"{path} holds no voxel ({sides}). Replace or remove the file."
        )
    return shape


_held: OrderedDict[tuple[Path, int, int], bytes] = OrderedDict()
_locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def _unpacked(path: Path, most: int) -> bytes:
    """Return the first `most` bytes of a compressed file; the last `HELD` files are kept in memory."""
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    with _locks[path]:  # threads that decode slices of one volume wait for the first of them
        content = _held.get(key)
        if content is None:
            try:
                with gzip.open(path) as file:
                    content = file.read(most)
                    while file.read(2**20):  # to the end, where the checksum is
                        pass
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(_unreadable(path, str(error))) from error
            _held[key] = content
            with contextlib.suppress(KeyError):  # another thread may have been faster
                while len(_held) > HELD:
                    _held.popitem(last=False)
    return content


def _is_packed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _slice_of(path: Path, frame: Frame | None, use: str = "image") -> tuple[Volume, str, int]:
    volume = open_volume(path)
    if frame is None or frame.axis is None:
        volume.voxels()  # where these can't be read, that is the reason
        sides = " x ".join(map(str, volume.shape))
        raise DataError(
            f"{path} is a volume ({sides} voxels), no image: dataset=folder reads it slice by slice."
            if use == "image"
            else f"the mask {path} is a volume ({sides} voxels), and its image is none. Save it in the image's format."
        )
    if frame.number >= volume.count(frame.axis):
        raise DataError(f"{path} has {volume.count(frame.axis)} {frame.axis} slices, and no slice {frame.number}.")
    return volume, frame.axis, frame.number


def _lesion(path: Path, plane: NDArray[np.float64]) -> NDArray[np.bool_]:
    labels = np.nan_to_num(plane, nan=0.0)
    odd = labels[(labels < 0) | (labels != np.floor(labels))]
    if odd.size:
        raise DataError(
            f"the mask {path} holds {odd.flat[0]:g}; a mask volume holds whole numbers, 0 where all is healthy. "
            "Resample masks by nearest neighbour, and threshold probabilities."
        )
    return labels > 0


def _unreadable(path: Path, reason: str) -> str:
    reason = " ".join(reason.split()).rstrip(".") or "it is damaged"
    return f"{path} cannot be read as NIfTI: {reason}. Replace or remove the file."
