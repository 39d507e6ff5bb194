"""Layers that stay in fp32 where the rest of a method runs in half precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def in_fp32(layers: nn.Module, tokens: Tensor) -> Tensor:
    """Apply layers to `tokens` in fp32, also under autocast.

    For what reads a tower's stream without a norm before it: in fp16 its largest channels overflow the first product.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        out: Tensor = layers(tokens.float())
    return out
