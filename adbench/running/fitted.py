"""A method rebuilt from its record: scores of arrays and files, one call or a stream, from any thread."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from adbench.config.schema import RunConfig
from adbench.data.decode import decoded, read_image, squashed
from adbench.data.frames import ImagePath
from adbench.data.items import DatasetConfig
from adbench.data.levels import IntensityRange
from adbench.data.listing import is_folder
from adbench.data.stacks import images_in
from adbench.errors import AdbenchError, DataError
from adbench.method import Capability, Method, Scores, naming_the_method
from adbench.records.held_out import Thresholds, held_out, probabilities, thresholds
from adbench.records.record import Record
from adbench.running.find import images_below
from adbench.scoring.score import check_finite, resize_maps, score_images, show_test_images
from adbench.statistics.calibration import Platt

Picture = str | Path | Image.Image | NDArray[Any] | torch.Tensor  # or an array or tensor of many


@dataclass(frozen=True)
class ScoredImage:
    """One image of a stream.

    image: its path (of one in a file that holds several, `scan.nii.gz#012`), or the PIL image or array that was given.
    score: higher is more abnormal. map: (S, S) fp32 at the input size S, or None.
    """

    image: ImagePath | Image.Image
    score: float
    map: NDArray[np.float32] | None


class Pixels:
    """Images as the network sees them, (N, S, S, 3) uint8: only the rows asked for are in memory."""

    def __init__(self, images: Sequence[ImagePath | Image.Image], fitted: Fitted) -> None:
        self.images, self.size = images, fitted.method.backbone.input_size
        self.resize, self.grey = fitted.capability.resize, fitted.capability.grey
        self.intensity_range = fitted.dataset.intensity_range

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        first = rows.indices(len(self.images))[0]
        return np.stack([self.one(image, number) for number, image in enumerate(self.images[rows], first + 1)])

    def one(self, image: ImagePath | Image.Image, number: int) -> NDArray[np.uint8]:
        """Return one image, (S, S, 3); `number` names it in errors where it has no path."""
        if isinstance(image, Image.Image):
            return squashed(_loaded(image, number, self.intensity_range), self.size, self.resize, self.grey)
        return read_image(image, self.size, self.resize, self.grey, self.intensity_range)


@dataclass(eq=False)
class _Turn:
    """Whose turn it is: a method computes for one caller at a time, and a transductive one remembers one set of images.

    seen: the images that the method was shown last.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    seen: object = None


