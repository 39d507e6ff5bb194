"""Structural similarity of feature grids (Wang et al., IEEE TIP 2004)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

K1, K2 = 0.01, 0.03


def ssim_space(x: Tensor, y: Tensor, window: int, value_range: float = 1.0) -> Tensor:
    """Return SSIM (B, N) of (B, N, C) features on a square grid, in [-1, 1]: over space, averaged over channels.

    Means, variances and the covariance are taken per channel over the `window` x `window` patches (odd) around each
    patch, with equal weights; at the border, over those that exist.
    """
    grid = round(x.shape[1] ** 0.5)

    def around(values: Tensor) -> Tensor:
        square = values.transpose(1, 2).reshape(len(values), -1, grid, grid)
        return F.avg_pool2d(square, window, 1, window // 2, count_include_pad=False)

    mean_x, mean_y = around(x), around(y)
    # Variances of the difference to the grid's mean: a large common offset would cost them their digits.
    cx, cy = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    local_x, local_y = around(cx), around(cy)
    var_x, var_y = around(cx * cx) - local_x**2, around(cy * cy) - local_y**2
    covariance = around(cx * cy) - local_x * local_y
    return _ssim(mean_x, mean_y, var_x, var_y, covariance, value_range).mean(1).flatten(1)


def ssim_channels(x: Tensor, y: Tensor, value_range: float = 1.0) -> Tensor:
    """Return SSIM (B, N) of (B, N, C) features, in [-1, 1]: within each patch, over its channels.

    >>> import torch
    >>> a = torch.tensor([[[0.0, 1.0]]])
    >>> [round(float(ssim_channels(a, b)), 3) for b in (a, 1 - a)]
    [1.0, -0.996]
    """
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    cx, cy = x - mean_x[..., None], y - mean_y[..., None]
    return _ssim(mean_x, mean_y, (cx * cx).mean(-1), (cy * cy).mean(-1), (cx * cy).mean(-1), value_range)


def _ssim(mx: Tensor, my: Tensor, vx: Tensor, vy: Tensor, cov: Tensor, value_range: float) -> Tensor:
    c1, c2 = (K1 * value_range) ** 2, (K2 * value_range) ** 2
    brightness = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
    structure = (2 * cov + c2) / (vx.clamp_min(0) + vy.clamp_min(0) + c2)
    return brightness * structure
