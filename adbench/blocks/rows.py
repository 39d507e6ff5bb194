"""Training data by row. On a GPU they lie in its memory within a bound, and a batch of them is one index there.

What is beyond the bound lies in pinned memory of the machine, from which a GPU copies without waiting for the CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

GB = 10**9
CPU = torch.device("cpu")


class Rows(Dataset[list[Tensor]]):
    """Tensors (N, ...), of which row i belongs to one image."""

    def __init__(self, *tensors: Tensor) -> None:
        assert len({len(tensor) for tensor in tensors}) == 1
        self.device = CPU
        self.tensors = list(tensors)

    def placed(self, device: torch.device, gb: float) -> Self:
        """Hand out batches on a device from now on; a GPU takes the smallest tensors, as many as `gb` GB hold.

        Where a tensor lies changes no number.
        """
        self.device = device
        there = fitting([size_of(tensor) for tensor in self.tensors], gb) if device.type != "cpu" else []
        for place, tensor in enumerate(self.tensors):
            if place in there:
                self.tensors[place] = tensor.to(device)
            elif device.type != "cpu":
                self.tensors[place] = tensor.pin_memory()
        return self

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, row: int) -> list[Tensor]:
        """Return one row of each tensor, where it lies."""
        return [tensor[row] for tensor in self.tensors]

    def __getitems__(self, rows: Sequence[int]) -> list[Tensor]:
        """Return a batch of rows, (B, ...) each: the same as stacking them one by one. A DataLoader calls this."""
        index = torch.tensor(rows)
        if self.device.type == "cpu":
            return [tensor.index_select(0, index) for tensor in self.tensors]
        there = index.pin_memory().to(self.device, non_blocking=True)
        return [
            tensor.index_select(0, there) if tensor.device.type != "cpu" else self._copied(tensor, rows)
            for tensor in self.tensors
        ]

    def _copied(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        made = torch.empty((len(rows), *tensor.shape[1:]), dtype=tensor.dtype, device=self.device)
        for place, row in enumerate(rows):
            made[place].copy_(tensor[row], non_blocking=True)
        return made


def in_batches(
    data: Rows,
    batch_size: int,
    *,
    shuffle: bool = False,
    sampler: Sampler[int] | None = None,
    generator: torch.Generator | None = None,
) -> DataLoader[list[Tensor]]:
    """Return batches of rows, [(B, ...), ...], in the order that a DataLoader of these arguments has."""
    return DataLoader(
        data, batch_size, shuffle=shuffle, sampler=sampler, generator=generator, collate_fn=_as_they_are
    )  # fmt: skip


def _as_they_are(batch: list[Tensor]) -> list[Tensor]:
    return batch


def fitting(sizes: Sequence[int], gb: float) -> list[int]:
    """Return the places of the smallest of some sizes, in bytes, that `gb` GB hold together.

    >>> fitting([5 * GB, GB, 2 * GB], gb=3)
    [1, 2]
    """
    order = sorted(range(len(sizes)), key=lambda place: sizes[place])
    totals = itertools.accumulate(sizes[place] for place in order)
    return sorted(place for place, total in zip(order, totals, strict=True) if total <= gb * GB)


def size_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor's values."""
    return tensor.numel() * tensor.element_size()


def names_of(names: Sequence[str], numbers: Tensor) -> list[str]:
    """Return the name of each number (B,). Where there is one name no number is read, which a GPU would wait for.

    >>> names_of(["Brain", "Liver"], torch.tensor([1, 0])), names_of(["Brain"], torch.tensor([0, 0]))
    (['Liver', 'Brain'], ['Brain', 'Brain'])
    """
    return [names[0]] * len(numbers) if len(names) == 1 else [names[number] for number in numbers.tolist()]


def common(flags: Tensor) -> bool | None:
    """Return the value of flags (N,) where all have the same, else None.

    >>> common(torch.tensor([True, True])), common(torch.tensor([True, False]))
    (True, None)
    """
    return bool(flags[0]) if len(flags) and bool((flags == flags[0]).all()) else None


def rows_with(flags: Tensor, known: bool | None) -> slice | Tensor | None:
    """Return the rows of a batch whose flags (B,) are true: as a slice where all are, and None where none is.

    known: the value of all flags of the training data (`common`). Where there is one no flag is read.

    >>> rows_with(torch.tensor([True, True]), True), rows_with(torch.tensor([False]), None)
    (slice(None, None, None), None)
    """
    if known is None:
        known = common(flags)
        if known is None:
            return flags
    return slice(None) if known else None
