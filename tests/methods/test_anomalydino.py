from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from adbench.blocks.augment import rotated
from adbench.blocks.maps import gaussian_blur
from adbench.errors import AdbenchError
from adbench.methods.anomalydino.method import AnomalyDINO, Params, foreground


def unit_patches(bench, images: torch.Tensor, block: int, norm: bool = False) -> torch.Tensor:
    tokens = bench.backbone.features(images, (block,)).blocks[block][:, 1:]
    return F.normalize(bench.backbone.norm(tokens) if norm else tokens, dim=-1)


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("anomalydino", block=9, top=0.1)
    scores = method.score(bench.batch(method, toy.images[3:]))
    bank = unit_patches(bench, toy.images[:3], 9).flatten(0, 1)
    distance = (unit_patches(bench, toy.images[3:], 9)[:, :, None] - bank).square().sum(-1).amin(2) / 2
    torch.testing.assert_close(scores.image, distance.topk(6, dim=1).values.mean(1), atol=1e-5, rtol=1e-4)
    raw = F.interpolate(distance.view(3, 1, 8, 8), size=112, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(scores.maps, gaussian_blur(raw, 4.0), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_one_per_cent_of_few_patches_is_the_largest_distance(bench, support) -> None:
    method = bench.fitted("anomalydino", sigma=0)
    scores = method.score(bench.batch(method, support().images))
    torch.testing.assert_close(scores.image[:3], torch.zeros(3), atol=1e-5, rtol=0)
    assert (scores.image[3:] >= scores.maps[3:].flatten(1).amax(1) - 1e-6).all()
    assert scores.image[3:].min() > 0.01


@torch.no_grad()
def test_the_bank_holds_every_rotation(bench, support) -> None:
    toy = support()
    method = bench.fitted("anomalydino", rotations=8)
    assert method.bank.shape == (8 * 3 * 64, bench.backbone.architecture.width)
    turned = rotated(toy.images[:3], [135] * 3)
    wanted = unit_patches(bench, turned, method.blocks[0]).flatten(0, 1)
    torch.testing.assert_close(method.bank[3 * 3 * 64 : 4 * 3 * 64], wanted, atol=1e-5, rtol=1e-4)
    scores = method.score(bench.batch(method, turned))
    torch.testing.assert_close(scores.image, torch.zeros(3), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_final_norm_goes_with_the_last_block(bench, support) -> None:
    images = support().images[:3]
    for params, block, norm in (({}, 6, False), ({"block": 12}, 12, True), ({"final_norm": "true"}, 6, True)):
        method = bench.fitted("anomalydino", **params)
        torch.testing.assert_close(method.bank, unit_patches(bench, images, block, norm).flatten(0, 1))


def test_a_tower_without_text_is_read_at_its_end(bench) -> None:
    clip = bench.backbone.architecture
    alone = dataclasses.replace(clip, text_depth=0)
    assert AnomalyDINO.capability(Params(), clip).blocks == (6,)
    assert AnomalyDINO.capability(Params(), alone).blocks == (12,)
    assert AnomalyDINO.capability(Params(block=3), alone).blocks == (3,)


@torch.no_grad()
def test_without_a_support_the_other_test_images_are_the_bank(bench, support) -> None:
    toy = support()
    images = torch.cat([toy.images, toy.images[5:]])  # the last abnormal one twice
    method = bench.observed(bench.fitted("anomalydino", bank="test"), images)
    assert not method.state_dict(), "test images are no part of a record"
    scores = method.score(bench.batch(method, images))
    patches = unit_patches(bench, images, 6)
    for i in range(5):
        others = torch.cat([patches[:i], patches[i + 1 :]]).flatten(0, 1)
        worst = (1 - patches[i] @ others.T).amin(1).max()
        torch.testing.assert_close(scores.image[i], worst, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image[5:], torch.zeros(2), atol=1e-5, rtol=0)  # each is the other's twin
    stranger = bench.batch(method, 255 - toy.images[:1])
    patches = unit_patches(bench, 255 - toy.images[:1], 6)[0] @ patches.flatten(0, 1).T
    torch.testing.assert_close(method.score(stranger).image[0], (1 - patches).amin(1).max(), atol=1e-5, rtol=1e-4)


def test_one_test_image_has_no_others(bench, support) -> None:
    method = bench.fitted("anomalydino", bank="test")
    with pytest.raises(AdbenchError, match=r"compares an image with the others, and 1 was given: score two or more"):
        bench.observed(method, support().images[:1])


def an_object() -> torch.Tensor:
    """Tokens of an object in the middle: its first component is 33 from the mean, that of the background 7."""
    tokens = torch.zeros(12, 12, 3)
    tokens[3:8, 3:8, 0] = 40
    tokens[..., 1] = torch.rand(12, 12, generator=torch.Generator().manual_seed(0))
    return tokens


@pytest.mark.parametrize("sign", [1, -1])
def test_the_foreground_is_the_middle_object_whatever_the_components_sign(sign: int) -> None:
    kept = foreground(sign * an_object(), 10)
    wanted = torch.zeros(12, 12, dtype=torch.bool)
    wanted[2:9, 2:9] = True  # dilated by one patch
    assert torch.equal(kept, wanted)


def test_the_component_is_scikit_learns() -> None:
    tokens = 20 * torch.randn(9, 9, 5, generator=torch.Generator().manual_seed(1))
    component = PCA(1).fit_transform(tokens.flatten(0, 1).numpy()).reshape(9, 9)
    kept = component > 10
    if kept[1:8, 1:8].mean() <= 0.35:
        kept = -component > 10
    grown = np.pad(kept, 3)
    windows = np.lib.stride_tricks.sliding_window_view
    dilated = windows(windows(grown, (3, 3)).any((2, 3)), (3, 3)).any((2, 3))[1:-1, 1:-1]
    closed = windows(np.pad(dilated, 1, constant_values=True), (3, 3)).all((2, 3))
    assert np.array_equal(foreground(tokens, 10).numpy(), closed)


@torch.no_grad()
def test_background_is_at_distance_zero(bench, support) -> None:
    toy = support()
    plain = bench.fitted("anomalydino", sigma=0, top=1.0)
    masked = bench.fitted("anomalydino", sigma=0, top=1.0, mask="true")
    batch = bench.batch(plain, toy.images[3:])
    kept = [foreground(one.unflatten(0, (8, 8)), 10) for one in batch.features.blocks[6][:, 1:]]
    distance = unit_patches(bench, toy.images[3:], 6) @ plain.bank.T
    wanted = (1 - distance.amax(2)) * torch.stack(kept).flatten(1)
    assert 0 < float((wanted == 0).float().mean()) < 1
    torch.testing.assert_close(masked.score(batch).image, wanted.mean(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"rotations": 4}, r"method\.rotations=4 is not possible: choose from 1, 8"),
        ({"bank": "all"}, r"method\.bank=all is not possible: choose from support, test"),
        ({"bank": "test", "rotations": 8}, r"rotations=8 is not possible with method\.bank=test: only a support"),
        ({"top": 0}, r"method\.top=0\.?0? is not possible"),
        ({"top": 1.5}, r"method\.top=1\.5 is not possible: a share from 0 to 1"),
        ({"sigma": -1}, r"method\.sigma=-1"),
        ({"mask_threshold": -1}, r"method\.mask_threshold=-1"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("anomalydino", **params)


def test_a_threshold_without_a_mask_is_refused(bench) -> None:
    with pytest.raises(AdbenchError, match=r"method\.mask_threshold=5 is not possible without a mask"):
        bench.new("anomalydino", mask_threshold=5)
