from __future__ import annotations

import pytest
import torch

from adbench.blocks.jitter import frequency, high_frequencies, spatial


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_spatial_noise_by_hand() -> None:
    x = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 4, 8, generator=seeded())
    wanted = x + noise * 20 * x.pow(2).sum(-1, keepdim=True).sqrt() / 8
    torch.testing.assert_close(spatial(x, 20, seeded()), wanted)
    assert torch.equal(spatial(x, 0, seeded()), x)


def test_noise_grows_with_each_patchs_own_norm() -> None:
    x = torch.ones(1, 2, 4096) * torch.tensor([1.0, 3.0]).view(1, 2, 1)
    std = (spatial(x, 20, seeded()) - x).std(-1)[0]
    assert std.tolist() == pytest.approx([20 / 4096**0.5, 60 / 4096**0.5], rel=0.1)


def test_eight_by_eight_by_hand() -> None:
    # From distance 16 = 4² + 0² on it is 19 of 64, 0.297; from 17 on 17, from 13 = 3² + 2² on 27.
    chosen = high_frequencies(8, 0.3)
    assert chosen.sum() == 19
    assert chosen[4, 0]
    assert not chosen[3, 2]


@pytest.mark.parametrize("grid", [8, 14, 17])
def test_the_high_frequencies_are_the_farthest_and_symmetric(grid: int) -> None:
    chosen = high_frequencies(grid, 0.3)
    assert abs(chosen.float().mean() - 0.3) < 0.07
    assert not chosen[0, 0]
    assert torch.equal(chosen, chosen.flip(0, 1).roll((1, 1), (0, 1)))  # a coefficient and its conjugate
    assert not high_frequencies(grid, 0).any()
    assert high_frequencies(grid, 1).all()


@pytest.mark.parametrize("grid", [8, 17])
def test_frequency_noise_touches_no_other_frequency(grid: int) -> None:
    x = torch.randn(2, grid * grid, 5, generator=torch.Generator().manual_seed(0))
    noise = frequency(x, 20, 0.3, seeded()) - x
    power = torch.fft.fft2(noise.view(2, grid, grid, 5), dim=(1, 2)).abs().amax((0, 3))
    chosen = high_frequencies(grid, 0.3)
    assert power[~chosen].max() < 1e-3 < power[chosen].min()


def test_all_frequencies_are_spatial_noise() -> None:
    x = torch.randn(1, 64, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(frequency(x, 20, 1.0, seeded()), spatial(x, 20, seeded()), atol=1e-5, rtol=1e-4)


def test_half_precision_stays_half_and_finite() -> None:
    x = torch.full((1, 64, 4), 3.0, dtype=torch.float16)
    out = frequency(x, 20, 0.3, seeded())
    assert out.dtype == torch.float16
    assert torch.isfinite(out).all()
