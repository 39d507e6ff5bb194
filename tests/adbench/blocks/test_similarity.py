from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.clip import Backbone
from adbench.blocks.maps import patch_map
from adbench.blocks.prompts import Prompts, ensemble
from adbench.blocks.similarity import (
    TextEmbeddings,
    abnormal_logit,
    cosines,
    image_vectors,
    require_both_classes,
    state_logits,
)
from adbench.errors import AdbenchError


def test_the_logit_is_the_softmax_of_both_cosines_interpolated_or_not() -> None:
    g = torch.Generator().manual_seed(0)
    vectors, text = (F.normalize(torch.randn(2, n, 8, generator=g), dim=-1) for n in (9, 2))
    columns = 100 * torch.stack([vectors[i] @ text[i].T for i in range(2)])
    torch.testing.assert_close(abnormal_logit(vectors, text).sigmoid(), columns.softmax(-1)[..., 1])
    up = F.interpolate(columns.transpose(1, 2).unflatten(2, (3, 3)), (7, 7), mode="bilinear", align_corners=True)
    torch.testing.assert_close(patch_map(abnormal_logit(vectors, text), 7).sigmoid(), up.softmax(1)[:, 1])


def test_cosines_are_products_of_unit_vectors_with_their_gradients() -> None:
    g = torch.Generator().manual_seed(0)
    vectors, directions = torch.randn(2, 5, 8, generator=g), torch.randn(2, 3, 8, generator=g)
    vectors[0, 0] = 0
    sides = []
    for function in (cosines, lambda v, d: F.normalize(v, dim=-1) @ d.transpose(1, 2)):
        leaves = [each.clone().requires_grad_() for each in (vectors, directions)]
        found = function(*leaves)
        sides.append((found.detach(), *torch.autograd.grad(found.square().sum(), leaves)))
    for ours, wanted in zip(*sides, strict=True):
        torch.testing.assert_close(ours, wanted)
    assert not sides[0][0][0, 0].any()


def test_cosines_of_vectors_whose_length_overflows_half_precision() -> None:
    vectors = torch.tensor([[60000.0, 60000.0]], dtype=torch.float16)
    with torch.autocast("cpu", torch.float16):
        found = cosines(vectors, torch.tensor([[1.0, 0.0]], dtype=torch.float16))
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5]]))


@torch.no_grad()
def test_three_vectors_of_an_image(random_clip: Backbone, noise: torch.Tensor) -> None:
    features = random_clip.features(noise, (12,), pooled=True)
    tokens = features.blocks[12][:, 0]
    visual = random_clip.model.visual
    for kind, wanted in (
        ("projected", tokens @ visual.proj),
        ("embedding", features.pooled),
        ("token", visual.ln_post(tokens)),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = image_vectors(random_clip, tokens, kind)
        torch.testing.assert_close(found, F.normalize(wanted, dim=-1))


def test_texts_are_made_once_and_in_full_precision(random_clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = Prompts(["healthy {}"], ["{} with a lesion", "sick {}"])
    calls: list[int] = []
    encode = random_clip.encode_text
    monkeypatch.setattr(random_clip, "encode_text", lambda texts: calls.append(len(texts)) or encode(texts))
    texts = TextEmbeddings(random_clip, prompts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = texts(("Brain", "Liver", "Brain"))
    made = len(calls)
    assert torch.equal(texts(("Liver",))[0], found[1])
    assert len(calls) == made
    wanted = [ensemble(random_clip, prompts, name) for name in ("Brain", "Liver", "Brain")]
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cosines_keep_their_digits_in_half_precision(dtype: torch.dtype) -> None:
    """CLIP's cosines lie close together: rounded to `dtype`, few of 300 would be left."""
    g = torch.Generator().manual_seed(0)
    text = F.normalize(torch.randn(1, 512, generator=g) + 0.15 * torch.randn(2, 512, generator=g), dim=-1)[None]
    vectors = (6 * text.mean(1, keepdim=True) + 0.5 * torch.randn(1, 300, 512, generator=g)).to(dtype)
    with torch.autocast("cpu", dtype):
        found = state_logits(vectors, text.to(dtype), 0.01)
        rounded = (F.normalize(vectors, dim=-1) @ text.transpose(1, 2) / 0.01).float()
    assert found.dtype == torch.float32
    probability = found.softmax(-1)[..., 1].flatten()
    assert len(probability.unique()) > 290 > 150 > len(rounded.softmax(-1)[..., 1].unique())
    assert torch.equal(found, state_logits(vectors.float(), text.to(dtype).float(), 0.01))


@pytest.mark.parametrize(
    ("labels", "said"), [([0, 0, 0], "3 normal and 0 abnorm"), ([1], "0 normal and 1 abn"), ([], "0 normal and 0 abn")]
)
def test_one_class_alone_is_refused(labels: list[int], said: str) -> None:
    with pytest.raises(AdbenchError, match=f"clip_x learns .*{said}.*protocol=few_shot"):
        require_both_classes(torch.tensor(labels), "clip_x")
    require_both_classes(torch.tensor([*labels, 0, 1]), "clip_x")
