"""Smoothing of anomaly maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian(maps: Tensor, sigma: float) -> Tensor:
    """Blur (B, H, W) maps with a Gaussian of `sigma` pixels, cut at 4 sigma, edges reflected; 0 does nothing.

    In fp32, also under autocast, which would round every pixel.
    """
    if sigma == 0:
        return maps
    maps = maps.float()
    radius = min(int(4 * sigma + 0.5), min(maps.shape[-2:]) - 1)
    x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps[:, None], (radius, radius, radius, radius), mode="reflect")
    with torch.autocast(maps.device.type, enabled=False):
        rows = F.conv2d(padded, kernel.view(1, 1, 1, -1))
        return F.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]
