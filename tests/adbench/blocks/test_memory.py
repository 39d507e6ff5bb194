from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from adbench.blocks.memory import coreset, nearest
from adbench.blocks.smooth import gaussian
from adbench.errors import AdbenchError


def test_nearest_equals_brute_force_in_any_chunks() -> None:
    g = torch.Generator().manual_seed(0)
    queries, bank = torch.randn(50, 7, generator=g), torch.randn(31, 7, generator=g)
    wanted = (queries[:, None] - bank[None]).norm(dim=-1).min(1)
    for chunk in (1, 8, 100):
        distance, index = nearest(queries, bank, chunk)
        torch.testing.assert_close(distance, wanted.values)
        assert torch.equal(index, wanted.indices)


def test_a_row_of_the_bank_is_at_distance_zero_exactly() -> None:
    bank = 100 + torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(nearest(bank, bank)[0], torch.zeros(20))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_finds_the_same_neighbour(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    offset = 3 * torch.randn(64, generator=g)  # as patches have, which lie far from zero and close to one another
    queries, bank = (offset + 0.3 * torch.randn(n, 64, generator=g) for n in (200, 500))
    wanted = nearest(queries, bank)
    with torch.autocast("cpu", dtype):
        found = nearest(queries, bank)
        half = bank.square().sum(1) / 2
        rounded = (half - queries @ bank.T).argmin(1)
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    assert not torch.equal(rounded, wanted[1])


def test_the_coreset_takes_the_farthest_row_each_time() -> None:
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0], [5.2]])
    for seed in range(5):
        taken = coreset(points, 0.6, torch.Generator().manual_seed(seed)).tolist()
        assert len(set(taken)) == 3
        for i in (1, 2):
            distance = torch.stack([(points - points[j]).abs()[:, 0] for j in taken[:i]]).min(0).values
            assert float(distance[taken[i]]) == float(distance.max())


def test_the_coreset_keeps_its_share_and_its_seed() -> None:
    points = torch.randn(200, 300, generator=torch.Generator().manual_seed(0))
    one, same = (coreset(points, 0.1, torch.Generator().manual_seed(3)) for _ in range(2))
    assert len(one) == 20
    assert torch.equal(one, same)
    assert len(coreset(points, 1.0, torch.Generator())) == 200
    with pytest.raises(AdbenchError, match="coreset=0"):
        coreset(points, 0, torch.Generator())


def test_smoothing_equals_scipys() -> None:
    maps = torch.rand(2, 40, 30, generator=torch.Generator().manual_seed(0))
    wanted = [gaussian_filter(m.numpy(), 2.0, mode="mirror", truncate=4.0) for m in maps]
    torch.testing.assert_close(
        gaussian(maps, 2.0), torch.stack([torch.from_numpy(w) for w in wanted]), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(gaussian(maps, 0), maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gaussian(maps, 2.0), gaussian(maps.double(), 2.0).float())
