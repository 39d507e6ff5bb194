"""Items, dataset configurations and the dataset interface."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from adbench.config import ranges
from adbench.data.frames import Frame, ImagePath, image_path
from adbench.errors import AdbenchError, DataError, did_you_mean

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
CLASSES = ("normal", "abnormal")
SUPPORT_SPLITS = ("train", "valid")
MASK_KEYS = ("mask_threshold", "mask_background", "empty_masks", "full_masks")
MASK_READING = 2  # the version of how masks are read and shrunk; 2: no lesion region is lost
WORDS = {  # the values of keys that have a few
    "empty_masks": ("error", "allow"),
    "full_masks": ("error", "allow"),
    "slice_axis": ("axial", "coronal", "sagittal"),
    "empty_slices": ("leave_out", "keep"),
    "lesion_free_slices": ("leave_out", "normal"),
}
# Keys of a dataset's configuration that only its class can read; it lists those that it does in `reads`.
OPTIONAL_KEYS = (
    "folders", "category", "categories", "table", "split_shares", "split_seed", "normal_folders", "abnormal_folders",
    "mask_folders", "ignored_folders", "allow_patient_overlap", "allow_absolute_paths", "patient_pattern", "folds",
    "fold", "slice_axis", "volume_window", "empty_slices", "lesion_free_slices",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One image on disk.

    id: `<split>/<normal|abnormal>/<file name>`, with folders where names repeat; the same in every layout. A frame of a
        file ends in its number, as in `test/normal/sub-0.nii.gz#012`.
    label: 0 normal, 1 abnormal.
    mask: one or more files whose union is the lesion mask; None without a mask.
    patient: None where unknown.
    subgroup: a kind of image within its class, such as a diagnosis, or None.
    frame: which image of a file that holds several; None: the file is one image. Masks have the frame of their image.
    position: the place of a slice in its volume or series, from 0; None where unknown.
    """

    id: str
    split: Split
    label: int
    path: Path
    mask: tuple[Path, ...] | None = None
    patient: str | None = None
    subgroup: str | None = None
    frame: Frame | None = None
    position: int | None = None

    @property
    def image(self) -> ImagePath:
        """Where the image is: its file, or the frame of it."""
        return image_path(self.path, self.frame)

    @property
    def mask_images(self) -> tuple[ImagePath, ...]:
        """Where the masks are, which have the frame of the image: none, one, or several whose union is the mask."""
        return tuple(image_path(path, self.frame) for path in self.mask_files)

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """The mask files: none, one, or several whose union is the mask."""
        return self.mask or ()


