"""Memory banks under the cosine: how far is a patch from everything the support has shown?"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

CELLS = 1 << 24  # similarities held at once: 64 MB in fp32


def cosine_distance(queries: Tensor, bank: Tensor, cells: int = CELLS, run_precision: bool = False) -> Tensor:
    """Return 1 - max over rows of the cosine, (...), in [0, 2], of (..., C) queries to (M, C) bank rows.

    Both hold unit vectors: they are normalised once, by the caller. The bank passes by in chunks of at most `cells`
    similarities, of which the running maximum alone is kept. In fp32, also under autocast; `run_precision` leaves the
    product to autocast, where cosines near 1 are 0.0005 (fp16) or 0.004 (bf16) apart.

    >>> round(float(cosine_distance(torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))), 4)
    0.2
    """
    flat = queries.float().reshape(-1, queries.shape[-1])
    best = flat.new_full((len(flat),), -1.0)
    with nullcontext() if run_precision else torch.autocast(flat.device.type, enabled=False):
        for part in torch.split(bank.float(), max(1, cells // max(1, len(flat)))):
            best = torch.maximum(best, (flat @ part.T).to(best.dtype).amax(1))
    return (1 - best).view(queries.shape[:-1])
