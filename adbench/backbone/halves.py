"""One image through a block of open_clip on two cores: each computes half of the heads and of the hidden channels.

As Megatron-LM splits a block over devices (Shoeybi et al., 2019). The halves are added in their order, so that the
number of cores changes no bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.backbone.attention import by_head
from adbench.system.pieces import Piece, compute


def helps(block: Any, stream: Tensor) -> bool:
    """Whether a stream (B, L, width) is to be split: that of one image in training, on a CPU, in open_clip's block."""
    from adbench.backbone.openclip import ResidualAttentionBlock

    trained = stream.requires_grad and torch.is_grad_enabled()
    if len(stream) > 1 or not trained or stream.device.type != "cpu" or type(block) is not ResidualAttentionBlock:
        return False
    return bool(block.attn.num_heads > 1)


def run(block: Any, stream: Tensor) -> Tensor:
    """Run a stream (B, L, width) through a frozen `ResidualAttentionBlock` without a mask, in two halves."""
    stream = stream + block.ls_1(_added(_attended, block.attn, block.ln_1(stream), block.attn.out_proj.bias))
    return stream + block.ls_2(_added(_hidden, block.mlp, block.ln_2(stream), block.mlp.c_proj.bias))


def _added(function: Callable[[Any, int, Tensor], Tensor], layers: nn.Module, inputs: Tensor, bias: Tensor) -> Tensor:
    work = [Piece(lambda some, half=half: (function(layers, half, some),), (inputs,)) for half in (0, 1)]
    (one,), (two,) = compute(work)
    return one + two + bias


def _attended(attention: Any, half: int, inputs: Tensor) -> Tensor:
    """Attend with half of the heads, and project what they found."""
    heads, size = attention.num_heads, attention.head_dim
    first, last = ((0, heads // 2), (heads // 2, heads))[half]
    some = slice(first * size, last * size)
    projections = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    found = by_head((F.linear(inputs, weight[some], bias[some]) for weight, bias in projections), last - first)
    return F.linear(found, attention.out_proj.weight[:, some])


def _hidden(mlp: Any, half: int, inputs: Tensor) -> Tensor:
    """Compute half of the hidden channels, and project them."""
    weight, bias = (each.chunk(2)[half] for each in (mlp.c_fc.weight, mlp.c_fc.bias))
    return F.linear(mlp.gelu(F.linear(inputs, weight, bias)), mlp.c_proj.weight.chunk(2, dim=1)[half])
