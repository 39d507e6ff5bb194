"""Files that hold several images, spread into one item for each, and DICOM series, whose headers name the patient."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adbench.data import dicom, series, volumes
from adbench.data.decode import PAGED, page_count
from adbench.data.frames import Frame, FramePath, stem
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import read_mask
from adbench.data.series import Header
from adbench.data.stacks import frame_count, slices
from adbench.data.stamps import Row
from adbench.data.volumes import VolumeStats
from adbench.errors import DataError
from adbench.system.text import counted

MODALITY = re.compile(r"[_\-. ](?:flair|t1|t1w|t1n|t1c|t1ce|t1gd|t2|t2w|t2f|pd|adc|dwi|swi|ct|pet)$", re.I)
BIDS = re.compile(r"sub-[A-Za-z0-9]+(?=_|$)")  # how the Brain Imaging Data Structure begins the name of a file
SINGLE = (".png", ".jpg", ".jpeg", ".bmp")
Remember = Callable[[Iterable[Path], Callable[[Path], Row], str], Mapping[Path, Row]]


@dataclass(frozen=True)
class Stacks:
    """What the files of a dataset hold besides pixels.

    volumes, headers: of NIfTI and of DICOM files.
    pages: the number of pages of TIFF files.
    """

    volumes: dict[Path, VolumeStats]
    headers: dict[Path, Header]
    pages: dict[Path, int]

    def holds_several(self, path: Path) -> bool:
        """Whether a file is a volume or holds several images."""
        return path in self.volumes or self.count(path) > 1

    def count(self, path: Path) -> int:
        """The number of images in a file, empty slices too."""
        if path in self.volumes:
            return self.volumes[path].count
        return self.headers[path].frames if path in self.headers else self.pages.get(path, 1)


def look(paths: Iterable[Path], config: DatasetConfig, remember: Remember) -> Stacks:
    """Look into the files that may hold several images or name a patient; `remember` measures and caches."""
    axis, window = config.slice_axis, tuple(config.volume_window)
    some = [path for path in dict.fromkeys(paths) if path.suffix.lower() not in SINGLE]
    nifti = [path for path in some if volumes.is_volume(path)]
    headers = [path for path in some if not volumes.is_volume(path) and dicom.is_dicom(path)]
    tiff = [path for path in some if path.suffix.lower() in PAGED]
    seen = remember(nifti, lambda path: astuple(volumes.measure(path, axis, window)), f"volumes {axis} {window}")
    # What ends in a text is an error, and not kept.
    read = remember(headers, lambda path: (*astuple(series.read_header(path)), True), "headers, with modality")
    pages_of = remember(tiff, lambda path: (page_count(path),), "pages")
    return Stacks(
        {path: _stats(row) for path, row in seen.items()},
        {path: Header(*row[:-1]) for path, row in read.items()},
        {path: int(row[0]) for path, row in pages_of.items()},
    )


def _stats(row: Row) -> VolumeStats:
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]  # lists come from JSON
    return VolumeStats(*values)


def name_patients(items: Sequence[Item], stacks: Stacks) -> tuple[list[Item], list[str]]:
    """Fill in patients that neither table nor pattern gave, and the places of slices in DICOM series; with notes.

    DICOM objects that are segmentations or doses are left out, with a note.
    """
    headers = stacks.headers
    if not (headers or stacks.volumes or stacks.pages):
        return list(items), []
    others = [path for path, header in headers.items() if header.modality in series.NO_IMAGES]
    left_out = set(others)
    items = [item for item in items if item.path not in left_out]
    names, notes = series.patients({i.path: headers[i.path] for i in items if i.path in headers and i.patient is None})
    places = series.positions(headers)
    unnamed = [i for i in items if i.patient is None and i.path not in names and stacks.holds_several(i.path)]
    stems = _stems(unnamed)

    def patient(item: Item) -> str | None:
        return item.patient if item.patient is not None else names.get(item.path) or stems.get(item.path)

    if others:
        notes.append(
            f"{others[0]} is a DICOM {headers[others[0]].modality}, no image, and is left out (one of {len(others)}). "
            "Masks are read from files with the names of their images."
        )
    named = [replace(item, patient=patient(item), position=places.get(item.path)) for item in items]
    return named, notes + series.oddities(headers) + _neighbours(unnamed, stems)


def in_series(items: Sequence[Item], stacks: Stacks) -> list[Item]:
    """Return the items with the slices of a DICOM series after each other, sorted by their place in it."""
    if not stacks.headers:
        return list(items)
    first: dict[tuple[str, str], int] = {}
    keys = []
    for row, item in enumerate(items):
        if item.position is None:
            keys.append((row, 0, row))
        else:
            group = item.split, stacks.headers[item.path].series
            keys.append((first.setdefault(group, row), item.position, row))
    return [items[row] for *_, row in sorted(keys)]


def _stems(items: Sequence[Item]) -> dict[Path, str]:
    """Return the patient of files with several images, by their names.

    It is the BIDS subject; else the folder of a file whose name begins with the folder's, as in BraTS; else the path
    without its ending, and without the modality where several files differ in that alone.
    """
    found: dict[Path, str] = {}
    plain: dict[str, list[Path]] = defaultdict(list)
    for item in items:
        name, (folder, _, _) = stem(item.path), _inner(item).rpartition("/")
        own = folder.rpartition("/")[2]
        if subject := BIDS.match(name):
            found[item.path] = subject.group()
        elif own and re.match(rf"{re.escape(own)}(?![A-Za-z0-9])", name):
            found[item.path] = folder
        else:
            found[item.path] = f"{folder}/{name}" if folder else name
            plain[MODALITY.sub("", found[item.path])].append(item.path)
    return found | {path: name for name, paths in plain.items() if len(set(paths)) > 1 for path in paths}


def _inner(item: Item) -> str:
    """Return the path of an item's file below its class folder."""
    return item.id.split("/", 2)[2]


