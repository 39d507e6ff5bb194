from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from adbench.blocks.augment import rotated
from adbench.errors import AdbenchError
from adbench.methods.subspacead.method import middle, principal_subspace, residual


def rows(n: int = 60, channels: int = 7) -> torch.Tensor:
    scale = torch.tensor([9.0, 5.0, 3.0, 1.0, 0.5, 0.1, 0.01])[:channels]
    turned = torch.linalg.qr(torch.randn(channels, channels, generator=torch.Generator().manual_seed(1)))[0]
    return 4 + (torch.randn(n, channels, generator=torch.Generator().manual_seed(0)) * scale) @ turned.T


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 0.9999, 1.0])
@pytest.mark.parametrize("parts", [1, 7, 60])
def test_the_subspace_is_scikit_learns(variance: float, parts: int) -> None:
    data = rows()
    exact = PCA(svd_solver="full").fit(data.double().numpy())
    r = int(np.searchsorted(exact.explained_variance_ratio_.cumsum(), variance)) + 1
    mean, basis = principal_subspace(data.tensor_split(parts), variance)
    assert basis.shape == (7, min(r, 7))
    np.testing.assert_allclose(mean, exact.mean_)
    components = exact.components_[: basis.shape[1]]
    np.testing.assert_allclose(basis @ basis.T, components.T @ components, atol=1e-9)


def test_two_known_directions() -> None:
    # Variances 9 : 1 : 0, so that the first direction holds 0.9.
    data = torch.tensor([[3.0, 0, 0], [-3.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]]) + torch.tensor([0.0, 0, 5])
    mean, basis = principal_subspace([data], 0.89)
    assert mean.tolist() == [0, 0, 5]
    torch.testing.assert_close(basis.abs(), torch.tensor([[1.0], [0], [0]], dtype=torch.float64))
    found = residual(torch.tensor([[7.0, 2.0, 5.0], [7.0, 0.0, 6.0]]), mean.float(), basis.float())
    torch.testing.assert_close(found, torch.tensor([4.0, 1.0]))
    assert principal_subspace([data], 0.91)[1].shape == (3, 2)


def test_patches_that_are_all_the_same_span_nothing() -> None:
    mean, basis = principal_subspace([torch.full((5, 3), 2.0), torch.full((4, 3), 2.0)], 0.99)
    assert basis.shape == (3, 0)
    assert residual(torch.tensor([2.0, 2.0, 4.0]), mean.float(), basis.float()) == 4


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("subspacead", blocks="[3,8]", top=0.5)
    streams = bench.backbone.features(toy.images, (3, 8)).blocks
    patches = (streams[3][:, 1:] + streams[8][:, 1:]) / 2
    pca = PCA(svd_solver="full").fit(patches[:3].flatten(0, 1).double().numpy())
    r = int(np.searchsorted(pca.explained_variance_ratio_.cumsum(), 0.99)) + 1
    assert method.basis.shape == (128, r)
    seen = patches[3:].flatten(0, 1).double().numpy()
    pca = PCA(r, svd_solver="full").fit(patches[:3].flatten(0, 1).double().numpy())
    away = torch.from_numpy(((seen - pca.inverse_transform(pca.transform(seen))) ** 2).sum(1)).float().view(3, 1, 8, 8)
    maps = F.interpolate(away, size=112, mode="bilinear", align_corners=False)
    g = torch.exp(torch.tensor([-1 / 32, 0, -1 / 32]))
    maps = F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), (torch.outer(g, g) / g.sum() ** 2)[None, None])[:, 0]
    scores = method.score(bench.batch(method, toy.images[3:]))
    torch.testing.assert_close(scores.maps, maps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores.image, maps.flatten(1).topk(6272).values.mean(1), atol=1e-4, rtol=1e-4)


def test_random_rotations_come_from_the_seed(bench, support) -> None:
    plain, turned = bench.fitted("subspacead"), bench.fitted("subspacead", rotations=2)
    assert not plain.declared.stochastic
    assert turned.declared.stochastic
    again, other = (bench.fitted("subspacead", rotations=2, seed=seed) for seed in (0, 1))
    assert torch.equal(turned.basis, again.basis)
    assert not torch.equal(turned.mean, other.mean)
    assert turned.basis.shape[1] >= plain.basis.shape[1]


@torch.no_grad()
def test_the_rotated_images_are_fitted_too(bench, support) -> None:
    toy = support()
    method = bench.fitted("subspacead", rotations=2, blocks="[6]")
    angles = 345 * torch.rand(3, 2, generator=method.generator("rotations"))
    views = [rotated(toy.images[i : i + 1].expand(2, -1, -1, -1), angles[i], "nearest", "zeros") for i in range(3)]
    patches = bench.backbone.features(torch.cat([toy.images[:3], *views]), (6,)).blocks[6][:, 1:]
    torch.testing.assert_close(method.mean, patches.mean((0, 1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("depth", [*range(1, 41)])
def test_every_depth_has_blocks_to_read(depth: int) -> None:
    blocks = middle(depth)
    assert blocks == tuple(range(blocks[0], blocks[-1] + 1))
    assert 1 <= blocks[0] <= blocks[-1] <= depth


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"variance": 0}, r"method\.variance=0\.?0? is not possible"),
        ({"variance": 1.1}, r"method\.variance=1\.1 is not possible: a share"),
        ({"rotations": -1}, r"method\.rotations=-1 is not possible: at least 0"),
        ({"top": 2}, r"method\.top=2\.?0? is not possible"),
        ({"sigma": -1}, r"method\.sigma=-1"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("subspacead", **params)
