"""What INP-Former trains: prototypes that collect an image's patches, and blocks that see these prototypes alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench.blocks.loose import EPSILON, noisy_bottleneck
from adbench.blocks.precision import in_fp32, l2_normalize


class Attention(nn.Module):
    """Multi-head attention of (B, N, width) to a source (B, M, width), by softmax of scaled products."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.offer, self.leave = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return (B, heads, N, M) of queries (B, heads, N, D) and keys (B, heads, M, D)."""
        return (queries @ keys.transpose(-2, -1) * queries.shape[-1] ** -0.5).softmax(-1)

    def forward(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Map (B, N, width) and (B, M, width) to (B, N, width)."""
        queries = self.ask(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys, values = self.offer(source).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = self.weights(queries, keys) @ values
        out: Tensor = self.leave(seen.transpose(1, 2).flatten(2))
        return out


class CosineAttention(Attention):
    """Attention by cosines, times a learned scale for each head; below zero it is none."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.scale = nn.Parameter(torch.ones(heads, 1, 1))

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return (B, heads, N, M): the rows don't sum to 1, and are zero where a query resembles no key."""
        return (l2_normalize(queries) @ l2_normalize(keys).transpose(-2, -1) * self.scale).relu()


class Block(nn.Module):
    """A pre-norm block of attention to a source, then an MLP, which is added to what entered it.

    What the attention finds is added to the tokens too (`keep`), or takes their place.
    """

    def __init__(self, width: int, attention: Attention, keep: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, EPSILON), nn.LayerNorm(width, EPSILON)
        self.attention, self.keep = attention, keep
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, source: Tensor) -> Tensor:
        """Map (B, N, width) and (B, M, width) to (B, N, width); one norm serves both."""
        seen = self.attention(self.norm1(tokens), self.norm1(source))
        tokens = tokens + seen if self.keep else seen
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class PrototypeDecoder(nn.Module):
    """Prototypes of an image, the bottleneck, and the blocks behind it, which see the image through its prototypes."""

    def __init__(self, width: int, heads: int, blocks: int, prototypes: int, dropout: float) -> None:
        super().__init__()
        self.bottleneck = noisy_bottleneck(width, dropout)
        self.prototypes = nn.Parameter(torch.randn(prototypes, width))
        self.extractor = Block(width, Attention(width, heads), keep=True)
        self.blocks = nn.ModuleList(Block(width, CosineAttention(width, heads), keep=False) for _ in range(blocks))

    def forward(self, patches: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map (B, N, width) to what leaves each block, (B, N, width), and to the prototypes (B, prototypes, width)."""
        prototypes = self.extractor(self.prototypes.repeat(len(patches), 1, 1), patches)
        x, outputs = in_fp32(self.bottleneck, patches), []
        for block in self.blocks:
            x = block(x, prototypes)
            outputs.append(x)
        return outputs, prototypes


def coherence(patches: Tensor, prototypes: Tensor) -> Tensor:
    """Return the mean over patches (B, N, width) of 1 - cosine to the nearest of the image's prototypes (B, M, width).

    >>> patches = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    >>> float(coherence(patches, torch.tensor([[[2.0, 0.0], [-1.0, 0.0]]])))  # 0 and 1
    0.5
    """
    with torch.autocast(patches.device.type, enabled=False):
        cosines = l2_normalize(patches) @ l2_normalize(prototypes).transpose(-2, -1)
    return (1 - cosines.amax(-1)).mean()