def _neighbours(items: Sequence[Item], stems: Mapping[Path, str]) -> list[str]:
    """Return a note where files with several images share a folder of their own, and count as patients of their own."""
    folders: dict[Path, set[str]] = defaultdict(set)
    for item in items:
        if "/" in _inner(item):
            folders[item.path.parent].add(stems[item.path])
    shared = {folder: names for folder, names in folders.items() if len(names) > 1}
    if not shared or len(folders) == 1:
        return []
    folder, names = next(iter(sorted(shared.items())))
    return [
        f"{counted(len(names), 'file')} in {folder} count as patients of their own (one of {len(shared)} such "
        "folders). If a folder is a patient: dataset.patient_pattern='(?P<patient>[^/]+)/'"
    ]


def spread(
    items: Sequence[Item], stacks: Stacks, config: DatasetConfig, remember: Remember
) -> tuple[list[Item], list[str]]:
    """Replace each file with several images by an item for each of them; return the items, and notes.

    An item with a frame keeps this one alone. A slice of an abnormal file with masks is abnormal where one of its masks
    has a lesion there, and all are where none has and `empty_masks=allow`. Raises DataError for masks without any
    lesion, a mask that doesn't fit, and a frame that isn't there.
    """
    masked = [i for i in items if i.label and i.mask_files and stacks.holds_several(i.path)]
    lesions = _lesions(masked, stacks, config, remember)
    _check_empty(masked, lesions, config)
    out: list[Item] = []
    empty: list[Path] = []
    healthy: list[Path] = []
    unmasked: list[Path] = []
    for item in items:
        stats = stacks.volumes.get(item.path)
        if (stats and stats.error) or not stacks.holds_several(item.path):
            out.append(replace(item, frame=None) if item.frame else item)  # decoding names the error
            continue
        number = item.frame.number if item.frame else None
        count = stacks.count(item.path)
        if number is not None and number >= count:
            raise DataError(f"{item.path} has no slice {number}: it has {count}, numbered from 0 to {count - 1}.")
        frames = slices(item.path, stats, config.slice_axis) if stats else [Frame(n) for n in range(count)]
        if item.label and not item.mask_files and number is None:
            unmasked.append(item.path)
        for frame in frames if number is None else [frames[number]]:
            one = replace(item, id=f"{item.id}{frame}", frame=frame, position=frame.number)
            asked = number is not None
            if stats and not asked and config.empty_slices == "leave_out" and frame.number not in stats.shown:
                empty.append(item.path)
            elif not lesions.get(item.path) or asked or frame.number in lesions[item.path]:
                out.append(one)
            else:
                healthy.append(item.path)
                if config.lesion_free_slices == "normal":
                    name = f"{item.split}/normal/abnormal/{_inner(item)}{frame}"
                    out.append(replace(one, id=name, label=0, mask=None))
    return out, _notes(stacks, config, empty, healthy, unmasked)


