"""What stays in fp32 where the rest of a method runs in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def in_fp32(layers: nn.Module, tokens: Tensor) -> Tensor:
    """Apply layers to `tokens` in fp32, also under autocast.

    For what reads a tower's stream without a norm before it: in fp16 its largest channels overflow the first product.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        out: Tensor = layers(tokens.float())
    return out


def unit(vectors: Tensor) -> Tensor:
    """Divide vectors (..., C) of any precision by their lengths, in fp32; a vector of zeros stays one.

    In fp16 itself torch's smallest length, 1e-12, is 0, and the length of a loud vector is infinite.
    """
    return F.normalize(vectors.float(), dim=-1)
