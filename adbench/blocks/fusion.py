"""Two branches that judge the same images, as text and memory bank do, brought to one scale and summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Branches(NamedTuple):
    """What text and bank say, both of one shape: (B, H, W) of pixels or (B,) of images. Without a bank, text alone."""

    text: Tensor
    bank: Tensor | None


def bounds(said: Branches) -> Tensor:
    """Return (branches, 2): the smallest and the largest value of each branch."""
    return torch.stack([torch.stack([own.min(), own.max()]) for own in said if own is not None])


def widest(seen: Sequence[Tensor]) -> Tensor:
    """Return the bounds (branches, 2) of all images, from those of several batches."""
    low, high = torch.stack(list(seen)).unbind(-1)
    return torch.stack([low.amin(0), high.amax(0)], dim=-1)


def rescale(values: Tensor, own: Tensor) -> Tensor:
    """Map the bounds `own` (2,) to 0 and 1, linearly; values outside land outside, so that their order is kept.

    >>> rescale(torch.tensor([2.0, 3.0, 5.0]), torch.tensor([2.0, 4.0])).tolist()
    [0.0, 0.5, 1.5]
    """
    return (values - own[0]) / (own[1] - own[0])


def fuse(said: Branches, scale: Tensor, text_share: float) -> Tensor:
    """Return the weighted sum of both branches, each rescaled by its bounds in `scale` (2, 2); text alone as it is."""
    if said.bank is None:
        return said.text
    return text_share * rescale(said.text, scale[0]) + (1 - text_share) * rescale(said.bank, scale[1])
