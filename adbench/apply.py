"""A trained record applied to images that nobody labelled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from adbench import config as configs
from adbench import pictures, registry, sections
from adbench.backbone import Backbone
from adbench.data.decode import IMAGES, image_size, read_image
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError, DataError, RecordError, did_you_mean
from adbench.features import FrozenFeatures
from adbench.files import unwritable
from adbench.method import Capability, Method
from adbench.progress import track
from adbench.record import Record, read
from adbench.scorer import check_finite, gather, resize_maps, score_images
from adbench.training.fit import device_of, set_up_torch
from adbench.weights import BackboneConfig, weights_hash


@dataclass(frozen=True)
class Fitted:
    """A method rebuilt from its record, ready to score."""

    record: Record
    method: Method
    capability: Capability
    dataset: DatasetConfig
    config: configs.RunConfig


def load(path: str | Path, overrides: dict[str, Any] | None = None, **machine: Any) -> Fitted:
    """Rebuild the trained method of a record.

    `overrides` replaces parameters that need no training, as prompts do. `machine` replaces what belongs to the place
    and not to the record: `device` (default auto), `cache`, `precision`, `weights` (the backbone's file), `method`
    (FILE.py:Class, where the file has moved).
    Raises RecordError where the record is damaged, or weights or method are not those it was made with.
    """
    record = read(Path(path))
    content = record.content
    try:
        config = configs.RunConfig(**content["resolved"] | {"device": "auto", "cache": None})
        capability = Capability(**content["capability"] | {"blocks": tuple(content["capability"]["blocks"])})
        state = load_file(record.path / "method.safetensors")
    except (TypeError, KeyError, SafetensorError, OSError) as error:
        raise RecordError(f"{path} is damaged ({error}). Remove it and run its cell again.") from error
    backbone_config = _from(BackboneConfig, content["backbone"])
    backbone_config.weights = machine.pop("weights", None) or backbone_config.weights
    config = dataclasses.replace(config, **{key: value for key, value in machine.items() if value is not None})
    method_class = _method_class(path, config.method, content["facts"])
    params = sections.merge(method_class.Params, content["facts"]["params"], {}, f"method {config.method!r}")
    if overrides:
        params = _replace(method_class, params, overrides, config.method)
    found = weights_hash(backbone_config, config.backbone, config.cache_dir)
    if found != content["backbone"]["weights_hash"]:
        raise RecordError(
            f"{path} was made with weights {content['backbone']['weights_hash'][:12]}… of {config.backbone}; "
            f"here they are {found[:12]}…. Give the right file: backbone.weights=FILE.safetensors"
        )
    device = device_of(config)
    set_up_torch(config)
    backbone = Backbone(
        config.backbone, backbone_config, content["backbone"]["built_input_size"], capability.activation,
        capability.normalisation,
    ).to(device)  # fmt: skip
    method = method_class(params, backbone, config.seed)
    method.build()
    method.load_fitted(state)
    wanted = capability.blocks, capability.pooled
    method.attach(FrozenFeatures(backbone, found, *wanted, config.precision, folder=None))
    return Fitted(record, method.to(device).eval(), capability, _from(DatasetConfig, content["dataset"]), config)


def _method_class(path: str | Path, name: str, facts: dict[str, Any]) -> type[Method]:
    made = facts.get("source") or "package:adbench-medical"
    try:
        entry = registry.find("method", name)
        found: type[Method] = entry.load()
        source = entry.source(found)
    except AdbenchError as error:
        raise RecordError(
            f"{path} was made by {facts['method']} ({made}), which is not found again: {error} "
            "Where its file has moved: method=FILE.py:Class."
        ) from error
    if (entry.name, source) != (facts["method"], facts.get("source")):
        raise RecordError(
            f"{path} was made by {facts['method']} ({made}); here {name} is {entry.name} ({source or 'built in'}). "
            "Bring that source back, or name a file that holds it: method=FILE.py:Class."
        )
    return found


def _from(schema: type[Any], content: dict[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(schema)}
    return schema(**{name: value for name, value in content.items() if name in names})


def _replace(method_class: type[Method], params: Any, overrides: dict[str, Any], name: str) -> Any:
    allowed = method_class.editable
    for key in overrides:
        if not any(key == prefix or key.startswith(prefix + ".") for prefix in allowed):
            raise AdbenchError(
                f"method.{key} can't be changed after training of {name}: {did_you_mean(key, allowed)}. "
                f"Run a new cell: adbench run method={name} method.{key}=…"
            )
    over: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        place = over
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return sections.merge(method_class.Params, dataclasses.asdict(params), over, f"method {name!r}")


def find_images(words: Sequence[str]) -> list[Path]:
    """Return the image files that the words name: files, or folders searched for images at any depth."""
    found: list[Path] = []
    for word in words:
        path = Path(word).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES)
            if not inside:
                raise DataError(f"{path} holds no image ({', '.join(IMAGES)}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} does not exist. Give image files or folders of images.")
    if not found:
        raise AdbenchError("no image given. Example: adbench score runs/<key> scan1.png folder/")
    return found


class _Images:
    """The images of files as an array (N, H, W, 3) that holds only the rows asked for."""

    def __init__(self, paths: Sequence[Path], fitted: Fitted) -> None:
        self.paths, self.size = paths, fitted.method.backbone.input_size
        self.how = fitted.capability.resize, fitted.capability.grey

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: slice) -> NDArray[np.uint8]:
        return np.stack([read_image(path, self.size, *self.how) for path in self.paths[rows]])


def score_files(fitted: Fitted, paths: Sequence[Path], out: Path, threshold: float | None) -> pd.DataFrame:
    """Score images and write scores.csv, `<n>_<name>_heatmap.png` and, with a threshold, `<n>_<name>_mask.png`.

    With `threshold`, the column `abnormal` says whether the score reaches it, and the mask picture outlines the pixels
    whose map reaches it. Heatmaps of one call share one colour scale: from the median of the maps' 5th percentiles to
    the largest value. No more than a batch is in memory; the maps wait on disk, and `out` gets all files or none.
    """
    out = out.absolute()
    folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with _writing(out):
            folder.mkdir(parents=True)
        scores, bounds = _score(fitted, paths, folder / "maps", out)
        table = pd.DataFrame({"image": [str(path) for path in paths], "score": scores})
        if threshold is not None:
            table["abnormal"] = (table["score"] >= threshold).astype(int)
        with _writing(out):
            (folder / "scores.csv").write_text(table.to_csv(index=False), encoding="utf-8")
        if bounds:
            size = fitted.method.backbone.input_size
            maps = np.memmap(folder / "maps", np.float32, "r", shape=(len(paths), size, size))
            lows, highs = zip(*bounds, strict=True)
            _pictures(folder, paths, maps, (float(np.median(lows)), max(highs)), threshold, out)
        with _writing(out):
            (folder / "maps").unlink()
            out.mkdir(exist_ok=True)
            # scores.csv comes last: it says that all is there.
            for file in sorted(folder.iterdir(), key=lambda file: file.name == "scores.csv"):
                file.replace(out / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return table


def _score(
    fitted: Fitted, paths: Sequence[Path], maps: Path, out: Path
) -> tuple[NDArray[np.float32], list[tuple[float, float]]]:
    """Return the scores, and 5th percentile and maximum of each map; the maps themselves go to a file."""
    config, images = fitted.config, cast(NDArray[np.uint8], _Images(paths, fitted))
    how = config.dataset, fitted.dataset.object_name, config.batch_size, config.precision
    if fitted.capability.transductive:
        gather(fitted.method, images, *how)
    scores, bounds = [], []
    with _writing(out):
        maps.touch()
    batches = score_images(fitted.method, images, *how)
    for start, batch in track(batches, "scoring", -(-len(paths) // config.batch_size)):
        check_finite(batch, [str(p) for p in paths[start : start + len(batch.image)]], config.method)
        scores.append(batch.image.numpy())
        if batch.maps is not None:
            found = resize_maps(batch.maps, fitted.method.backbone.input_size).numpy()
            bounds += [(float(np.percentile(one, 5)), float(one.max())) for one in found]
            with _writing(out), maps.open("ab") as file:
                file.write(found.tobytes())
    return np.concatenate(scores), bounds


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(out, error, "folder with out=DIR") from error


def _pictures(
    folder: Path, paths: Sequence[Path], maps: Any, scale: tuple[float, float], threshold: float | None, out: Path
) -> None:
    for number, (path, scores) in enumerate(zip(paths, maps, strict=True), 1):
        width, height = image_size(path)
        full = np.asarray(Image.fromarray(np.asarray(scores)).resize((width, height), Image.Resampling.BILINEAR))
        square = read_image(path, max(width, height))
        image = np.asarray(Image.fromarray(square).resize((width, height), Image.Resampling.BICUBIC))
        shown = {"heatmap": pictures.overlay(image, full, *scale)}
        if threshold is not None:
            shown["mask"] = pictures.outline(image, full >= threshold, (255, 64, 64))
        with _writing(out):
            for what, pixels in shown.items():
                Image.fromarray(pixels).save(folder / f"{number:04d}_{path.stem}_{what}.png")


def default_folder() -> Path:
    """Return a new folder name for the results of one call."""
    return Path("scores") / time.strftime("%Y%m%d-%H%M%S")
