from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.blocks.bank import cosine_distance


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


@pytest.mark.parametrize(("dtype", "step"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_distances_are_fp32_unless_the_runs_precision_is_asked_for(dtype: torch.dtype, step: float) -> None:
    bank, g = unit(40, 256), torch.Generator().manual_seed(2)
    queries = F.normalize(bank + 0.01 * torch.randn(40, 256, generator=g), dim=-1)  # cosines from 0.98 to 1
    wanted = cosine_distance(queries, bank)
    with torch.autocast("cpu", dtype):
        assert torch.equal(cosine_distance(queries, bank), wanted)
        rounded = cosine_distance(queries, bank, run_precision=True)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded / step, (rounded / step).round())
    assert len(rounded.unique()) < 40 == len(wanted.unique())
    assert torch.equal(cosine_distance(queries, bank, run_precision=True), wanted), "in an fp32 run both are fp32"