@dataclass(frozen=True, repr=False)
class Fitted:
    """A method rebuilt from its record, ready to score images: see `score` and `stream`.

    Threads may share it: images are decoded side by side, and the method scores one batch at a time. Scores are the
    same, bit for bit, as from one thread.
    notes: in sentences, the files outside of the record that are read because the record names them.
    changed: parameters that `load` replaced, with which scores are others than those of the record's held-out images.
    """

    record: Record
    method: Method[Any]
    capability: Capability
    dataset: DatasetConfig
    config: RunConfig
    notes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    _turn: _Turn = field(default_factory=_Turn, init=False, compare=False)

    def __repr__(self) -> str:
        return f"Fitted(method={self.config.method!r}, record={str(self.record.path)!r})"

    def score(self, images: Picture | Sequence[Picture]) -> Scores:
        """Score images, decoded and resized as in the run.

        `images`: one or several of: the path of an image file (DICOM too; of a file that holds several images, such as
        a NIfTI volume, all are scored, in their order) or of a folder of them, a PIL image, a uint8 array or tensor
        (H, W, 3) or (H, W); or one array or tensor of many, (N, H, W, 3), (N, H, W) or (N, 3, H, W). Any height and
        width will do. The same pixels have the same scores, bit for bit, in whatever form they are given; in a batch of
        another size, say alone, the last bits of some methods' scores may differ.
        Returns `Scores` on the CPU, fp32: `image` (N,), higher is more abnormal, and `maps` (N, S, S) at the input
        size S, or None. Of the images a batch is decoded at a time; for more maps than memory holds there is `stream`.
        Raises AdbenchError for what is no image, DataError for a file that can't be read.
        """
        pictures = self._all(images)
        parts = [part for _, part in self.batches(pictures)]
        maps = [part.maps for part in parts if part.maps is not None]
        return Scores(torch.cat([part.image for part in parts]), torch.cat(maps) if maps else None)

    def stream(
        self, images: Picture | Iterable[Picture], left_out: Callable[[DataError], object] | None = None
    ) -> Iterator[ScoredImage]:
        """Yield the images of a folder, or whatever `score` takes, one by one with score and map, in bounded memory.

        A generator of images is read as far as a batch needs. An image that can't be read ends the stream with a
        DataError; with `left_out`, that function gets the error, and the stream goes on with the next image.
        A transductive method compares all images with one another: their paths are collected first, and they are read
        twice.
        """
        pictures: Iterable[ImagePath | Image.Image] = self._pictures(images, left_out)
        if self.capability.transductive:
            listed, pixels = list(pictures), Pixels([], self)
            pictures = [one for one in listed if left_out is None or _readable(pixels, one, left_out)]
            if not pictures:
                return
            for start, scores in self.batches(pictures):
                yield from _each_of(pictures[start : start + len(scores.image)], scores)
            return
        for batch, array in self._chunks(pictures, left_out):
            yield from _each_of(batch, self._compute(array, _names(batch)))

    def batches(self, pictures: Sequence[ImagePath | Image.Image]) -> Iterator[tuple[int, Scores]]:
        """Yield (first row, scores) of paths and PIL images, batch by batch: maps (B, S, S), or None.

        Raises NumericalError, naming the image, for a score or map that is not finite.
        """
        pixels, size = Pixels(pictures, self), self.config.batch_size
        for start in range(0, len(pictures), size):
            array = pixels[start : start + size]
            yield start, self._compute(array, _names(pictures[start : start + size], start), pixels)

    def _compute(self, array: NDArray[np.uint8], names: Sequence[str], everything: Pixels | None = None) -> Scores:
        """Score one batch (B, S, S, 3). A transductive method is shown `everything` first, unless it was just now."""
        config = self.config
        how = config.dataset, self.dataset.object_name, config.batch_size, config.precision
        with self._turn.lock, naming_the_method(config.method_name):
            if self.capability.transductive and self._turn.seen is not everything:
                self._turn.seen = None
                show_test_images(self.method, everything, *how)  # type: ignore[arg-type]  # its rows are arrays
                self._turn.seen = everything
            ((_, scores),) = score_images(self.method, array, *how)
        check_finite(scores, names, config.method_name, config.precision)
        maps = None if scores.maps is None else resize_maps(scores.maps, self.method.backbone.input_size)
        return Scores(scores.image, maps)

    def _chunks(
        self, pictures: Iterable[ImagePath | Image.Image], left_out: Callable[[DataError], object] | None
    ) -> Iterator[tuple[list[ImagePath | Image.Image], NDArray[np.uint8]]]:
        """Yield batches of images that can be read, with their pixels."""
        pixels, batch, arrays = Pixels([], self), list[ImagePath | Image.Image](), list[NDArray[np.uint8]]()
        for number, picture in enumerate(pictures, 1):
            try:
                arrays.append(pixels.one(picture, number))
            except DataError as error:
                if left_out is None:
                    raise
                left_out(error)
                continue
            batch.append(picture)
            if len(batch) == self.config.batch_size:
                yield batch, np.stack(arrays)
                batch, arrays = [], []
        if batch:
            yield batch, np.stack(arrays)

    def thresholds(self, specificity: float = 0.95) -> Thresholds:
        """Return the thresholds of the image score and of the maps that the record's held-out images fix.

        `image.value` and `pixel.value` are numbers, which an abnormal image or pixel reaches; or None, with a sentence
        in `why`. Raises AdbenchError where `load` replaced parameters, and RecordError for a damaged record.
        """
        self._check_unchanged()
        return thresholds(held_out(self.record), specificity)

    def platt(self) -> Platt:
        """Return the map from image scores to probabilities: `fitted.platt().probabilities(scores.image.numpy())`.

        It was fitted to the record's held-out images, and holds for their share of abnormal ones.
        Raises AdbenchError, in a sentence, where there are too few of a class or `load` replaced parameters.
        """
        self._check_unchanged()
        return probabilities(held_out(self.record))

    def _check_unchanged(self) -> None:
        if self.changed:
            raise AdbenchError(
                f"the record's held-out images were scored with another value of {', '.join(self.changed)}: they give "
                "no threshold and no probability here. Load the record without it."
            )

    def decode(self, images: Picture | Sequence[Picture]) -> NDArray[np.uint8]:
        """Return images as the network sees them: (N, S, S, 3) uint8."""
        return Pixels(self._all(images), self)[:]

    def _all(self, images: Picture | Sequence[Picture]) -> list[ImagePath | Image.Image]:
        pictures = list(self._pictures(images))
        if not pictures:
            raise AdbenchError("no image given to score: give a path, a PIL image, an array, or several.")
        return pictures

    def _pictures(
        self, images: Picture | Iterable[Picture], left_out: Callable[[DataError], object] | None = None
    ) -> Iterator[ImagePath | Image.Image]:
        """Yield the paths and PIL images that are meant: of a folder its images, of a file that holds several each."""
        for picture in _each(images):
            if isinstance(picture, Image.Image):
                yield picture
                continue
            paths, sentences = images_below(picture) if is_folder(picture) else ([picture], [])
            for sentence in sentences:
                warnings.warn(sentence, stacklevel=2)
            for path in paths:
                try:
                    yield from images_in(path, self.dataset.slice_axis, self.dataset.volume_window)
                except DataError as error:
                    if left_out is None:
                        raise
                    left_out(error)