def _check_empty(items: Sequence[Item], lesions: Mapping[Path, frozenset[int]], config: DatasetConfig) -> None:
    """Raise DataError for an abnormal file whose masks have no lesion in any slice, unless that is allowed."""
    if config.empty_masks == "allow":
        return
    for item in items:
        if item.frame is None and item.path in lesions and not lesions[item.path]:
            raise DataError(
                f"the mask {item.mask_files[0]} of the abnormal file {item.path} is empty: no image of it has a "
                "lesion. Fix or remove the pair, or count all its images as abnormal without abnormal pixels: "
                "dataset.empty_masks=allow"
            )


def _lesions(
    items: Sequence[Item], stacks: Stacks, config: DatasetConfig, remember: Remember
) -> dict[Path, frozenset[int]]:
    """Return by image file the numbers of the slices with a lesion in one of its masks."""
    axis, how = config.slice_axis, (config.mask_threshold, config.mask_background)
    files = {mask for item in items for mask in item.mask_files}
    nifti = sorted(file for file in files if volumes.is_volume(file))

    def in_frames(path: Path) -> Row:
        count = frame_count(path)
        some = [Frame(number) for number in range(count)] if count > 1 else []
        return count, [f.number for f in some if read_mask(FramePath(path, f), *how).pixels.any()]

    seen = remember(nifti, lambda path: astuple(volumes.lesion_slices(path, axis)), f"mask volumes {axis}")
    masks = {path: _stats(row) for path, row in seen.items()}
    frames = remember(sorted(files - set(nifti)), in_frames, f"mask frames {config.facets()}")
    found: dict[Path, frozenset[int]] = {}
    for item in items:
        image = stacks.volumes.get(item.path)
        for file in item.mask_files:
            if image is not None and not image.error:
                numbers = _fitting(item.path, image, file, masks.get(file))
            else:
                count, numbers = frames.get(file, (1, ()))
                if image is None and count != stacks.count(item.path):
                    raise DataError(
                        f"the mask {file} holds {counted(count, 'image')}, and {item.path} holds "
                        f"{stacks.count(item.path)}. A mask needs a frame for each of them."
                    )
            found[item.path] = found.get(item.path, frozenset()) | frozenset(numbers)
    return found


def _fitting(path: Path, image: VolumeStats, file: Path, mask: VolumeStats | None) -> Sequence[int]:
    """Return the slices with a lesion of a mask volume, which must lie as its image does."""
    if mask is None:
        raise DataError(f"the mask {file} is no volume, and its image {path} is one. Give a mask volume of its shape.")
    if mask.error:
        raise DataError(mask.error)
    if mask.shape != image.shape:
        have, need = (" x ".join(map(str, one.shape)) for one in (mask, image))
        raise DataError(f"the mask {file} has {have} voxels, its image {path} {need}. A mask needs its image's shape.")
    if not np.allclose(mask.affine, image.affine, rtol=1e-4, atol=1e-3):
        raise DataError(
            f"the mask {file} lies elsewhere than its image {path}: their affines differ. Resample the mask to the "
            "grid of the image, by nearest neighbour."
        )
    return mask.shown


def _notes(
    stacks: Stacks, config: DatasetConfig, empty: Sequence[Path], healthy: Sequence[Path], unmasked: Sequence[Path]
) -> list[str]:
    read = {path: stats for path, stats in stacks.volumes.items() if not stats.error}
    notes = []
    if empty:
        total = sum(stats.count for stats in read.values())
        notes.append(
            f"{len(empty)} of {total} slices of {counted(len(read), 'volume')} show nothing but background or one "
            "value and are left out; dataset.empty_slices=keep keeps them."
        )
    blank = [path for path, stats in read.items() if not stats.shown]
    if blank and config.empty_slices == "leave_out":
        notes.append(f"{blank[0]} shows nothing in any slice, and is left out (one of {len(blank)}).")
    if healthy:
        number = counted(len(healthy), "slice")
        what = f"{number} of {counted(len(set(healthy)), 'abnormal file')} without a lesion in the mask"
        notes.append(
            f"{what}: left out, as their patient is ill; dataset.lesion_free_slices=normal takes them for normal."
            if config.lesion_free_slices == "leave_out"
            else f"{what}: normal images by dataset.lesion_free_slices=normal."
        )
    if unmasked:
        notes.append(
            f"{counted(len(unmasked), 'abnormal file')} with several images and without a mask: every image of them "
            "counts as abnormal, those without a lesion too."
        )
    nan = [path for path, stats in read.items() if stats.nan]
    if nan:
        notes.append(f"{nan[0]} holds voxels that are not a number, shown black (one of {len(nan)}).")
    if said := volumes.unoriented([path for path, stats in read.items() if not stats.oriented]):
        notes.append(said)
    return notes
