"""Why a patch is hot: the support patch that it is compared with, for methods with a memory of patches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adbench.blocks.memory_bank import nearest
from adbench.errors import ReturnError
from adbench.method import Batch, Method, Support, naming_the_method

KEPT = 64  # support images


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


def memory_of(method: Method[Any], batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what `Method.memory_of` does, in fp32; MethodError where it fails or returns something else."""
    name, count = type(method).__name__, len(batch.images)
    with naming_the_method(name, "memory_of"):
        found = method.memory_of(batch)
    shapes = [tuple(one.shape) for one in found if isinstance(one, Tensor)] if isinstance(found, tuple) else []
    fits = [len(shape) for shape in shapes] == [3, 2] and shapes[0][0] == count and shapes[0][2] == shapes[1][1]
    if not fits or math.isqrt(shapes[0][1]) ** 2 != shapes[0][1]:
        raise ReturnError(
            f"memory_of() of {name} returned {shapes or type(found).__name__}; patches ({count}, side * side, C) and "
            "rows (M, C) are needed."
        )
    return found[0].float(), found[1].float()


class Neighbours:
    """Looks up support patches; those of up to `KEPT` support images are kept between images."""

    def __init__(self, method: Method[Any], support: Support) -> None:
        self.method, self.support = method, support
        self.normal = (support.labels == 0).nonzero()[:, 0].tolist()
        self._patches: dict[int, Tensor] = {}

    @torch.no_grad()
    def explain(self, batch: Batch, heat: Tensor) -> Neighbour | None:
        """Return the support patch nearest to the hottest one of the image of a batch of one; None: no memory.

        heat: the map (S, S); its highest pixel names the patch. A memory may be thinned or of rotated images: its row
        that is nearest to the patch is looked up first, and then the patch of the normal support images that is nearest
        to that row, which in a memory of unchanged patches is the row itself.
        """
        patches, memory = memory_of(self.method, batch)
        if not len(memory):
            return None
        grid = round(patches.shape[1] ** 0.5)
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        row, column = row * grid // heat.shape[0], column * grid // heat.shape[1]
        hot = patches[0, row * grid + column]
        _, index = nearest(hot[None], memory)
        found = [(self._of(number) - memory[index]).norm(dim=1).min(0) for number in self.normal]
        best = min(range(len(found)), key=lambda place: float(found[place].values))
        number, cell = self.normal[best], int(found[best].indices)
        distance = float((hot - self._of(number)[cell]).norm())
        return Neighbour(grid, (column, row), number, (cell % grid, cell // grid), distance)

    def _of(self, number: int) -> Tensor:
        """Return the patches (P, C) of a support image."""
        if number in self._patches:
            return self._patches[number]
        one = self.support
        batch = Batch.of(self.method, one.images[number : number + 1], one.datasets[number], one.object_names[number])
        patches = memory_of(self.method, batch)[0][0]
        if len(self._patches) < KEPT:
            self._patches[number] = patches
        return patches