def _readable(pixels: Pixels, image: ImagePath | Image.Image, left_out: Callable[[DataError], object]) -> bool:
    try:
        pixels.one(image, 1)
    except DataError as error:
        left_out(error)
        return False
    return True


def _names(pictures: Sequence[ImagePath | Image.Image], start: int = 0) -> list[str]:
    """Return what errors call images: their paths, or their numbers."""
    return [
        f"image {number}" if isinstance(one, Image.Image) else str(one)
        for number, one in enumerate(pictures, start + 1)
    ]


def _each_of(pictures: Sequence[ImagePath | Image.Image], scores: Scores) -> Iterator[ScoredImage]:
    maps = [None] * len(pictures) if scores.maps is None else scores.maps.numpy()
    for picture, score, one in zip(pictures, scores.image.tolist(), maps, strict=True):
        yield ScoredImage(picture, score, one)


def _loaded(picture: Image.Image, number: int, intensity_range: IntensityRange | None) -> Image.Image:
    """Decode a PIL image, which may still lie in its file: upright and with 8 bits, as when it is read by its path."""
    try:
        return decoded(picture, f"image {number}", intensity_range)
    except (AdbenchError, MemoryError):
        raise
    except Exception as error:  # PIL raises all kinds of errors for damaged files
        raise DataError(f"image {number} cannot be decoded: {error}. Replace or leave it out.") from error


def _each(images: Picture | Iterable[Picture]) -> Iterator[Path | Image.Image]:
    """Yield paths and PIL images one by one."""
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu().numpy()
    if isinstance(images, (str, Path)):
        yield Path(images).expanduser()
    elif isinstance(images, Image.Image):
        yield images
    elif isinstance(images, np.ndarray):
        yield from (Image.fromarray(pixels) for pixels in _pixels(images))
    elif isinstance(images, Iterable) and not isinstance(images, (bytes, Mapping)):
        for image in images:
            yield from _each(image)
    else:
        raise AdbenchError(
            f"{type(images).__name__} is no image: give a path, a PIL image, a uint8 array or tensor, or several."
        )


def _pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an array of one or several images as (N, H, W, 3) or (N, H, W)."""
    if array.dtype != np.uint8:
        raise AdbenchError(
            f"an array of {array.dtype} can't be scored: give uint8, 0 to 255; floats in [0, 1] as "
            "(255 * images).round().astype('uint8')."
        )
    shape = array.shape
    if array.ndim == 3 and shape[0] == 3 != shape[2]:
        raise AdbenchError(
            f"an array of shape {shape} may hold one colour image or three grey ones: give (1, 3, H, W), or a list."
        )
    if array.ndim == 4 and shape[1] == 3 != shape[3]:
        array = np.moveaxis(array, 1, 3)
    elif array.ndim == 2 or (array.ndim == 3 and shape[2] == 3):
        array = array[None]
    grey, colour = array.ndim == 3 and array.shape[2] > 4, array.ndim == 4 and array.shape[3] == 3
    if not (grey or colour) or 0 in array.shape[1:]:
        raise AdbenchError(
            f"an array of shape {shape} holds no images: (H, W), (H, W, 3), (N, H, W), (N, H, W, 3) and "
            "(N, 3, H, W) do."
        )
    return array
