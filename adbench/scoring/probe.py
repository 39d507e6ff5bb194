"""Maps for the gallery, and throughput."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from adbench.backbone.features import autocast, read
from adbench.cells.cell import Cell
from adbench.data.image_set import ImageSet, to_tensor
from adbench.method import Batch, Method
from adbench.scoring.returned import levels_of, scores_of
from adbench.scoring.score import resize_maps, score_images
from adbench.system import cores

Shape = tuple[int, ...]


def maps_of(cell: Cell, method: Method[Any], images: ImageSet, rows: Sequence[int]) -> NDArray[np.float32] | None:
    """Return, scored once more, the maps (n, S, S) of some images; none where the method draws no map."""
    config = cell.config
    how = images.dataset, images.object_name, config.batch_size, config.precision
    parts = [scores.maps for _, scores in score_images(method, images.images[list(rows)], *how)]
    maps = [resize_maps(part, cell.eval_size) for part in parts if part is not None]
    return torch.cat(maps).numpy() if maps else None


@torch.no_grad()
def level_maps_of(
    cell: Cell, method: Method[Any], images: ImageSet, rows: Sequence[int]
) -> dict[int, NDArray[np.float32]]:
    """Return, for pictures, the maps (n, S, S) of each level of some images."""
    batch = Batch.of(method, to_tensor(images.images[list(rows)]), images.dataset, images.object_name)
    with autocast(method.backbone.device, cell.config.precision):
        levels = levels_of(method, batch)
    return {block: resize_maps(maps.float().cpu(), cell.eval_size).numpy() for block, maps in levels.items()}


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    count: int = sdpa_flop_count(query, key, value)
    return count


# The fused attention of CPUs, which torch's counter does not know.
COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


@contextlib.contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count FLOPs on one core, as the counter sees one thread; torch's fused attention, which it doesn't, is off."""
    number = cores.number()
    cores.use(1)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        cores.use(number)


@torch.no_grad()
def throughput(cell: Cell, method: Method[Any], images: ImageSet, n: int = 4) -> tuple[float, float]:
    """Return images per second over `n` images without any cache, and GFLOP per image (a multiply-add counts 2)."""
    n = min(n, len(images))
    pixels = to_tensor(images.images[:n])

    def run(count: int) -> None:
        part = pixels[:count]
        with autocast(method.backbone.device, cell.config.precision):
            features = read(method.backbone, part, cell.capability.outputs)
            batch = Batch.of(method, part, images.dataset, images.object_name, features)
            scores_of(method, batch).image.sum().item()

    with counting() as counter:
        run(1)
    start = time.perf_counter()
    run(n)
    return n / (time.perf_counter() - start), counter.get_total_flops() / 1e9
