"""Branch fusion: scores of a text branch and of a memory-bank branch, rescaled and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Branches(NamedTuple):
    """Scores of both branches, of one shape: pixels (B, H, W) or images (B,). `bank` is None for text alone."""

    text: Tensor
    bank: Tensor | None


def bounds(scores: Branches) -> Tensor:
    """Return (branches, 2): the smallest and the largest value of each branch."""
    return torch.stack([torch.stack([branch.min(), branch.max()]) for branch in scores if branch is not None])


def widest(batches: Sequence[Tensor]) -> Tensor:
    """Return the bounds (branches, 2) over all images from those of several batches."""
    low, high = torch.stack(list(batches)).unbind(-1)
    return torch.stack([low.amin(0), high.amax(0)], dim=-1)


def rescale(values: Tensor, limits: Tensor) -> Tensor:
    """Map `limits` (2,) to 0 and 1, linearly. Values outside are not clipped, so that their order is kept.

    >>> rescale(torch.tensor([2.0, 3.0, 5.0]), torch.tensor([2.0, 4.0])).tolist()
    [0.0, 0.5, 1.5]
    """
    return (values - limits[0]) / (limits[1] - limits[0])


def fuse(scores: Branches, scale: Tensor, text_share: float) -> Tensor:
    """Return the weighted sum of both branches, rescaled by their bounds `scale` (2, 2); text alone is not rescaled."""
    if scores.bank is None:
        return scores.text
    return text_share * rescale(scores.text, scale[0]) + (1 - text_share) * rescale(scores.bank, scale[1])
