from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from adbench.blocks import memory_bank
from adbench.errors import AdbenchError
from adbench.methods.musc.method import mutual_score, neighbourhoods, smoothed


def by_the_paper(tokens: dict[int, torch.Tensor], sides: list[int], share: float) -> torch.Tensor:
    """Patch scores (N, patches) with every distance in memory at once, and norms and means written out."""
    found = []
    for side in sides:
        for stream in tokens.values():
            n, grid = len(stream), round(stream.shape[1] ** 0.5)
            centred = stream - stream.mean((1, 2), keepdim=True)
            normed = centred / (centred.square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
            wide = F.pad(normed.view(n, grid, grid, -1), (0, 0, *[side // 2] * 4))
            pooled = sum(wide[:, y : y + grid, x : x + grid] for y in range(side) for x in range(side)) / side**2
            unit = F.normalize(pooled.flatten(1, 2), dim=-1)
            distance = torch.cdist(unit[:, None], unit[None], compute_mode="donot_use_mm_for_euclid_dist").amin(3)
            others = torch.stack([torch.cat([distance[i, :i], distance[i, i + 1 :]]) for i in range(n)])
            lowest = others.sort(1).values[:, : max(1, int(share * (n - 1)))]
            found.append(lowest.mean(1))
    return torch.stack(found).mean(0)


def noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 112, 112), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@torch.no_grad()
@pytest.mark.parametrize(("share", "at_once"), [(0.3, 1 << 24), (0.3, 2 * 64 * 64), (1.0, 1), (0.01, 3 * 64 * 64)])
def test_maps_in_chunks_are_those_of_all_distances_at_once(
    bench, support, monkeypatch: pytest.MonkeyPatch, share: float, at_once: int
) -> None:
    images = torch.cat([support().images, noise(2)])
    method = bench.new("musc", nearest=share, blocks="[4,12]", sides="[1,3]", neighbours="[]")
    monkeypatch.setattr(memory_bank.most_similar_in_each, "__defaults__", (at_once,))
    bench.observed(method, images)
    scores = method.score(bench.batch(method, images))
    streams = bench.backbone.features(images, (4, 12)).blocks
    patches = by_the_paper({b: t[:, 1:] for b, t in streams.items()}, [1, 3], share)
    maps = F.interpolate(patches.view(8, 1, 8, 8), size=112, mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.maps, maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, maps.flatten(1).amax(1), atol=1e-5, rtol=1e-4)
    assert not method.state_dict(), "test images are no part of a record"


def test_a_neighbourhood_of_three() -> None:
    tokens = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    normed = F.layer_norm(tokens, (9, 4))
    corner = normed[:, [0, 1, 3, 4]].sum(1) / 9
    torch.testing.assert_close(neighbourhoods(tokens, 3)[:, 0], F.normalize(corner, dim=-1))
    torch.testing.assert_close(neighbourhoods(tokens, 1), F.normalize(normed, dim=-1))


def test_a_mutual_score_by_hand() -> None:
    east, north, west = torch.eye(2)[0], torch.eye(2)[1], -torch.eye(2)[0]
    images = torch.stack([torch.stack(pair) for pair in ((east, north), (east, east), (west, north), (west, west))])
    # The patch `east` is at 0, sqrt 2 and 2 from the other three; the patch `north` at sqrt 2, 0 and sqrt 2.
    found = mutual_score(images[0], images, 0, 0.67)
    torch.testing.assert_close(found, torch.tensor([2**0.5 / 2, 2**0.5 / 2]))
    torch.testing.assert_close(mutual_score(images[0], images, 0, 0.1), torch.zeros(2))
    torch.testing.assert_close(mutual_score(images[0], images[1:], None, 1.0)[0], torch.tensor((2 + 2**0.5) / 3))


def test_smoothing_by_hand() -> None:
    # Scores 1, 2, 5 become 0, 1/4, 1. Cosines: 0.6 and 0.28 between neighbours, -0.6 between the ends.
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.6, 0.8]])
    raw = torch.tensor([1.0, 2.0, 5.0])
    own = [0, 1, 2]
    torch.testing.assert_close(smoothed(raw, embeddings, own, raw, embeddings, [1]), torch.tensor([0, 0.25, 1]))
    two = smoothed(raw, embeddings, own, raw, embeddings, [2])
    wanted = [0.6 * 0.25 / 1.6, 0.25 / 1.6, (1 + 0.28 * 0.25) / 1.28]
    torch.testing.assert_close(two, torch.tensor(wanted))
    three = smoothed(raw, embeddings, own, raw, embeddings, [3, 9])
    assert float(three[0]) == pytest.approx(0.6 * 0.25 / 1.6), "a negative cosine weighs nothing"
    every = smoothed(raw, embeddings, own, raw, embeddings, [1, 2, 3])
    torch.testing.assert_close(every, (torch.tensor([0, 0.25, 1]) + two + three) / 3)
    assert smoothed(raw, embeddings, own, torch.ones(3), embeddings, [2]).tolist() == [0, 0, 0]


