"""Scoring: images go to the fitted method in batches, without labels, masks or paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from adbench.backbone.features import autocast
from adbench.data.image_set import to_tensor
from adbench.errors import FULL, NumericalError
from adbench.method import Batch, Method, Scores, naming_the_method
from adbench.scoring.returned import scores_of
from adbench.system import cores


@torch.no_grad()
def score_images(
    method: Method[Any],
    images: NDArray[np.uint8],
    dataset: str,
    object_name: str,
    batch_size: int,
    precision: str,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, Scores]]:
    """Yield (first row, scores on the CPU in fp32) for batches of (N, H, W, 3) uint8 images.

    `share` (i, n): batches i, i + n, i + 2 n, ... alone. On a CPU several batches are scored at a time; they are never
    split, so that their scores stay the same bits.
    """
    method.eval()

    def scored(rows: slice) -> tuple[int, Scores]:
        batch = _batch(method, images[rows], dataset, object_name)
        with autocast(method.backbone.device, precision):
            scores = scores_of(method, batch)
        maps = None if scores.maps is None else scores.maps.float().cpu()
        return rows.start, Scores(scores.image.float().cpu(), maps)

    parts = _rows(len(images), batch_size, share)
    yield from cores.each(scored, parts) if method.concurrent else map(scored, parts)


@torch.no_grad()
def show_test_images(
    method: Method[Any], images: NDArray[np.uint8], dataset: str, object_name: str, batch_size: int, precision: str
) -> None:
    """Let a transductive method observe all (N, H, W, 3) uint8 images that are about to be scored."""
    method.eval()
    with autocast(method.backbone.device, precision), naming_the_method(type(method).__name__, "observe_test_images"):
        rows = _rows(len(images), batch_size)
        method.observe_test_images(_batch(method, images[some], dataset, object_name) for some in rows)


def _rows(count: int, batch_size: int, share: tuple[int, int] = (0, 1)) -> list[slice]:
    first, step = share
    starts = range(first * batch_size, count, step * batch_size)
    return [slice(start, min(start + batch_size, count)) for start in starts]


def _batch(method: Method[Any], images: NDArray[np.uint8], dataset: str, object_name: str) -> Batch:
    return Batch.of(method, to_tensor(images), dataset, object_name)


def resize_maps(maps: Tensor, size: int) -> Tensor:
    """Resize (B, h, w) maps to (B, size, size), bilinear, corners not aligned."""
    if maps.shape[-2:] == (size, size):
        return maps
    return F.interpolate(maps[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]


def check_finite(scores: Scores, names: Sequence[str], method: str, precision: str = FULL) -> None:
    """Raise NumericalError naming the first image whose score or map is not finite; `precision` is the cell's."""
    divides = "the method divides by zero, or a number overflows"
    advice = (
        f"At precision={FULL} {divides}." if precision == FULL else f"Try precision={FULL}; if it stays, {divides}."
    )
    for kind, values in (("score", scores.image), ("map", scores.maps)):
        if values is None:
            continue
        bad = ~torch.isfinite(values.flatten(1) if values.ndim > 1 else values[:, None]).all(1)
        if bad.any():
            raise NumericalError(
                f"{method} gives {names[int(bad.nonzero()[0])]} a {kind} that is not finite (one of {int(bad.sum())} "
                f"in its batch). {advice}"
            )


def columns_of(
    scores: Scores, names: Sequence[str], method: str, size: int, precision: str
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32] | None]:
    """Return the columns of the predictions that scores give, (B,) each, and the maps (B, size, size), or none.

    Raises NumericalError, naming the image, for a score or map that is not finite.
    """
    check_finite(scores, names, method, precision)
    columns = {"score": scores.image.numpy()}
    if scores.maps is None:
        return columns, None
    maps = resize_maps(scores.maps, size)
    columns |= {"map_max": maps.flatten(1).amax(1).numpy(), "map_mean": maps.flatten(1).mean(1).numpy()}
    return columns, maps.numpy()
