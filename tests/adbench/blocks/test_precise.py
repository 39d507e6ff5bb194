"""Layers in fp32 under autocast."""

from __future__ import annotations

import torch
from torch import nn

from adbench.blocks.precise import in_fp32


def test_a_product_above_65504_survives_fp16() -> None:
    layer, tokens = nn.Linear(2, 1, bias=False), torch.tensor([[6e4, 6e4]], dtype=torch.float16)
    nn.init.ones_(layer.weight)
    with torch.autocast("cpu", torch.float16):
        assert layer(tokens).isinf().all()
        found = in_fp32(layer, tokens)
    assert found.dtype == torch.float32
    assert found.item() == 2 * tokens[0, 0].item()
