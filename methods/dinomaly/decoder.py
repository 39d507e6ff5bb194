"""What Dinomaly trains: a bottleneck whose noise is dropout, and transformer blocks whose attention cannot focus."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.blocks.loose import EPSILON, noisy_bottleneck
from adbench.blocks.precision import in_fp32


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return (..., N, D): for each query the mean of the values (..., M, D), weighted by f(query) f(key).

    f(u) = elu(u) + 1. Without a softmax the weights are nearly even: attention spreads over the whole image. In fp32,
    also under autocast, as it sums over all tokens.
    """
    with torch.autocast(queries.device.type, enabled=False):
        q, k = F.elu(queries.float()) + 1, F.elu(keys.float()) + 1
        total = (q @ k.sum(-2)[..., None]).clamp(min=torch.finfo(torch.float32).tiny)
        return q @ (k.transpose(-2, -1) @ values.float()) / total


class LinearAttention(nn.Module):
    """Multi-head linear attention of tokens to one another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to (B, N, width)."""
        q, k, v = self.enter(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        out: Tensor = self.leave(linear_attention(q, k, v).transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """A pre-norm transformer block: attention, then an MLP, each added to what entered."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attention = LinearAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to (B, N, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class Decoder(nn.Module):
    """The bottleneck and the blocks behind it; `forward` returns what leaves each block."""

    def __init__(self, width: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.bottleneck = noisy_bottleneck(width, dropout)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Map (B, N, width) to as many (B, N, width) as there are blocks, the first block's first."""
        x, outputs = in_fp32(self.bottleneck, tokens), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs
