from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from adbench.blocks.memory_bank import coreset, cosine_distance, farthest_first, most_similar_in_each, nearest
from adbench.errors import AdbenchError


def unit_vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("max_similarities", [1, 13 * 4, 10**6])
def test_the_running_maximum_equals_the_whole_matrix(max_similarities: int) -> None:
    queries, bank = unit_vectors(2, 3, 8), unit_vectors(31, 8, seed=1)
    wanted = 1 - torch.einsum("bqc,mc->bqm", queries, bank).amax(-1)
    torch.testing.assert_close(cosine_distance(queries, bank, max_similarities), wanted)


def test_known_distances() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    queries = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [-0.6, -0.8]])
    torch.testing.assert_close(cosine_distance(queries, bank), torch.tensor([0.0, 1.0, 0.2, 1.6]))
    assert float(cosine_distance(queries[1:2], bank[:1])) == 2.0


@pytest.mark.parametrize(("dtype", "step"), [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_distances_are_fp32_unless_the_runs_precision_is_asked_for(dtype: torch.dtype, step: float) -> None:
    bank, g = unit_vectors(40, 256), torch.Generator().manual_seed(2)
    queries = F.normalize(bank + 0.01 * torch.randn(40, 256, generator=g), dim=-1)  # cosines from 0.98 to 1
    wanted = cosine_distance(queries, bank)
    with torch.autocast("cpu", dtype):
        assert torch.equal(cosine_distance(queries, bank), wanted)
        rounded = cosine_distance(queries, bank, run_precision=True)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded / step, (rounded / step).round())
    assert len(rounded.unique()) < 40 == len(wanted.unique())
    assert torch.equal(cosine_distance(queries, bank, run_precision=True), wanted), "in an fp32 run both are fp32"


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


def greedy(points: NDArray[np.float64], total: int, first: int) -> list[int]:
    """Alg. 1 as printed, in numpy: the point with the largest distance to its nearest centre becomes one."""
    taken = [first]
    for _ in range(total - 1):
        distances = np.linalg.norm(points[:, None] - points[None, taken], axis=2).min(1)
        taken.append(int(distances.argmax()))
    return taken


@pytest.mark.parametrize("seed", range(3))
def test_the_coreset_equals_a_plain_greedy_given_projection_and_first_row(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    features, projection = torch.randn(90, 40, generator=g), torch.randn(40, 8, generator=g) / 8**0.5
    projected = features @ projection
    assert farthest_first(projected, 30, first=seed).tolist() == greedy(projected.double().numpy(), 30, seed)

    def drawn() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    same = drawn()
    matrix = torch.randn(40, 8, generator=same)  # drawn first, then the first row
    first = int(torch.randint(90, (1,), generator=same))
    wanted = greedy((features @ matrix).double().numpy(), 30, first)
    assert coreset(features, 1 / 3, drawn(), project_to=8).tolist() == wanted


def test_the_first_of_equal_rows_is_taken_and_a_row_twice_never() -> None:
    corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert farthest_first(corners, 4, first=0).tolist() == [0, 3, 1, 2]
    assert farthest_first(corners, 1, first=2).tolist() == [2]


@pytest.mark.parametrize("max_similarities", [1, 5 * 6 * 2, 5 * 6 * 4, 10**6])
def test_the_most_similar_patch_of_each_image_in_chunks(max_similarities: int) -> None:
    queries, images = unit_vectors(5, 8), unit_vectors(7, 6, 8, seed=1)
    wanted = torch.einsum("qc,npc->qnp", queries, images).amax(2)
    torch.testing.assert_close(most_similar_in_each(queries, images, max_similarities), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        assert most_similar_in_each(queries, images).dtype == torch.float32
