"""The only place that opens the test split: images go to the frozen method, labels and masks to the evaluators."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from adbench.cell import Cell
from adbench.data import arrays
from adbench.data.items import Item
from adbench.errors import NumericalError
from adbench.features import autocast
from adbench.method import Batch, Method, Scores
from adbench.metrics import Histogram, image_metrics, pixel_metrics
from adbench.progress import track
from adbench.sources import Opened
from adbench.training.fit import to_tensor
from adbench.training.ranks import gathered, rank, world


@dataclass(frozen=True)
class Outcome:
    """What scoring leaves: one row per image, the pixel histogram (or none), and the figures."""

    predictions: pd.DataFrame
    histogram: Histogram | None
    metrics: dict[str, float | None]
    half_widths: dict[str, float]


@torch.no_grad()
def score_images(
    method: Method,
    images: NDArray[np.uint8],
    dataset: str,
    object_name: str,
    batch_size: int,
    precision: str,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, Scores]]:
    """Yield (first row, scores on the CPU in fp32) for batches of (N, H, W, 3) uint8 images.

    `share` (i, n): batches i, i + n, i + 2 n, ... alone. Batches are never split: their scores stay the same bits.
    """
    method.eval()
    for start, batch in _batches(method, images, dataset, object_name, batch_size, share):
        with autocast(method.backbone.device, precision):
            scores = method.score(batch)
        maps = None if scores.maps is None else scores.maps.float().cpu()
        yield start, Scores(scores.image.float().cpu(), maps)


@torch.no_grad()
def gather(
    method: Method, images: NDArray[np.uint8], dataset: str, object_name: str, batch_size: int, precision: str
) -> None:
    """Show a transductive method all (N, H, W, 3) uint8 images that are about to be scored."""
    method.eval()
    with autocast(method.backbone.device, precision):
        method.gather(batch for _, batch in _batches(method, images, dataset, object_name, batch_size))


def _batches(
    method: Method,
    images: NDArray[np.uint8],
    dataset: str,
    object_name: str,
    batch_size: int,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, Batch]]:
    device, (first, step) = method.backbone.device, share
    for start in range(first * batch_size, len(images), step * batch_size):
        pixels = to_tensor(images[start : start + batch_size])
        features = method.encode(pixels.float() / 255).to(device)
        n = len(pixels)
        yield start, Batch(pixels.to(device), features, (dataset,) * n, (object_name,) * n)


def resize_maps(maps: Tensor, size: int) -> Tensor:
    """Resize (B, h, w) maps to (B, size, size), bilinear, corners not aligned."""
    if maps.shape[-2:] == (size, size):
        return maps
    return F.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def check_finite(scores: Scores, names: Sequence[str], method: str) -> None:
    """Raise NumericalError naming the first image whose score or map is not finite."""
    for what, values in (("score", scores.image), ("map", scores.maps)):
        if values is None:
            continue
        bad = ~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)
        if bad.any():
            raise NumericalError(
                f"{method} gives {names[int(bad.nonzero()[0])]} a {what} that is not finite (one of {int(bad.sum())} "
                f"in its batch). Try precision=32-true; if it stays, the method divides by zero."
            )


def evaluate(cell: Cell, method: Method, items: Sequence[Item], what: str, of: Opened | None = None) -> Outcome:
    """Score `items` and compare with their labels and masks; several processes of one cell share the batches.

    They belong to the dataset `of`, by default the tested one.
    """
    config, of = cell.config, of or cell.target
    images = images_of(cell, items, what, of)
    with_pixels = of.config.masks and cell.capability.maps
    size = cell.eval_size
    masks = arrays.masks(items, of.hashes, config.cache_dir, size, of.config, what) if with_pixels else None
    histogram = Histogram() if with_pixels else None
    found: dict[int, dict[str, NDArray[np.float32]]] = {}
    how = of.name, of.config.object_name, config.batch_size, config.precision
    if cell.capability.transductive:
        gather(method, images, *how)
    batches = score_images(method, images, *how, (rank(), world()))
    count = len(range(rank() * config.batch_size, len(items), world() * config.batch_size))
    for start, scores in track(batches, f"scoring {what}", count):
        rows = slice(start, start + len(scores.image))
        check_finite(scores, [item.id for item in items[rows]], config.method)
        found[start] = {"score": scores.image.numpy()}
        if scores.maps is None:
            continue
        maps = resize_maps(scores.maps, size) if config.eval_size != "method" or histogram else scores.maps
        found[start] |= {"map_max": maps.flatten(1).amax(1).numpy(), "map_mean": maps.flatten(1).mean(1).numpy()}
        if histogram is not None and masks is not None:
            histogram.update(maps.numpy(), masks[rows].astype(bool))
    rows_of, histograms = zip(*gathered((found, histogram)), strict=True)
    scored = dict(sorted(batch for part in rows_of for batch in part.items()))
    histogram = functools.reduce(Histogram.merge, histograms) if with_pixels else None
    table = pd.DataFrame({"image": [i.id for i in items], "label": np.array([i.label for i in items], np.int8)})
    for name in ("score", "map_max", "map_mean"):
        parts = [columns[name] for columns in scored.values() if name in columns]
        table[name] = np.concatenate(parts) if parts else np.nan
    table["patient"] = pd.array([i.patient for i in items], dtype="string")
    table["subgroup"] = pd.array([i.subgroup for i in items], dtype="string")
    metrics: dict[str, float | None] = dict(
        image_metrics(table["score"].to_numpy(), table["label"].to_numpy(), cell.capability.threshold)
    )
    pixel = pixel_metrics(histogram) if histogram is not None else {}
    metrics |= {name: estimate.value for name, estimate in pixel.items()}
    half_widths = {name: estimate.half_width for name, estimate in pixel.items()}
    return Outcome(table, histogram, metrics, half_widths)


def score_test(cell: Cell, method: Method) -> Outcome:
    """Score the whole test split and evaluate it."""
    return evaluate(cell, method, cell.test, f"{cell.config.dataset} test")


def images_of(cell: Cell, items: Sequence[Item], what: str, of: Opened) -> NDArray[np.uint8]:
    """Return decoded images of the dataset `of`, (N, H, W, 3) uint8, memory-mapped."""
    return arrays.images(
        items, of.hashes, cell.config.cache_dir, cell.input_size, cell.capability.resize, cell.capability.grey, what
    )


def test_images(cell: Cell) -> NDArray[np.uint8]:
    """Return the decoded test images, (N, H, W, 3) uint8, memory-mapped."""
    return images_of(cell, cell.test, f"{cell.config.dataset} test", cell.target)


def maps_of(cell: Cell, method: Method, rows: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Return the images (n, H, W, 3) and, scored once more, the maps (n, S, S) of some test images."""
    images = test_images(cell)[list(rows)]
    parts = [
        scores.maps
        for _, scores in score_images(
            method, images, cell.config.dataset, cell.dataset.object_name, cell.config.batch_size, cell.config.precision
        )
    ]
    maps = [resize_maps(part, cell.eval_size) for part in parts if part is not None]
    return images, torch.cat(maps).numpy() if maps else None


