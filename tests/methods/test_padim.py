from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from adbench.backbone.contract import Features
from adbench.errors import AdbenchError
from adbench.methods.padim.gaussians import Gaussians, fitted, mahalanobis


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plainly(rows: torch.Tensor, queries: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return Eq. 2 by numpy, position by position, with an explicit inverse."""
    n, positions, channels = rows.shape
    out = np.empty((len(queries), positions))
    for p in range(positions):
        x = rows[:, p].double().numpy()
        covariance = np.cov(x, rowvar=False).reshape(channels, channels) if n > 1 else np.zeros((channels, channels))
        inverse = np.linalg.inv(covariance + epsilon * np.eye(channels))
        for i, query in enumerate(queries[:, p].double().numpy()):
            out[i, p] = np.sqrt((query - x.mean(0)) @ inverse @ (query - x.mean(0)))
    return torch.from_numpy(out).float()


@pytest.mark.parametrize("images", [1, 2, 5, 6, 7, 40])  # of 6 channels: the small system up to 6, then the streamed
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_distance_equals_an_explicit_inverse_in_chunks_of_any_size(images: int, size: int) -> None:
    rows, queries = 3 + noise(images, 4, 6), 3 + 2 * noise(5, 4, 6, seed=1)
    some = fitted(rows.split(size), images, 0.01)
    assert (some.whitening.numel() == 0) is (images <= 6)
    torch.testing.assert_close(mahalanobis(queries, some, 0.01), plainly(rows, queries, 0.01), rtol=2e-4, atol=1e-4)
    torch.testing.assert_close(some.mean, rows.mean(0))


def test_both_forms_agree_where_either_would_do() -> None:
    rows, queries = noise(8, 3, 8), noise(4, 3, 8, seed=1)
    small = fitted([rows], 8, 0.01)
    streamed = fitted(rows.split(3), 9, 0.01)  # counted as 9, so that the other form is taken
    assert streamed.whitening.numel() == 3 * 8 * 8
    assert small.whitening.numel() == 0
    torch.testing.assert_close(
        mahalanobis(queries, small, 0.01), mahalanobis(queries, streamed, 0.01), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("images", [40, 90])  # of 64 channels: both forms
def test_no_chunk_is_held_when_the_next_but_one_comes(images: int) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def chunks() -> Iterator[torch.Tensor]:
        for start in range(0, images, 10):
            assert sum(one() is not None for one in alive[1:]) <= 1  # the first one is the loop's own
            chunk = noise(10, 3, 64, seed=start)
            alive.append(weakref.ref(chunk))
            yield chunk
            del chunk

    some = fitted(chunks(), images, 0.01)
    assert len(alive) == images // 10
    assert some.mean.shape == (3, 64)


def test_by_hand() -> None:
    one = fitted([torch.tensor([[[1.0, 2.0]]])], 1, 0.25)  # one image: the covariance is 0.25 I
    assert float(mahalanobis(torch.tensor([[[4.0, 6.0]]]), one, 0.25)) == pytest.approx(5 / 0.5)
    # Variance 2 along the first channel, none along the second.
    two = fitted([torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])], 2, 0.25)
    apart = torch.tensor([[[1.0 + 1.5, 0.0]], [[1.0, 1.0]]])
    assert mahalanobis(apart, two, 0.25)[:, 0].tolist() == pytest.approx([1.5 / 2.25**0.5, 1 / 0.5])


def test_a_large_common_offset_costs_no_digits() -> None:
    rows, queries = noise(200, 2, 5), noise(3, 2, 5, seed=1)
    near, far = (mahalanobis(queries + at, fitted((rows + at).split(32), 200, 0.01), 0.01) for at in (0, 1000))
    torch.testing.assert_close(near, far, rtol=1e-3, atol=1e-3)


def vectors(features: Features) -> torch.Tensor:
    """Return (B, patches, C): all channels, the coarser stages repeated."""
    if features.blocks:
        return torch.cat([tokens[:, 1:] for tokens in features.blocks.values()], dim=-1)
    size = features.stages[1].shape[-1]
    repeated = [
        level.repeat_interleave(size // level.shape[-1], 2).repeat_interleave(size // level.shape[-1], 3)
        for level in features.stages.values()
    ]
    return torch.cat(repeated, dim=1).flatten(2).transpose(1, 2)


@pytest.mark.parametrize(("backbone", "grid", "read"), [("bench", 8, (3, 6, 9)), ("cnn_bench", 28, (1, 2, 3))])
def test_the_whole_method_equals_plain_numpy(
    request: pytest.FixtureRequest, support, backbone: str, grid: int, read: tuple[int]
) -> None:
    bench = request.getfixturevalue(backbone)
    method, toy = bench.fitted("padim", dims=20, level_norm="false", sigma=2), support()
    assert (*method.declared.blocks, *method.declared.stages) == read
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images[3:]))
    normal, test = (
        vectors(bench.batch(method, images).features)[..., method.channels]
        for images in (toy.images[:3], toy.images[3:])
    )
    distance = plainly(normal, test, 0.01).view(3, 1, grid, grid)
    pixels = torch.nn.functional.interpolate(distance, (112, 112), mode="bilinear", align_corners=True)[:, 0]
    maps = np.stack([gaussian_filter(one, 2.0, mode="mirror", truncate=4.0) for one in pixels.numpy()])
    torch.testing.assert_close(scores.maps, torch.from_numpy(maps), rtol=1e-3, atol=1e-3)
    assert torch.equal(scores.image, scores.maps.flatten(1).max(1).values)


def test_channels_are_drawn_from_the_seed_and_all_of_them_need_none(bench) -> None:
    one, same, other = (bench.new("padim", seed=seed).channels for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one) == len(set(one.tolist())) == 100
    every = bench.new("padim", dims=0)
    width = bench.backbone.architecture.width
    assert torch.equal(every.channels, torch.arange(3 * width))
    assert not every.declared.stochastic


def test_the_state_is_no_larger_than_its_form_needs(bench, support) -> None:
    few = bench.fitted("padim", dims=50)  # 3 images of 50 channels at 64 positions
    shapes = [tuple(few.get_buffer(name).shape) for name in Gaussians._fields]
    assert shapes == [(64, 50), (64, 3, 50), (64, 3, 3), (0, 0, 0)]
    many = bench.fitted("padim", support(shots=12), dims=10)
    shapes = [tuple(many.get_buffer(name).shape) for name in Gaussians._fields]
    assert shapes == [(64, 10), (0, 0, 0), (0, 0, 0), (64, 10, 10)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"dims": 10**4}, r"method\.dims=10000 is not possible: the backbone has 384 channels at these levels.*dims=0"),
        ({"epsilon": 0}, r"method\.epsilon=0.* is not possible: a number above 0"),
        ({"stages": "[1]"}, r"method\.stages=\[1\] is not possible: the backbone is a ViT"),
        ({"dims": -1}, r"method\.dims=-1 is not possible: at least 0"),
    ],
)
def test_what_is_not_possible_is_refused(bench, words: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("padim", **words)
