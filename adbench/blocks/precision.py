"""Computations that stay in fp32 where the rest of a method runs in half precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


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
    vectors = vectors.float()
    return vectors / lengths(vectors).clamp(min=1e-12)


def lengths(vectors: Tensor) -> Tensor:
    """Return the lengths (..., 1) of fp32 vectors (..., C); the gradient at a zero vector is 0.

    The same bits as torch's norm, forward and backward: its backward pass fills zeros by a mask in the vectors' shape,
    which on a CPU takes as long as its arithmetic.

    >>> lengths(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[5.0], [0.0]]
    """
    found: Tensor = _Lengths.apply(vectors)
    return found


class _Lengths(Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        found = vectors.norm(dim=-1, keepdim=True)
        ctx.save_for_backward(vectors, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        vectors, found = ctx.saved_tensors
        return (vectors / found.masked_fill(found == 0, 1)).mul_(given)