@dataclass
class DatasetConfig:
    """The keys of configs/dataset/*.yaml. Those that change a result enter the cell key: see `facets`.

    Keys that choose among the images on disk (`category`, `table`, `split_shares`, `patient_pattern`, ...) change ids,
    patients or contents, and so the fingerprint or the support: they need no facet.

    display_name: its name in LaTeX tables; empty: the registered name.
    masks: whether abnormal images have lesion masks; None: if every abnormal image has one, see `decide_masks`.
    mask_threshold: a mask pixel above this 8-bit value (0 to 254) is abnormal; None: the file decides, see
        `masks.read_mask`.
    mask_background: grey values or palette indices (0 to 65535) of a mask that are healthy, all others being abnormal;
        empty: the threshold decides.
    intensity_range: the values that become black and white, in images of more than 8 bits and in DICOM: see
        docs/own-images.md; None: each image's own window, else its own lowest and highest value.
    empty_masks: "error" refuses the empty mask of an abnormal image, "allow" takes it.
    full_masks: "error" refuses a mask that covers more than 90 % of its image, or more than half and its border, as an
        inverted one does; "allow" takes it, with a note above 90 %.
    support_split: the split, "train" or "valid", that supports are drawn from.
    support_fill: the splits, "train" or "valid", that fill up a class of which `support_split` has too few, in order.
    abnormal_support: "test" takes abnormal support images from the test split, which they leave; None: never.
    split_shares: shares of train, valid and test (sum 1) for images without splits.
    folds, fold: a cross-validation of images without splits: fold number `fold`, from 0, of `folds` is the test split.
    patient_pattern: a regular expression with the group `(?P<patient>...)`, matched at the start of a file's name.
    slice_axis: "axial", "coronal" or "sagittal": the slices of a volume that are its images.
    volume_window: two percentiles (0 to 100) of a volume's values, which become black and white.
    empty_slices: "leave_out" or "keep" the slices of a volume that show nothing.
    lesion_free_slices: "leave_out" those of an abnormal volume with masks, or take them for "normal".
    own_images: the user's own images; no phantoms are drawn in their place unless asked for.
    expected: published [normal, abnormal] counts by split; None: unknown.

    Raises AdbenchError for a value that is not possible.
    """

    title: str
    object_name: str
    display_name: str = ""
    modality: str = ""
    organ: str = ""
    folders: list[str] = field(default_factory=list)
    category: str | None = None
    categories: dict[str, Any] = field(default_factory=dict)
    table: str | None = None
    split_shares: list[float] | None = None
    split_seed: int = 0
    folds: int | None = None
    fold: int | None = None
    normal_folders: list[str] = field(default_factory=list)
    abnormal_folders: list[str] = field(default_factory=list)
    mask_folders: list[str] = field(default_factory=list)
    ignored_folders: list[str] = field(default_factory=list)
    allow_patient_overlap: bool = False
    allow_absolute_paths: bool = False
    masks: bool | None = True
    mask_threshold: int | None = 127
    mask_background: list[int] = field(default_factory=list)
    empty_masks: str = "error"
    full_masks: str = "allow"
    intensity_range: list[float] | None = None
    support_split: str = "valid"
    support_fill: list[str] = field(default_factory=list)
    abnormal_support: str | None = None
    own_images: bool = False
    patient_pattern: str | None = None
    slice_axis: str = "axial"
    volume_window: list[float] = field(default_factory=lambda: [0.5, 99.5])
    empty_slices: str = "leave_out"
    lesion_free_slices: str = "leave_out"
    licence: str = ""
    source: str = ""
    citation: str = ""
    expected: dict[str, list[int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values, then fill in object name and counts of the chosen category."""
        check_config(self)
        if self.category is None or not self.categories:
            return
        if self.category != "all" and self.category not in self.categories:
            known = did_you_mean(self.category, ["all", *self.categories])
            raise AdbenchError(
                f"dataset.category={self.category} is no category of {self.title}: {known} Images of your own, in "
                "MVTec's layout too, are read by dataset=folder, with data_root=DIR naming the category's folder."
            )
        if self.category == "all":
            self.object_name = self.object_name or "object"
            self.expected = self.expected or _together(self.categories)
            return
        facts = self.categories.get(self.category, {})
        self.object_name = self.object_name or str(facts.get("object_name", "object"))
        self.expected = self.expected or dict(facts.get("expected", {}))

    def facets(self) -> dict[str, object]:
        """The part of the configuration that can change a score or a figure."""
        names = ("object_name", "masks", "mask_threshold")
        facets: dict[str, object] = {name: getattr(self, name) for name in names}
        if self.intensity_range is not None:
            facets["intensity_range"] = list(self.intensity_range)
        if self.masks:
            facets["mask_reading"] = MASK_READING
        if self.masks and self.mask_background:
            facets |= {"mask_threshold": None, "mask_background": sorted(set(self.mask_background))}
        return facets


class Dataset(Protocol):
    """The interface of a registered dataset class. The constructor stores its arguments and does nothing else.

    A class may list in `reads: ClassVar[tuple[str, ...]]` which of `OPTIONAL_KEYS` it reads; `dataset.X=` for another
    of them is then refused. Without the attribute no key is refused. Where the files decide, `index` may set
    `unused: dict[str, str]`, which of those keys had no effect and why, and `notes: list[str]`, what it left out or
    read in an unusual way, in sentences: every command prints them, and the record keeps them. A class that looks into
    its files may have the attributes `cache: Path | None` and `keep: bool`: `index` finds there the cache's folder, and
    whether it may write to it.
    """

    def __init__(self, name: str, config: DatasetConfig) -> None: ...

    def index(self, root: Path) -> list[Item]:
        """Look at the folder `root` and return every item; raises DataError where it can't be this dataset."""
        ...


@runtime_checkable
class PhantomDataset(Dataset, Protocol):
    """A dataset that also draws phantoms of itself; one without these functions is read from `data_root=DIR` alone."""

    def phantom_version(self) -> str:
        """Return a name that changes whenever the phantoms do."""
        ...

    def draw_phantom(self, root: Path, counts: dict[str, int] | None = None) -> None:
        """Write a phantom of this dataset below `root`, in the real one's layout; `counts`: images per split."""
        ...

    def is_phantom(self, root: Path) -> bool:
        """Whether the images at `root` were drawn by `draw_phantom`, wherever they are."""
        ...


def _together(categories: Mapping[str, Any]) -> dict[str, list[int] | None]:
    """Add up the counts of all categories by split; a split of which a category's count is unknown has none."""
    counts = [dict((facts or {}).get("expected", {})) for facts in categories.values()]
    splits = [split for split in SPLITS if any(split in each for each in counts)]
    if not all(counts):
        return {}
    together: dict[str, list[int] | None] = {}
    for split in splits:
        known = [each[split] for each in counts if each.get(split) is not None]
        together[split] = [sum(n[label] for n in known) for label in (0, 1)] if len(known) == len(counts) else None
    return together


def check_config(config: DatasetConfig) -> None:
    """Raise AdbenchError for a value of a dataset's configuration that is not possible."""
    if config.mask_threshold is not None and not 0 <= config.mask_threshold <= 254:
        raise AdbenchError(
            f"dataset.mask_threshold={config.mask_threshold} is not possible: an 8-bit value from 0 to 254 is needed; "
            "mask pixels above it are abnormal. With null the file decides."
        )
    if not all(0 <= value <= 65535 for value in config.mask_background):
        raise AdbenchError(
            f"dataset.mask_background={list(config.mask_background)} is not possible: grey values or palette indices "
            "from 0 to 65535 are needed, as in [0,255]; all others are abnormal."
        )
    for key, allowed in WORDS.items():
        if getattr(config, key) not in allowed:
            value = getattr(config, key)
            raise AdbenchError(f"dataset.{key}={value} is not possible: {did_you_mean(str(value), allowed)}")
    low_high = config.volume_window
    if len(low_high) != 2 or not 0 <= low_high[0] < low_high[1] <= 100:
        raise AdbenchError(
            f"dataset.volume_window={list(low_high)} is not possible: two percentiles from 0 to 100 are needed, the "
            "lower first, as in [0.5,99.5]."
        )
    ranges.check(config, ranges.OF_DATASET, "dataset")
    if config.intensity_range is not None:
        check_range(config.intensity_range)
    if config.support_split not in SUPPORT_SPLITS:
        raise AdbenchError(
            f"dataset.support_split={config.support_split} is not possible: a support comes from train or valid."
        )
    for split in config.support_fill:
        if split not in SUPPORT_SPLITS:
            raise AdbenchError(
                f"dataset.support_fill={config.support_fill} is not possible: {split} is neither train nor valid. It "
                "lists the splits that fill up a class of the support, as in [train]."
            )
    if config.abnormal_support not in (None, "test"):
        raise AdbenchError(
            f"dataset.abnormal_support={config.abnormal_support} is not possible: `test` takes abnormal support images "
            "from the test split; null, the default, takes them from dataset.support_split."
        )
    check_folds(config)
    if config.split_shares is not None:
        check_shares(config.split_shares)
    _check_pattern(config.patient_pattern)
    kinds: dict[str, str] = {}
    for key in ("normal_folders", "abnormal_folders", "mask_folders", "ignored_folders"):
        for name in getattr(config, key):
            if kinds.setdefault(name.lower(), key) != key:
                raise AdbenchError(
                    f"dataset.{kinds[name.lower()]} and dataset.{key} both hold {name!r}; a folder has one kind."
                )
    for split, counts in config.expected.items():
        if split not in SPLITS or (counts is not None and (len(counts) != 2 or min(counts) < 0)):
            raise AdbenchError(
                f"dataset.expected has {split}: {counts}; [normal, abnormal] counts of train, valid and test are "
                "needed, as in {test: [640, 3075]}."
            )


def check_folds(config: DatasetConfig) -> None:
    """Raise AdbenchError for folds that are no cross-validation, or a fold that is not among them."""
    folds, fold = config.folds, config.fold
    if folds is None:
        if fold is not None:
            raise AdbenchError(
                f"dataset.fold={fold} is one of dataset.folds: give their number, as in dataset.folds=5."
            )
        return
    if folds < 2:
        raise AdbenchError(f"dataset.folds={folds} is not possible: at least 2 are needed, each tested by the others.")
    if fold is not None and not 0 <= fold < folds:
        raise AdbenchError(
            f"dataset.fold={fold} is not possible: dataset.folds={folds} has the folds 0 to {folds - 1}."
        )


def check_shares(shares: Sequence[float]) -> None:
    """Raise AdbenchError unless there are three shares, none negative, with sum 1."""
    if len(shares) != 3 or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise AdbenchError(
            f"dataset.split_shares={list(shares)} is not possible: three shares of train, valid and test are needed "
            "that add up to 1, as in [0.5,0,0.5]."
        )


def check_range(values: Sequence[float]) -> None:
    """Raise AdbenchError unless there are two finite values, the first below the second."""
    if len(values) != 2 or not all(map(math.isfinite, values)) or not values[0] < values[1]:
        raise AdbenchError(
            f"dataset.intensity_range={list(values)} is not possible: the values that become black and white are "
            "needed, the first below the second, as in [0,4095]."
        )


def _check_pattern(pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise AdbenchError(f"dataset.patient_pattern={pattern} is no regular expression: {error}.") from error
    if "patient" not in groups:
        raise AdbenchError(
            f"dataset.patient_pattern={pattern} has no group called patient. Mark the patient's part of the name with "
            "(?P<patient>...), as in '^(?P<patient>[^_]+)'."
        )


def decide_masks(config: DatasetConfig, items: Sequence[Item]) -> DatasetConfig:
    """Return the configuration with `masks` decided: true where it is none and every abnormal image has one.

    Raises DataError where some abnormal images have masks and others don't, with the mask of one, if possible of the
    same folder.
    """
    if config.masks is not None:
        return config
    abnormal = [item for item in items if item.label]
    without = [item for item in abnormal if item.mask is None]
    if without and len(without) < len(abnormal):
        one = without[0]
        masked = [item for item in abnormal if item.mask]
        other = next((item for item in masked if item.path.parent == one.path.parent), masked[0])
        have = "has" if len(without) == 1 else "have"
        raise DataError(
            f"{len(without)} of {len(abnormal)} abnormal images {have} no mask, as {one.path}; {other.path.name} has "
            f"{other.mask_files[0]}. Give a mask for each, or ignore them all: dataset.masks=false"
        )
    return replace(config, masks=bool(abnormal) and not without)


def check_ids(items: Sequence[Item]) -> None:
    """Raise DataError where two items have the same id: it identifies an image in scores and supports."""
    seen: dict[str, Item] = {}
    for item in items:
        other = seen.setdefault(item.id, item)
        if other is not item:
            raise DataError(
                f"{other.image} and {item.image} have the same id {item.id}; each image needs its own. Rename one file."
            )


def count(items: Sequence[Item], split: str) -> tuple[int, int]:
    """Return (normal, abnormal) images of a split."""
    labels = Counter(item.label for item in items if item.split == split)
    return labels[0], labels[1]