@torch.no_grad()
def level_maps_of(cell: Cell, method: Method, rows: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Return, for pictures, the maps (n, S, S) of each level of some test images."""
    images = test_images(cell)[list(rows)]
    ((_, batch),) = _batches(method, images, cell.config.dataset, cell.dataset.object_name, len(images))
    with autocast(method.backbone.device, cell.config.precision):
        found = method.level_maps(batch)
    return {block: resize_maps(maps.float().cpu(), cell.eval_size).numpy() for block, maps in found.items()}


@torch.no_grad()
def throughput(cell: Cell, method: Method, n: int = 4) -> tuple[float, float]:
    """Return images per second over `n` images without any cache, and GFLOP per image (a multiply-add counts 2)."""
    device, images = method.backbone.device, test_images(cell)
    n = min(n, len(images))
    names = (cell.config.dataset,) * n, (cell.dataset.object_name,) * n
    pixels = to_tensor(images[:n])

    def run(count: int) -> None:
        part = pixels[:count]
        with autocast(device, cell.config.precision):
            features = method.backbone.features(part.float() / 255, cell.capability.blocks, cell.capability.pooled)
            method.score(Batch(part.to(device), features, names[0][:count], names[1][:count])).image.sum().item()

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the fused attention operator is not counted
    with FlopCounterMode(display=False) as counter:
        run(1)
    torch.backends.mha.set_fastpath_enabled(fast)
    start = time.perf_counter()
    run(n)
    return n / (time.perf_counter() - start), counter.get_total_flops() / 1e9
