"""A transformer that puts patch features back where the normal data have them (UniAD, You et al., NeurIPS 2022).

Its decoder asks with learned queries and its attentions can be kept from each patch's own neighbourhood, so that the
shortest way to a small loss, copying the input, is closed: what it has never seen comes out changed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adbench.errors import AdbenchError

SENSES = ("blocked", "allowed", "none")


def neighbour_mask(grid: int, size: int, sense: str = "blocked") -> Tensor | None:
    """Return (grid², grid²) bool, true where row may not attend to column, or none for the sense `none`.

    `blocked`: a patch may not see the `size` x `size` patches around it, itself included, as in UniAD. `allowed`: it
    sees nothing else. A window that leaves some patch nothing to see, and an even one, are errors.

    >>> neighbour_mask(3, 1, "blocked")[0].tolist()
    [True, False, False, False, False, False, False, False, False]
    """
    if sense == "none":
        return None
    if size < 1 or size % 2 == 0:
        raise AdbenchError(
            f"method.neighbours={size} is not possible: an odd number is needed, or 0 for half the grid."
        )
    reach = size // 2
    if sense == "blocked" and reach >= grid // 2:
        raise AdbenchError(
            f"method.neighbours={size} is not possible on {grid} x {grid} patches: the one in the middle would see "
            f"none. Give at most {max(0, grid // 2 * 2 - 1)}, or method.mask=none."
        )
    row, column = torch.arange(grid).repeat_interleave(grid), torch.arange(grid).repeat(grid)
    apart = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    return apart <= reach if sense == "blocked" else apart > reach


def half_grid(grid: int) -> int:
    """Return the largest odd window that is at most half of the grid wide, at least 1: 7 for UniAD's 14.

    >>> [half_grid(grid) for grid in (14, 8, 24, 1)]
    [7, 3, 11, 1]
    """
    half = max(1, grid // 2)
    return half - 1 + half % 2


class GridPosition(nn.Module):
    """Learned positions: half of the channels tell the column, half the row."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.column = nn.Parameter(nn.init.uniform_(torch.empty(grid, width // 2)))
        self.row = nn.Parameter(nn.init.uniform_(torch.empty(grid, width // 2)))

    def forward(self) -> Tensor:
        """Return (grid², width)."""
        grid = len(self.row)
        return torch.cat([self.column.repeat(grid, 1), self.row.repeat_interleave(grid, 0)], dim=1)


class Attend(nn.Module):
    """One post-norm step: attention, dropout, residual, layer norm."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, values: Tensor, mask: Tensor | None = None, position: Tensor | float = 0.0) -> Tensor:
        """Let (B, N, W) look at (B, M, W); `position` joins queries and keys, not values."""
        seen = self.attention(x + position, values + position, values, attn_mask=mask, need_weights=False)[0]
        return self.norm(x + self.dropout(seen))


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
    """Learned queries look at the encoder's output, then at the previous layer's."""

    def __init__(self, patches: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(patches, width))
        self.memory = Attend(width, heads, dropout)
        self.previous = Attend(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(self, out: Tensor, memory: Tensor, mask: Tensor | None, position: Tensor) -> Tensor:
        """Map (B, N, W) and (B, N, W) to (B, N, W)."""
        # A copy: a view of a parameter breaks torch's counting of operations without gradient.
        x = self.memory(self.queries.repeat(len(memory), 1, 1), memory, mask, position)
        return self.feed_forward(self.previous(x, out, mask, position))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attend = Attend(width, heads, dropout)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(self, x: Tensor, mask: Tensor | None, position: Tensor) -> Tensor:
        """Map (B, N, W) to (B, N, W)."""
        return self.feed_forward(self.attend(x, x, mask, position))


class Denoiser(nn.Module):
    """UniAD's encoder and decoder on a square grid of patches; `mask` (N, N) holds in all three attentions."""

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


def initialise(module: nn.Module) -> None:
    """Give every linear layer below `module` Xavier-uniform weights and zero biases, as UniAD does."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
