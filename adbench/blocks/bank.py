"""Memory banks under the cosine: how far is a patch from everything the support has shown?"""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 1 << 24  # similarities held at once: 64 MB in fp32


def cosine_distance(queries: Tensor, bank: Tensor, cells: int = CELLS) -> Tensor:
    """Return 1 - max over rows of the cosine, (...), in [0, 2], of (..., C) queries to (M, C) bank rows.

    Both hold unit vectors: they are normalised once, by the caller. The bank passes by in chunks of at most `cells`
    similarities, of which the running maximum alone is kept.

    >>> round(float(cosine_distance(torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))), 4)
    0.2
    """
    flat = queries.reshape(-1, queries.shape[-1])
    best = flat.new_full((len(flat),), -1.0)
    for part in torch.split(bank, max(1, cells // max(1, len(flat)))):
        best = torch.maximum(best, (flat @ part.T).to(best.dtype).amax(1))
    return (1 - best).view(queries.shape[:-1])


def value_range(values: Tensor) -> Tensor:
    """Return (2,): the smallest and the largest of all values."""
    return torch.stack([values.min(), values.max()])


def rescale(values: Tensor, bounds: Tensor) -> Tensor:
    """Map `bounds` (2,) to 0 and 1, linearly; values outside land outside, so that their order is kept.

    >>> rescale(torch.tensor([2.0, 3.0, 5.0]), torch.tensor([2.0, 4.0])).tolist()
    [0.0, 0.5, 1.5]
    """
    return (values - bounds[0]) / (bounds[1] - bounds[0])
