"""Scores of image files, written to a folder: scores.csv, heatmaps, and mask overlays at a threshold."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decode import IMAGES, image_size, read_image
from adbench.data.frames import ImagePath, located, stem
from adbench.data.levels import IntensityRange
from adbench.data.listing import check_file, is_folder, left_out, list_images
from adbench.data.stacks import images_in
from adbench.errors import AdbenchError, DataError
from adbench.method import naming_the_method
from adbench.records import pictures
from adbench.running.apply import Fitted
from adbench.scoring.score import check_finite, resize_maps, score_images, show_test_images
from adbench.statistics.calibration import Platt
from adbench.system.files import scratch, shortened, unwritable
from adbench.system.progress import track
from adbench.system.text import counted

INSTEAD = "folder with out=DIR"


def find_images(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the image files that the words name, and sentences about what was left out.

    A word is a file, which is read whatever its name, or a folder, which is searched for images at any depth. An image
    that is named twice, say by itself and by its folder, is returned once. Raises DataError for what can't be read, and
    for a folder without images.
    """
    paths: dict[tuple[str, str], Path] = {}
    left: list[str] = []
    twice = 0
    for word in words:
        path = Path(word).expanduser()
        if is_folder(path):
            listing = list_images(path, deep=True)
            skipped = "; ".join(left_out(listing))
            if not listing.images:
                found = f"; found {skipped}" if skipped else ""
                raise DataError(f"{path} holds no image ({', '.join(IMAGES)}, DICOM without an ending){found}.")
            left += [f"Left out in {path}: {skipped}."] if skipped else []
            inside = listing.images
        elif os.path.lexists(path):
            check_file(path)
            inside = [path]
        else:
            raise DataError(f"{path} does not exist. Give image files or folders of images.")
        for file in inside:
            key = os.path.realpath(file.parent), file.name
            twice += key in paths
            paths.setdefault(key, file)
    if not paths:
        raise AdbenchError("no image given. Example: adbench score runs/<key> scan1.png folder/")
    if twice:
        left.append(f"{counted(twice, 'image')} named twice {'is' if twice == 1 else 'are'} scored once.")
    return list(paths.values()), left


class _Images:
    """Images as an array (N, H, W, 3) that holds only the rows asked for."""

    def __init__(self, images: Sequence[ImagePath], fitted: Fitted) -> None:
        self.images, self.size = images, fitted.method.backbone.input_size
        self.how = fitted.capability.resize, fitted.capability.grey, fitted.dataset.intensity_range

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        return np.stack([read_image(image, self.size, *self.how) for image in self.images[rows]])


def score_files(
    fitted: Fitted, paths: Sequence[Path], out: Path, threshold: float | None = None,
    map_threshold: float | None = None, platt: Platt | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Score images and write scores.csv, `<n>_<name>_heatmap.png` and, with `map_threshold`, `<n>_<name>_mask.png`.

    Of a file that holds several images each is scored; a row and a picture are then named as in `scan.nii.gz#012` and
    `<n>_scan_012_heatmap.png`. Volumes are sliced as the record's dataset configuration says.
    With `threshold`, the column `abnormal` says whether the score reaches it; with `platt`, `probability` is that of
    being abnormal. The mask picture outlines the pixels whose map reaches `map_threshold`. Heatmaps of one call share
    one colour scale: from the median of the maps' 5th percentiles to the largest value. No more than a batch is in
    memory; the maps wait on disk, and `out` gets all files or none.
    """
    config = fitted.dataset
    images = [image for path in paths for image in images_in(path, config.slice_axis, config.volume_window)]
    out = out.absolute()
    if out.exists() and not out.is_dir():
        raise unwritable(out, NotADirectoryError(errno.ENOTDIR, "it is no folder"), INSTEAD)
    with scratch(out, INSTEAD) as folder:
        with naming_the_method(fitted.config.method_name):
            scores, bounds = _score(fitted, images, folder / "maps", out)
        table = pd.DataFrame({"image": [str(image) for image in images], "score": scores})
        if threshold is not None:
            table["abnormal"] = (table["score"] >= threshold).astype(int)
        if platt is not None:
            table["probability"] = platt.probabilities(scores)
        with _writing(out):
            (folder / "scores.csv").write_text(table.to_csv(index=False), encoding="utf-8")
        if bounds:
            size = fitted.method.backbone.input_size
            maps = np.memmap(folder / "maps", np.float32, "r", shape=(len(images), size, size))
            lows, highs = zip(*bounds, strict=True)
            scale = float(np.median(lows)), max(highs)
            _pictures(folder, images, maps, scale, map_threshold, fitted.dataset.intensity_range, out)
        with _writing(out):
            (folder / "maps").unlink()
            out.mkdir(exist_ok=True)
            # scores.csv comes last: it says that all is there.
            for file in sorted(folder.iterdir(), key=lambda file: file.name == "scores.csv"):
                file.replace(out / file.name)
    return table


def _score(
    fitted: Fitted, paths: Sequence[ImagePath], maps: Path, out: Path
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """Return the scores, and 5th percentile and maximum of each map; the maps themselves go to a file."""
    config, images = fitted.config, cast(NDArray[np.uint8], _Images(paths, fitted))
    how = config.dataset, fitted.dataset.object_name, config.batch_size, config.precision
    if fitted.capability.transductive:
        show_test_images(fitted.method, images, *how)
    scores, bounds = [], []
    with _writing(out):
        maps.touch()
    batches = score_images(fitted.method, images, *how)
    for start, batch in track(batches, "scoring", -(-len(paths) // config.batch_size)):
        check_finite(batch, [str(p) for p in paths[start : start + len(batch.image)]], config.method_name)
        scores.append(batch.image.numpy())
        if batch.maps is not None:
            resized = resize_maps(batch.maps, fitted.method.backbone.input_size).numpy()
            bounds += [(float(np.percentile(one, 5)), float(one.max())) for one in resized]
            with _writing(out), maps.open("ab") as file:
                file.write(resized.tobytes())
    return np.concatenate(scores), bounds


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(out, error, INSTEAD) from error


def _pictures(
    folder: Path, paths: Sequence[ImagePath], maps: Any, scale: tuple[float, float], map_threshold: float | None,
    intensity_range: IntensityRange | None, out: Path,
) -> None:  # fmt: skip
    for number, (path, scores) in enumerate(zip(paths, maps, strict=True), 1):
        width, height = image_size(path)
        full = np.asarray(Image.fromarray(np.asarray(scores)).resize((width, height), Image.Resampling.BILINEAR))
        square = read_image(path, max(width, height), intensity_range=intensity_range)
        image = np.asarray(Image.fromarray(square).resize((width, height), Image.Resampling.BICUBIC))
        shown = {"heatmap": pictures.overlay(image, full, *scale)}
        if map_threshold is not None:
            shown["mask"] = pictures.outline(image, full >= map_threshold, (255, 64, 64))
        file, frame = located(path)
        name = shortened(stem(file)) + (f"_{frame.number:03d}" if frame else "")
        with _writing(out):
            for kind, pixels in shown.items():
                Image.fromarray(pixels).save(folder / f"{number:04d}_{name}_{kind}.png")


def default_folder() -> Path:
    """Return a new folder name for the results of one call."""
    return Path("scores") / time.strftime("%Y%m%d-%H%M%S")
