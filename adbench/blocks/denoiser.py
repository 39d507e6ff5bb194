"""Denoising transformer: reconstructs patch features of normal images (UniAD, You et al., NeurIPS 2022).

Learned queries in the decoder, and attention masked in each patch's neighbourhood, keep it from copying its input, so
that abnormal features, on which it was not trained, are reconstructed badly.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from adbench.blocks.validate import at_least, choices, shares
from adbench.errors import AdbenchError

MASKS = ("blocked", "allowed", "none")


class DenoiserParams(Protocol):
    """A method's parameters of its denoiser; `neighbours` is the side of the masked window, 0 for half of the grid."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    feed_forward: int
    dropout: float
    neighbours: int
    mask: str


def check(params: DenoiserParams) -> None:
    """Raise AdbenchError for parameters that no grid allows."""
    choices(params, mask=MASKS)
    at_least(params, 0, "encoder_layers", "decoder_layers", "neighbours", most=1001)
    at_least(params, 1, "heads", "feed_forward", "width", most=65536)
    shares(params, "dropout")
    if params.width % (2 * params.heads):
        raise AdbenchError(
            f"method.width={params.width} is not possible with method.heads={params.heads}: give a multiple of "
            f"{2 * params.heads}."
        )


def neighbour_mask(grid: int, size: int, kind: str = "blocked") -> Tensor | None:
    """Return (grid², grid²) bool, true where row may not attend to column, or none for `none`.

    `blocked`: a patch may not attend to the `size` x `size` window around it, itself included, as in UniAD. `allowed`:
    it attends to this window alone. An even `size`, and one that masks every patch for some patch, are errors.

    >>> neighbour_mask(3, 1, "blocked")[0].tolist()
    [True, False, False, False, False, False, False, False, False]
    """
    if kind == "none":
        return None
    if size < 1 or size % 2 == 0:
        raise AdbenchError(
            f"method.neighbours={size} is not possible: an odd number is needed, or 0 for half the grid."
        )
    reach = size // 2
    if kind == "blocked" and reach >= grid // 2:
        raise AdbenchError(
            f"method.neighbours={size} is not possible on {grid} x {grid} patches: the one in the middle would see "
            f"none. Give at most {max(0, grid // 2 * 2 - 1)}, or method.mask=none."
        )
    row, column = torch.arange(grid).repeat_interleave(grid), torch.arange(grid).repeat(grid)
    distance = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return distance <= reach if kind == "blocked" else distance > reach


def half_grid(grid: int) -> int:
    """Return the largest odd window that is at most half of the grid wide, at least 1: 7 for UniAD's 14.

    >>> [half_grid(grid) for grid in (14, 8, 24, 1)]
    [7, 3, 11, 1]
    """
    half = max(1, grid // 2)
    return half - 1 + half % 2


class GridPosition(nn.Module):
    """Learned positional embedding: half of the channels for the column, half for the row."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.column = nn.Parameter(nn.init.uniform_(torch.empty(grid, width // 2)))
        self.row = nn.Parameter(nn.init.uniform_(torch.empty(grid, width // 2)))

    def forward(self) -> Tensor:
        """Return (grid², width)."""
        grid = len(self.row)
        return torch.cat([self.column.repeat(grid, 1), self.row.repeat_interleave(grid, 0)], dim=1)


class Attention(nn.Module):
    """One post-norm step: attention, dropout, residual, layer norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, values: Tensor, mask: Tensor | None = None, position: Tensor | float = 0.0) -> Tensor:
        """Attend from (B, N, W) to (B, M, W); `position` is added to queries and keys, not to values."""
        out = self.attention(x + position, values + position, values, attn_mask=mask, need_weights=False)[0]
        return self.norm(x + self.dropout(out))


class FeedForward(nn.Module):
    """One post-norm step: two linear layers, dropout, residual, layer norm."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., W) to (..., W)."""
        return self.norm(x + self.dropout(self.layers(x)))


class DecoderLayer(nn.Module):
    """Attention from learned queries to the encoder's output, then to the previous layer's; feed-forward."""

    def __init__(self, patches: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(patches, width))
        self.memory = Attention(width, heads, dropout)
        self.previous = Attention(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(self, out: Tensor, memory: Tensor, mask: Tensor | None, position: Tensor) -> Tensor:
        """Map (B, N, W) and (B, N, W) to (B, N, W)."""
        # A copy: a view of a parameter breaks the operation counter of torch without gradients.
        x = self.memory(self.queries.repeat(len(memory), 1, 1), memory, mask, position)
        return self.feed_forward(self.previous(x, out, mask, position))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attend = Attention(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(self, x: Tensor, mask: Tensor | None, position: Tensor) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        return self.feed_forward(self.attend(x, x, mask, position))


class Denoiser(nn.Module):
    """UniAD's encoder and decoder on a square grid of patches; `mask` (N, N) applies to all three attentions."""

    mask: Tensor | None

    def __init__(
        self,
        grid: int,
        width: int,
        heads: int,
        encoder_layers: int,
        decoder_layers: int,
        hidden: int,
        dropout: float,
        mask: Tensor | None,
    ) -> None:
        super().__init__()
        self.position = GridPosition(grid, width)
        self.encoder = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(
            DecoderLayer(grid * grid, width, heads, hidden, dropout) for _ in range(decoder_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, width) to (B, N, width)."""
        position, memory = self.position(), tokens
        for encode in self.encoder:
            memory = encode(memory, self.mask, position)
        out = memory
        for decode in self.decoder:
            out = decode(out, memory, self.mask, position)
        normed: Tensor = self.norm(out)
        return normed


def denoiser_of(params: DenoiserParams, grid: int) -> Denoiser:
    """Create a method's denoiser on a grid; its window on other grids than UniAD's follows the grid (`half_grid`)."""
    mask = neighbour_mask(grid, params.neighbours or half_grid(grid), params.mask)
    return Denoiser(
        grid, params.width, params.heads, params.encoder_layers, params.decoder_layers, params.feed_forward,
        params.dropout, mask,
    )  # fmt: skip


def initialise(module: nn.Module) -> None:
    """Give every linear layer below `module` Xavier-uniform weights and zero biases, as UniAD does."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