@torch.no_grad()
def test_image_scores_are_smoothed_over_similar_images(bench, support) -> None:
    images = torch.cat([support().images, noise(2)])
    plain, method = (bench.observed(bench.new("musc", **p), images) for p in ({"neighbours": "[]"}, {}))
    batch = bench.batch(method, images)
    raw, scores = plain.score(batch), method.score(batch)
    assert torch.equal(raw.maps, scores.maps)
    z = F.normalize(bench.backbone.features(images, (12,), pooled=True).pooled, dim=-1)
    s = (raw.image - raw.image.min()) / (raw.image.max() - raw.image.min())
    weights = (z @ z.T).clamp(min=0)
    found = []
    for k in (1, 2, 3):
        kept = torch.zeros_like(weights).scatter(1, weights.topk(k).indices, weights.topk(k).values)
        found.append(kept / kept.sum(1, keepdim=True) @ s)
    torch.testing.assert_close(scores.image, torch.stack(found).mean(0), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_image_that_was_not_observed_is_compared_with_all(bench, support) -> None:
    images = support().images
    method = bench.observed(bench.new("musc", neighbours="[]", blocks="[6]", sides="[1]"), images)
    unit = [neighbourhoods(bench.backbone.features(x, (6,)).blocks[6][:, 1:], 1) for x in (noise(1), images)]
    wanted = mutual_score(unit[0][0], unit[1], None, 0.3).max()
    batch = bench.batch(method, torch.cat([images[:1], noise(1)]))
    torch.testing.assert_close(method.score(batch).image[1], wanted, atol=1e-5, rtol=1e-4)
    assert torch.equal(method.score(batch).image[0], method.score(bench.batch(method, images)).image[0])


@torch.no_grad()
def test_parts_are_compared_among_themselves(bench, support) -> None:
    images = torch.cat([support().images, noise(3)])
    small = {"neighbours": "[]", "blocks": "[6]", "sides": "[1]"}
    method = bench.observed(bench.new("musc", divide=2, **small), images)
    parts = torch.randperm(9, generator=method.generator("divide")).tensor_split(2)
    found = method.score(bench.batch(method, images))
    for part in parts:
        rows = part.sort().values
        alone = bench.observed(bench.new("musc", **small), images[rows])
        torch.testing.assert_close(alone.score(bench.batch(alone, images[rows])).maps, found.maps[rows])
    assert method.declared.stochastic
    assert not bench.new("musc").declared.stochastic


def test_one_image_alone_is_refused(bench, support) -> None:
    with pytest.raises(AdbenchError, match=r"musc compares each image with others, and 1 was given: it needs two"):
        bench.observed(bench.new("musc"), support().images[:1])
    with pytest.raises(AdbenchError, match=r"5 were given: it needs two or more in each of 3 parts \(method\.divide\)"):
        bench.observed(bench.new("musc", divide=3), support().images[:5])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"sides": "[1,2]"}, r"method\.sides=\[1,2\] is not possible: name odd sides"),
        ({"sides": "[]"}, r"method\.sides=\[\] is not possible"),
        ({"neighbours": "[0]"}, r"method\.neighbours=\[0\] is not possible: name numbers of images"),
        ({"neighbours": "[2,2]"}, r"method\.neighbours=\[2,2\]"),
        ({"nearest": 0}, r"method\.nearest=0\.?0? is not possible"),
        ({"nearest": 2}, r"method\.nearest=2\.?0? is not possible"),
        ({"divide": 0}, r"method\.divide=0 is not possible: at least 1"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("musc", **params)


def test_a_record_scores_a_folder_by_itself_and_refuses_a_single_image(adbench, tiny, tmp_path) -> None:
    runs = tmp_path / "runs"
    answer = adbench("run", "method=musc", f"data_root={tiny}", f"runs={runs}", "gallery=0", "method.blocks=[6]")
    assert answer.code == 0, answer.err
    (record,) = runs.iterdir()
    kept = pd.read_parquet(record / "predictions.parquet")
    (folder,) = tiny.iterdir()
    images = [next(folder.rglob(f"test/*/img/{Path(name).name}")) for name in kept["image"]]
    # In another order products of matrices differ in the last bits, and the root of a small distance amplifies them.
    for order, bound in ((1, 0), (-1, 1e-5)):
        out = tmp_path / f"out{order}"
        answer = adbench("score", record, *images[::order], f"out={out}")
        assert answer.code == 0, answer.err
        found = pd.read_csv(out / "scores.csv", dtype={"score": np.float32})["score"]
        np.testing.assert_allclose(found[::order], kept["score"], rtol=0, atol=bound)
    answer = adbench("score", record, images[0], f"out={tmp_path / 'one'}")
    assert answer.code != 0
    assert "musc compares each image with others, and 1 was given" in " ".join(answer.err.split())
    assert not (tmp_path / "one").exists()
