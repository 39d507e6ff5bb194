from __future__ import annotations

import numpy as np
import pytest
import torch

from adbench.blocks.ssim import ssim_channels, ssim_space


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    c1, c2 = 0.01**2, 0.03**2
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    brightness = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return float(brightness * (2 * covariance + c2) / (x.var() + y.var() + c2))


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, 16, 3, generator=g), torch.randn(2, 16, 3, generator=g)


def test_over_space_by_hand_inside_and_at_the_corner(pair) -> None:
    x, y = pair
    found = ssim_space(x, y, 3)
    assert found.shape == (2, 16)
    sx, sy = (t[1].view(4, 4, 3).double().numpy() for t in pair)
    for place, window in (((1, 2), np.s_[0:3, 1:4]), ((0, 0), np.s_[0:2, 0:2]), ((3, 1), np.s_[2:4, 0:3])):
        wanted = np.mean([by_hand(sx[..., c][window], sy[..., c][window]) for c in range(3)])
        assert float(found[1, place[0] * 4 + place[1]]) == pytest.approx(wanted, abs=1e-5)


def test_over_channels_by_hand(pair) -> None:
    x, y = pair
    assert float(ssim_channels(x, y)[0, 5]) == pytest.approx(
        by_hand(x[0, 5].double().numpy(), y[0, 5].double().numpy()), abs=1e-5
    )


def test_the_same_features_are_alike_and_bounds_hold(pair) -> None:
    x, y = pair
    for rule in (lambda a, b: ssim_space(a, b, 3), ssim_channels):
        torch.testing.assert_close(rule(x, x), torch.ones(2, 16))
        torch.testing.assert_close(rule(x, y), rule(y, x))
        assert rule(x, y).abs().max() <= 1 + 1e-6


def test_constant_features_and_a_large_offset_are_finite(pair) -> None:
    flat = torch.full((1, 16, 3), 5.0)
    torch.testing.assert_close(ssim_space(flat, flat, 3), torch.ones(1, 16))
    x = pair[0] * 0.01 + 300
    assert (ssim_space(x, x, 3) - 1).abs().max() < 1e-3


def test_the_value_range_scales_with_the_values(pair) -> None:
    x, y = pair
    torch.testing.assert_close(ssim_space(x * 8, y * 8, 3, 8.0), ssim_space(x, y, 3, 1.0), atol=1e-4, rtol=1e-4)
