"""Scores of image files, written to a folder: tables, a page, pictures, maps, masks, DICOM objects and volumes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.data.decode import image_size
from adbench.data.depth import stretched
from adbench.data.frames import ImagePath
from adbench.data.stacks import images_in
from adbench.data.volumes import is_volume, open_volume, unoriented
from adbench.errors import AdbenchError
from adbench.exports.page import page
from adbench.exports.results import RESULTS, Applied, Cut, ImageRow, content, to_json
from adbench.running.fitted import Fitted
from adbench.running.score_folder import check_folder, folder_for, resolved, writing
from adbench.running.score_pictures import MAPS, Writer
from adbench.statistics.calibration import Platt
from adbench.system.progress import track
from adbench.system.text import inert


@dataclass(frozen=True)
class Options:
    """What is written besides scores and heatmaps.

    threshold, map_threshold: of images and of maps. platt: the map to probabilities, or why there is none.
    maps: "npy" or "tiff", or none. force: whether results that are in the folder may be replaced.
    left_out: sentences on what the folders of images hold besides; results.json keeps them.
    """

    threshold: Cut = field(default_factory=lambda: Cut(why="no threshold was given"))
    map_threshold: Cut = field(default_factory=lambda: Cut(why="no map_threshold was given"))
    platt: Platt | str = "none was asked for"
    maps: str | None = None
    force: bool = False
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.maps is not None and self.maps not in MAPS:
            raise AdbenchError(f"maps={self.maps} is not possible: {' and '.join(MAPS)} are.")


class Written(NamedTuple):
    """What one call wrote: a row for each image, and in sentences what could not be written."""

    rows: list[ImageRow]
    notes: list[str]


def score_files(fitted: Fitted, paths: Sequence[Path], out: Path, options: Options | None = None) -> Written:
    """Score images and write a folder about them: docs/score.md lists its files.

    Of a file that holds several images each is scored; its row is called as in `scan.nii.gz#012`. Volumes are sliced as
    the record's dataset configuration says. Heatmaps of one call share one colour scale: from the median of the maps'
    5th percentiles to the largest value. No more than a batch is in memory; the maps wait on disk, and `out` appears
    with all of its files, or not at all. Raises AdbenchError for a folder that can't be written or holds other files.
    """
    options = options or Options()
    out = resolved(out)
    check_folder(out, options.force)
    axis, window = fitted.dataset.slice_axis, fitted.dataset.volume_window
    files = [(path, images_in(path, axis, window)) for path in paths]
    images = [image for _, inside in files for image in inside]
    with folder_for(out, options.force) as folder:
        rows, bounds = _score(fitted, images, folder / "maps", out, options)
        scale, notes = None, [*fitted.notes, *_reading(fitted, files)]
        if bounds:
            size = fitted.method.backbone.input_size
            maps = np.memmap(folder / "maps", np.float32, "r", shape=(len(images), size, size))
            lows, highs = zip(*bounds, strict=True)
            scale = float(np.median(lows)), max(highs)
            writer = Writer(fitted, folder, scale, options.map_threshold.value, options.maps)
            with writing(out):
                start = 0
                for path, inside in track(files, "writing", len(files)):
                    part = slice(start, start + len(inside))
                    writer.write(path, inside, maps[part], rows[part], start + 1)
                    start += len(inside)
            notes += writer.notes
            del maps
        with writing(out):
            (folder / "maps").unlink(missing_ok=True)
            _tables(fitted, folder, rows, options, scale, notes)
    return Written(rows, notes)


def _reading(fitted: Fitted, files: Sequence[tuple[Path, Sequence[ImagePath]]]) -> Iterator[str]:
    """Yield notes on how files are read, as a dataset of them would have."""
    if fitted.dataset.intensity_range is None and (said := stretched(image for _, inside in files for image in inside)):
        yield f"{said} One range for all is the record's: run its cell with dataset.intensity_range=[0,4095]."
    if said := unoriented([path for path, _ in files if is_volume(path) and not open_volume(path).oriented]):
        yield said


def _score(
    fitted: Fitted, images: Sequence[ImagePath], maps: Path, out: Path, options: Options
) -> tuple[list[ImageRow], list[tuple[float, float]]]:
    """Return a row for each image, and 5th percentile and maximum of each map; the maps themselves go to a file."""
    rows, bounds = [], []
    for start, batch in track(fitted.batches(images), "scoring", -(-len(images) // fitted.config.batch_size)):
        resized = None if batch.maps is None else batch.maps.numpy()
        scores = batch.image.numpy()
        probabilities = None if isinstance(options.platt, str) else options.platt.probabilities(scores)
        for place, score in enumerate(scores):
            image = images[start + place]
            row = ImageRow(str(image), *image_size(image), float(score))
            if options.threshold.value is not None:
                row.abnormal = bool(score >= options.threshold.value)
            if probabilities is not None:
                row.probability = float(probabilities[place])
            if resized is not None:
                row.map_max, row.map_mean = float(resized[place].max()), float(resized[place].mean())
                bounds.append((float(np.percentile(resized[place], 5)), row.map_max))
            rows.append(row)
        if resized is not None:
            with writing(out), maps.open("ab") as file:
                file.write(resized.tobytes())
    return rows, bounds


def _tables(
    fitted: Fitted, folder: Path, rows: Sequence[ImageRow], options: Options, scale: tuple[float, float] | None,
    notes: Sequence[str],
) -> None:  # fmt: skip
    """Write scores.csv, results.json and index.html."""
    scores: NDArray[np.float32] = np.array([row.score for row in rows], np.float32)
    table = pd.DataFrame({"image": [inert(row.image) for row in rows], "score": scores})
    if options.threshold.value is not None:
        table["abnormal"] = [int(bool(row.abnormal)) for row in rows]
    if not isinstance(options.platt, str):
        table["probability"] = [row.probability for row in rows]
    # A name that is no valid text is written as the bytes that it is.
    text = table.to_csv(index=False)
    (folder / "scores.csv").write_text(text, encoding="utf-8", errors="surrogateescape")
    applied = Applied(
        fitted.record, fitted.config.method_name, dataclasses.asdict(fitted.method.params), fitted.changed,
        fitted.config.precision, fitted.config.batch_size, fitted.method.backbone.device.type,
    )  # fmt: skip
    about = (
        applied, {"image": options.threshold, "pixel": options.map_threshold}, options.platt, scale, rows,
        options.left_out, notes, datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    (folder / RESULTS).write_text(to_json(content(*about)), encoding="utf-8")
    (folder / "index.html").write_text(page(*about), encoding="utf-8")


def default_folder() -> Path:
    """Return a new folder name for the results of one call."""
    named, number = Path("scores") / time.strftime("%Y%m%d-%H%M%S"), 1
    while (folder := named if number == 1 else named.with_name(f"{named.name}-{number}")).exists():
        number += 1
    return folder
