"""The files about one image: heatmap, outline, mask, raw map, and its DICOM objects or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench._version import __version__
from adbench.data import dicom, volumes
from adbench.data.decode import open_image
from adbench.data.frames import ImagePath, located, stem
from adbench.errors import AdbenchError, DataError
from adbench.exports import dicom as objects
from adbench.exports.nifti import write_volume
from adbench.exports.results import ImageRow
from adbench.records import pictures
from adbench.running.fitted import Fitted
from adbench.system.text import shortened

MAPS = ("npy", "tiff")
RED = (255, 64, 64)
LEAST_BAR = 128  # pixels of an image's sides from which on its Secondary Capture has room for a colour bar


class Writer:
    """Writes the files about images into a folder, and their names into their rows.

    scale: the scores that are black and pale yellow. threshold: of maps, or None. maps: see `MAPS`.
    notes: in sentences, what could not be written; each once.
    """

    def __init__(
        self, fitted: Fitted, folder: Path, scale: tuple[float, float], threshold: float | None, maps: str | None
    ) -> None:
        self.folder, self.scale, self.threshold, self.maps = folder, scale, threshold, maps
        self.intensity_range, self.axis = fitted.dataset.intensity_range, fitted.dataset.slice_axis
        self.method, self.record = fitted.record.content["facts"]["method"], fitted.record
        self.series = objects.Series(self.method, __version__, self.record.key)
        self.notes: list[str] = []

    def write(
        self, path: Path, images: Sequence[ImagePath], maps: NDArray[np.float32], rows: Sequence[ImageRow], first: int
    ) -> None:
        """Write the files about the images of one file: maps (N, S, S), and one row each; `first` numbers the files."""
        source = self._source(path)
        masks: list[NDArray[np.bool_]] = []
        for number, (image, scores, row) in enumerate(zip(images, maps, rows, strict=True), first):
            _, frame = located(image)
            name = f"{number:04d}_{shortened(stem(path))}" + (f"_{frame.number:03d}" if frame else "")
            full = self._full(scores, row)
            shown = self._pixels(image)
            heat = pictures.overlay(shown, full, *self.scale)
            bar = pictures.colour_bar(max(row.height, 48), *self.scale, self.threshold)
            self._picture(row, "heatmap", f"{name}_heatmap.png", _next_to(heat, bar))
            if self.threshold is not None:
                mask = full >= self.threshold
                self._picture(row, "outline", f"{name}_outline.png", pictures.outline(shown, mask, RED))
                self._picture(row, "mask", f"{name}_mask.png", mask.astype(np.uint8) * 255)
                heat = pictures.outline(heat, mask, RED)
                masks += [mask] if source is not None else []
            if self.maps is not None:
                row.files["map"] = self._map(f"{name}_map", full)
            if source is not None:
                self._capture(path, f"{name}_sc.dcm", source, heat, row, frame.number if frame else None)
        if masks and source is not None:
            self._segmentation(path, f"{first:04d}_{shortened(stem(path))}_seg.dcm", source, np.stack(masks), rows)
        if volumes.is_volume(path):
            self._volumes(path, f"{first:04d}_{shortened(stem(path))}", maps, rows)

    def _full(self, scores: NDArray[np.float32], row: ImageRow) -> NDArray[np.float32]:
        """Return a map (S, S) at the size of its image."""
        size = row.width, row.height
        return np.asarray(Image.fromarray(np.asarray(scores)).resize(size, Image.Resampling.BILINEAR))

    def _pixels(self, image: ImagePath) -> NDArray[np.uint8]:
        return np.asarray(open_image(image, self.intensity_range).convert("RGB"))

    def _picture(self, row: ImageRow, kind: str, name: str, pixels: NDArray[np.uint8]) -> None:
        Image.fromarray(pixels).save(self.folder / name)
        row.files[kind] = name

    def _map(self, name: str, full: NDArray[np.float32]) -> str:
        """Write a map (H, W) fp32 as it is."""
        if self.maps == "npy":
            np.save(self.folder / f"{name}.npy", full)
        else:
            Image.fromarray(full).save(self.folder / f"{name}.tiff", compression="tiff_adobe_deflate")
        return f"{name}.{self.maps}"

    def _source(self, path: Path) -> Any:
        """Return the header that DICOM objects about a file take up; None, with a note, where there can be none."""
        if not dicom.is_dicom(path):
            return None
        try:
            objects.need_highdicom()
            return objects.source_of(path, self.notes)
        except DataError as error:
            self._note(f"{path}: no DICOM Segmentation and no Secondary Capture: {error}.")
        except AdbenchError as error:
            self._note(f"None is written: {error}")
        return None

    def _capture(
        self, path: Path, name: str, source: Any, heat: NDArray[np.uint8], row: ImageRow, frame: int | None
    ) -> None:
        low, high = self.scale
        cut = "" if self.threshold is None else f" Outlined in red: scores from {self.threshold:.6g} on."
        words = (
            f"Anomaly map of adbench {self.method} (record {self.record.key}) laid over the image, in the colours of "
            f"inferno: black is {low:.6g} and below, pale yellow {high:.6g}.{cut} For research use only."
        )
        if min(row.width, row.height) >= LEAST_BAR:
            heat = _inside(heat, pictures.colour_bar(row.height // 2, *self.scale, self.threshold, "black"))
        try:
            objects.write_capture(self.folder / name, source, heat, words, self.series, frame)
            row.files["capture"] = name
        except DataError as error:
            self._note(f"{path}: no Secondary Capture: {error}.")

    def _segmentation(
        self, path: Path, name: str, source: Any, masks: NDArray[np.bool_], rows: Sequence[ImageRow]
    ) -> None:
        try:
            objects.write_segmentation(self.folder / name, source, masks, self.series)
        except DataError as error:
            self._note(f"{path}: no DICOM Segmentation: {error}.")
        else:
            for row in rows:
                row.files["segmentation"] = name

    def _volumes(self, path: Path, name: str, maps: NDArray[np.float32], rows: Sequence[ImageRow]) -> None:
        volume, words = volumes.open_volume(path), f"adbench {self.method}, research use only"
        planes = [self._full(scores, row) for scores, row in zip(maps, rows, strict=True)]
        self._volume("map_volume", f"{name}_map.nii.gz", volume, planes, np.float32, words, rows)
        if (threshold := self.threshold) is not None:
            masks = [plane >= threshold for plane in planes]
            self._volume("mask_volume", f"{name}_mask.nii.gz", volume, masks, np.uint8, words, rows)

    def _volume(
        self, kind: str, file: str, volume: volumes.Volume, planes: Sequence[NDArray[Any]], dtype: type[np.generic],
        words: str, rows: Sequence[ImageRow],
    ) -> None:  # fmt: skip
        write_volume(self.folder / file, volume, self.axis, planes, dtype, words)
        for row in rows:
            row.files[kind] = file

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _next_to(picture: NDArray[np.uint8], bar: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a colour bar at the right of a picture; a picture that is less high is filled up with white."""
    height = max(len(picture), len(bar))
    canvas = np.full((height, picture.shape[1] + bar.shape[1], 3), 255, np.uint8)
    canvas[: len(picture), : picture.shape[1]], canvas[: len(bar), picture.shape[1] :] = picture, bar
    return canvas


def _inside(picture: NDArray[np.uint8], bar: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a colour bar over the right edge of a picture, half way down, whose size stays as it is."""
    top, left = (len(picture) - len(bar)) // 2, picture.shape[1] - bar.shape[1]
    copy = picture.copy()
    copy[top : top + len(bar), left:] = bar
    return copy
