from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.blocks.bank import cosine_distance, rescale, value_range


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("cells", [1, 13 * 4, 10**6])
def test_the_running_maximum_equals_the_whole_matrix(cells: int) -> None:
    queries, bank = unit(2, 3, 8), unit(31, 8, seed=1)
    wanted = 1 - torch.einsum("bqc,mc->bqm", queries, bank).amax(-1)
    torch.testing.assert_close(cosine_distance(queries, bank, cells), wanted)


def test_known_distances() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [-0.6, -0.8]])
    torch.testing.assert_close(cosine_distance(queries, bank), torch.tensor([0.0, 1.0, 0.2, 1.6]))
    assert float(cosine_distance(queries[1:2], bank[:1])) == 2.0


def test_rescaling_keeps_the_order_outside_the_bounds() -> None:
    bounds = value_range(torch.tensor([[3.0, 1.0], [2.0, 5.0]]))
    assert bounds.tolist() == [1.0, 5.0]
    assert rescale(torch.tensor([-3.0, 1.0, 2.0, 5.0, 9.0]), bounds).tolist() == [-1.0, 0.0, 0.25, 1.0, 2.0]
