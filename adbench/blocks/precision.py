"""Computations that stay in fp32 where the rest of a method runs in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def in_fp32(layers: nn.Module, tokens: Tensor) -> Tensor:
    """Apply layers to `tokens` in fp32, also under autocast.

    For layers that read a transformer's residual stream without a norm first: in fp16 its largest channels overflow.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        out: Tensor = layers(tokens.float())
    return out


def l2_normalize(vectors: Tensor) -> Tensor:
    """Scale vectors (..., C) of any dtype to unit length, in fp32; a zero vector stays zero.

    In fp16 torch's smallest length, 1e-12, rounds to 0, and the length of a large vector overflows.

    >>> l2_normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    return F.normalize(vectors.float(), dim=-1)
