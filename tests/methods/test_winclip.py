from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.blocks.prompts import WINCLIP_TEMPLATES as TEMPLATES
from adbench.blocks.prompts import ensemble
from adbench.errors import AdbenchError
from adbench.methods.winclip.method import Params, WinCLIP, harmonic, spread, windows


def scored(bench, method, images):
    with torch.no_grad():
        return method.score(bench.batch(method, images))


def embedded(backbone, images, patches: list[int]) -> torch.Tensor:
    """The unit embedding of an image of which the class token sees some patches only."""
    stream = backbone.features(images.float() / 255, (0,)).blocks[0]
    kept = stream[:, [0, *(1 + patch for patch in patches)]]
    return F.normalize(backbone.project(backbone.run_blocks(kept, 1, 12)[:, 0]), dim=-1)


def test_prompts_are_the_papers() -> None:
    assert len(TEMPLATES) == len(set(TEMPLATES)) == 22
    assert {"a close-up photo of the {}.", "a photo of a {} for anomaly detection."} < set(TEMPLATES)
    assert (len(Params().prompts.normal), len(Params().prompts.abnormal)) == (7, 4)


def test_a_patch_gets_the_harmonic_mean_of_the_windows_it_lies_in() -> None:
    # Windows of 2 on a grid of 3: the middle patch lies in all four, a corner in one.
    found = spread(torch.tensor([[1.0, 0.5, 0.5, 0.25]]), windows(3, 2), 9)[0]
    assert found[0] == pytest.approx(1.0)
    assert found[1] == pytest.approx(2 / (1 + 2))
    assert found[4] == pytest.approx(4 / (1 + 2 + 2 + 4))
    assert found[8] == pytest.approx(0.25)


def test_one_certain_window_of_nothing_doesnt_make_a_score_infinite() -> None:
    assert torch.isfinite(spread(torch.zeros(1, 4), windows(3, 2), 9)).all()
    assert torch.isfinite(harmonic(torch.tensor([0.0, 1.0])))


@torch.no_grad()
def test_scores_without_reference_by_hand(bench, support) -> None:
    images = support().images[:2]
    method = bench.fitted("winclip", reference="false", windows="[2]")
    text = ensemble(bench.backbone, Params().prompts, "Brain", TEMPLATES)
    pooled = F.normalize(bench.backbone.features(images.float() / 255, (12,), pooled=True).pooled, dim=-1)
    image = (pooled @ text.T / 0.07).softmax(-1)[:, 1]
    corner = (embedded(bench.backbone, images, [0, 1, 8, 9]) @ text.T / 0.07).softmax(-1)[:, 1]
    scores = scored(bench, method, images)
    torch.testing.assert_close(scores.image, image, atol=1e-5, rtol=1e-4)
    # The corner patch lies in one window of each size; the whole image is one more scale.
    torch.testing.assert_close(scores.maps[:, 0, 0], 2 / (1 / image + 1 / corner), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_window_as_large_as_the_image_is_the_image(bench, support) -> None:
    method = bench.fitted("winclip", reference="false", windows="[8]")
    scores = scored(bench, method, support().images)
    torch.testing.assert_close(scores.maps, scores.image[:, None, None].expand_as(scores.maps), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_scores_with_reference_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("winclip", toy, windows="[2]")
    plain = scored(bench, bench.fitted("winclip", reference="false", windows="[2]"), toy.images)
    scores = scored(bench, method, toy.images)
    # What the support holds is at no distance from it.
    torch.testing.assert_close(scores.image[:3], plain.image[:3] / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.maps[:3], plain.maps[:3] / 2, atol=1e-5, rtol=1e-4)
    # The corner of another image: half of one minus the largest cosine, the mean of window and patch.
    abnormal = toy.images[3:4]
    seen = [embedded(bench.backbone, toy.images[:3], patches) for patches in windows(8, 2).tolist()]
    window = (1 - embedded(bench.backbone, abnormal, [0, 1, 8, 9]) @ torch.cat(seen).T).min() / 2
    patches = F.normalize(bench.backbone.features(toy.images.float() / 255, (11,)).blocks[11][:, 1:], dim=-1)
    patch = (1 - patches[3, 0] @ patches[:3].flatten(0, 1).T).min() / 2
    far = scores.maps[3, 0, 0] * 2 - plain.maps[3, 0, 0]
    torch.testing.assert_close(far, (window + patch) / 2, atol=2e-5, rtol=1e-3)


def test_what_it_declares(bench) -> None:
    shape = bench.backbone.architecture
    told = WinCLIP.capability(Params(reference=False), shape)
    assert (told.support, told.blocks, told.pooled) == ("none", (0,), True)
    plus = WinCLIP.capability(Params(), shape)
    assert (plus.support, plus.blocks) == ("normal", (0, 11))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ({"windows": "[]"}, r"method.windows=\[\] .*name sides"),
        ({"windows": "[2,2]"}, "each once"),
        ({"windows": "[9]"}, "8 x 8 patches"),
        ({"temperature": 0}, "above 0"),
    ],
)
def test_what_is_refused(bench, word: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("winclip", **word)
