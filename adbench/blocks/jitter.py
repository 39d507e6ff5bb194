"""Feature jitter: Gaussian noise on patch features, which a denoiser learns to remove (UniAD)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spatial(tokens: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to (B, N, C) of standard deviation scale x the patch's norm / C (UniAD, Sec. 3.3)."""
    noise = torch.randn(tokens.shape, generator=generator).to(tokens)
    return tokens + noise * (scale / tokens.shape[-1]) * tokens.norm(dim=-1, keepdim=True)


def high_frequencies(grid: int, share: float) -> Tensor:
    """Return (grid, grid) bool, true for the `share` of a spectrum's coefficients farthest from frequency zero.

    Coefficients at equal distance stay together, so that the set is symmetric and noise on it is real. Its size is the
    possible one nearest to the share.

    >>> high_frequencies(4, 0.3).int().tolist()
    [[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1], [0, 0, 1, 0]]
    """
    f = torch.fft.fftfreq(grid) * grid
    distance = (f[:, None] ** 2 + f**2).round()
    cuts = [*distance.unique().tolist(), math.inf]
    return distance >= min(cuts, key=lambda cut: abs(float((distance >= cut).float().mean()) - share))


def frequency(tokens: Tensor, scale: float, share: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to the `share` highest spatial frequencies of (B, N, C) on a square grid, per channel.

    The noise is that of `spatial`, filtered to these frequencies, so that the share of its energy is left.
    """
    grid = round(tokens.shape[1] ** 0.5)
    noise = (spatial(tokens, scale, generator) - tokens).float()
    spectrum = torch.fft.fft2(noise.reshape(len(tokens), grid, grid, -1), dim=(1, 2))
    kept = spectrum * high_frequencies(grid, share).to(tokens.device)[None, :, :, None]
    return tokens + torch.fft.ifft2(kept, dim=(1, 2)).real.flatten(1, 2).to(tokens.dtype)
