"""Why a patch is hot: the support patch that it is compared with, for methods with a memory of patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adbench.blocks.memory_bank import nearest
from adbench.method import Batch, Method, Support


@dataclass(frozen=True)
class Neighbour:
    """The hottest patch of an image, and the most similar one of the support.

    patch, of: (column, row) in grids of `grid` x `grid` patches. support: the row of the support image.
    distance: between the two, Euclidean, in the space in which the method compares them.
    """

    grid: int
    patch: tuple[int, int]
    support: int
    of: tuple[int, int]
    distance: float


def has_memory(method: Method[Any]) -> bool:
    """Whether a method compares patches with a memory of the support."""
    return type(method).memory_of is not Method.memory_of and not method.declared.transductive


@torch.no_grad()
def explain(method: Method[Any], batch: Batch, heat: Tensor, support: Support) -> Neighbour | None:
    """Return the support patch nearest to the hottest one of the image of a batch of one; None: its memory is empty.

    heat: the map (S, S); its highest pixel names the patch. A memory may be thinned or of rotated images: its row that
    is nearest to the patch is looked up first, and then the patch of the normal support images that is nearest to that
    row, which in a memory of unchanged patches is the row itself.
    """
    patches, memory = method.memory_of(batch)
    if not len(memory):
        return None
    grid = round(patches.shape[1] ** 0.5)
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    row, column = row * grid // heat.shape[0], column * grid // heat.shape[1]
    _, index = nearest(patches[0, row * grid + column][None], memory)
    normal = (support.labels == 0).nonzero()[:, 0]
    best, place = torch.inf, 0
    for number, one in enumerate(normal.tolist()):
        images = support.images[one : one + 1]
        theirs, _ = method.memory_of(Batch.of(method, images, support.datasets[one], support.object_names[one]))
        distances = (theirs[0] - memory[index]).norm(dim=1)
        if float(distances.min()) < best:
            best, place = float(distances.min()), number * grid * grid + int(distances.argmin())
            found = theirs[0, place % (grid * grid)]
    number, cell = divmod(place, grid * grid)
    distance = float((patches[0, row * grid + column] - found).norm())
    return Neighbour(grid, (column, row), int(normal[number]), (cell % grid, cell // grid), distance)
