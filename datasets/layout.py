"""The base class of dataset layouts, and functions that list images and find masks and patients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from adbench.data.fingerprint import digest
from adbench.data.items import CLASSES, DatasetConfig, Item, Split
from adbench.data.listing import is_folder, is_hidden, list_images, subfolders
from adbench.data.stamps import Row, measured
from adbench.data.volumes import is_volume
from adbench.errors import DataError
from adbench.system.progress import counting

from .patients import PatientPattern, check_fit, check_spellings
from .unread import unread


class Layout(ABC):
    """A dataset in a folder layout.

    `looks` recognises its folder, `read` lists its items, `write` draws its phantom.
    """

    expected: ClassVar[str]  # the tree, for error messages
    reads: ClassVar[tuple[str, ...]] = ("folders",)  # the optional keys of the configuration that have an effect
    phantom_images: ClassVar[dict[str, int]] = {"train": 60, "test": 120}

    def __init__(self, name: str, config: DatasetConfig) -> None:
        self.name = name
        self.config = config
        self.folders = config.folders or [name]
        self.patients = PatientPattern(config.patient_pattern)
        self.unused: dict[str, str] = {}  # filled by `read`: optional keys without effect on these files, and why
        self.notes: list[str] = []  # filled by `read`: what was left out or read in an unusual way, in sentences
        self.cache: Path | None = None  # set by the harness: the folder in which `remember` keeps measurements,
        self.keep = True  # and whether it may write there

    @abstractmethod
    def looks(self, folder: Path) -> bool:
        """Whether a folder has the layout of this dataset."""

    @abstractmethod
    def read(self, folder: Path) -> list[Item]:
        """Return the items of all splits."""

    @abstractmethod
    def write(self, folder: Path, counts: dict[str, int]) -> Iterator[None]:
        """Draw the phantom into an empty folder, yielding after each image; `counts`: images in each split."""

    def index(self, root: Path) -> list[Item]:
        """Return the items of all splits; raises DataError, naming the expected layout, where there are none."""
        folder = self.folder(root)
        items = self.read(folder)
        if not items:
            raise DataError(f"{folder} holds no image of {self.config.title}: expected {self.expected}")
        notes = check_fit(self.patients, self.config) + check_spellings(items, self.config)
        if notes:  # without this key they would be errors
            self.unused.pop("allow_patient_overlap", None)
        self.notes += notes + unread(folder, self.places(folder), items, self.config.masks is not False)
        if max(self.config.split_shares or [0]) == 1 and self.config.folds is None:
            self.unused.setdefault("split_seed", f"dataset.split_shares={self.config.split_shares} makes one split")
        return items

    def places(self, folder: Path) -> Sequence[Path]:
        """Return the folders below which a file that `read` passes over is named in a note."""
        return [folder]

    def folder(self, root: Path) -> Path:
        """Return the dataset's folder: `root`, or the folder in it that has the dataset's name and layout."""
        names = self.folders
        if not is_folder(root):
            raise DataError(
                f"data_root={root} is not a folder. The folder of {self.config.title} holds {self.expected}."
            )
        found = self.candidates(root)
        if len(found) > 1:
            first, second = (path.relative_to(root) if path != root else path for path in found[:2])
            raise DataError(f"{root} holds {first} and {second}, both of which are {self.name}. Keep one.")
        if not found:
            place = next(iter(self._named(root)), root)
            raise DataError(
                f"data_root={root} does not contain dataset={self.name}: expected {self.expected}, in it or in a "
                f"folder called {' or '.join(names)}; found {entries(place)} in {place}."
            )
        return found[0]

    def candidates(self, root: Path) -> list[Path]:
        """Return the folders that may be the dataset's: `root`, else those in it that have its name and layout."""
        if self.looks(root):
            self.unused["folders"] = "it is the folder itself"
            return [root]
        return [path for path in self._named(root) if self.looks(path)]

    def _named(self, root: Path) -> list[Path]:
        wanted = {name.lower() for name in self.folders}
        return [path for path in sorted(root.iterdir()) if path.name.lower() in wanted and path.is_dir()]

    def remember(self, paths: Iterable[Path], measure: Callable[[Path], Row], what: str) -> Mapping[Path, Row]:
        """Return `measure` of files, from the cache where a file is unchanged.

        measure: returns plain values that JSON can hold; a row that ends in a text, an error, is not kept.
        what: the name of the measurement, with all settings that it depends on.
        """
        paths = list(paths)
        if self.cache is None or not paths:
            return {path: measure(path) for path in paths}
        memory = self.cache / "facts" / f"{digest(f'{paths[0].resolve().parent} {self.name} {what}')[:16]}.json"
        return measured(paths, measure, memory, f"looking into {self.name} files", _in_order, self.keep).rows

    def phantom_version(self) -> str:
        """Name the version of the phantoms."""
        from .phantoms.scenes import version

        return version(self.phantom_images, self.config.category)

    def draw_phantom(self, root: Path, counts: dict[str, int] | None = None) -> None:
        """Draw the phantom of this dataset below `root`; `counts`: images in train, valid and test."""
        from .phantoms.write import whole

        counts = self.phantom_images | (counts or {})
        with (
            whole(root / self.folders[0]) as folder,
            counting(f"drawing {self.name} phantoms", sum(counts.values())) as count,
        ):
            for done, _ in enumerate(self.write(folder, counts), 1):
                count(done)

    def is_phantom(self, root: Path) -> bool:
        """Whether the dataset is a phantom: its folder then holds the file `PHANTOM`."""
        from .phantoms import MARK

        return (self.folder(root) / MARK).is_file()


def _in_order(row: Row) -> bool:
    return not (isinstance(row[-1], str) and row[-1])


def item(
    split: Split,
    label: int,
    path: Path,
    name: str | None = None,
    mask: tuple[Path, ...] | None = None,
    patient: str | None = None,
    subgroup: str | None = None,
) -> Item:
    """Return an item whose id is `<split>/<normal|abnormal>/<name>`; `name` is by default the file's."""
    return Item(f"{split}/{CLASSES[label]}/{name or path.name}", split, label, path, mask, patient, subgroup)


def chosen(config: DatasetConfig) -> list[str]:
    """Return the chosen categories."""
    return list(config.categories) if config.category in (None, "all") else [str(config.category)]


def categories_asked(folder: Path, config: DatasetConfig) -> list[Path]:
    """Return the folders in a dataset's folder but for those of categories that are not chosen."""
    return [path for path in subfolders(folder) if path.name not in config.categories or path.name in chosen(config)]


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, sorted, and none where there is no folder; see `list_images`.

    Volumes are left out: `dataset=folder` alone knows their slices.
    """
    return [path for path in list_images(folder).images if not is_volume(path)] if is_folder(folder) else []


def need_mask(masks: Mapping[Path, tuple[Path, ...]], path: Path, where: str) -> tuple[Path, ...]:
    """Return the masks of an abnormal image; raises DataError, naming the expected file `where`, without one."""
    if path not in masks:
        raise DataError(f"the abnormal image {path} has no mask: expected {where}. Without masks: dataset.masks=false")
    return masks[path]


def entries(folder: Path) -> str:
    """List the first entries of a folder, for an error message."""
    names = sorted(path.name for path in folder.iterdir() if not is_hidden(path.name))
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") if names else "nothing"
