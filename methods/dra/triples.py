"""What DRA learns from: a normal image, a seen anomaly and a pseudo anomaly at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adbench.blocks import synthesis

TASKS = ("moved", "cutmix", "cutpaste", "gauss", "source")
Triple = tuple[Tensor, Tensor, Tensor]


class PseudoAnomalies:
    """Any number of pseudo anomalies: number i is a random normal image, changed by one of the tasks.

    Each has its own random generator, so that it is the same wherever and in whatever order it is made.
    """

    def __init__(self, images: Tensor, tasks: Sequence[str], sides: Sequence[float], seed: int) -> None:
        """Change normal images, uint8 (N, C, H, W), by tasks of TASKS; `sides` of the first two's rectangle."""
        self.sources, self.seed = list(images.numpy()), seed
        rectangles = {"moved": synthesis.moved(sides), "cutmix": synthesis.cutmix(self.sources, sides)}
        self.tasks = [rectangles.get(name) or synthesis.tasks([name], self.sources)[0] for name in tasks]

    def __getitem__(self, number: int) -> Tensor:
        g = np.random.default_rng([self.seed, number])
        source = self.sources[int(g.integers(len(self.sources)))]
        task = self.tasks[int(g.integers(len(self.tasks)))]
        return torch.from_numpy(task(source, g)[0])

    def first(self, count: int) -> Tensor:
        """Return pseudo anomalies 0 to `count` - 1, (count, C, H, W)."""
        return torch.stack([self[number] for number in range(count)])


class Triples(Dataset[Triple]):
    """Triples drawn at random, with replacement: item i is always the same one.

    normal, seen: the patches (N, P, C) of normal images and of anomalies. pseudo: those of pseudo anomalies, or
    `PseudoAnomalies`, of which an item gets the image with its own number.
    """

    def __init__(self, normal: Tensor, seen: Tensor, pseudo: Tensor | PseudoAnomalies, seed: int) -> None:
        self.normal, self.seen, self.pseudo, self.seed = normal, seen, pseudo, seed

    def __getitem__(self, index: int) -> Triple:
        g = np.random.default_rng([self.seed, index])
        normal, seen = (rows[int(g.integers(len(rows)))] for rows in (self.normal, self.seen))
        if isinstance(self.pseudo, PseudoAnomalies):
            return normal, seen, self.pseudo[index]
        return normal, seen, self.pseudo[int(g.integers(len(self.pseudo)))]

    def __len__(self) -> int:
        return 2**31 - 1
