from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone import Backbone
from adbench.blocks.prompts import Prompts, ensemble
from adbench.blocks.states import StateTexts, abnormal_logit, pixels


def test_the_logit_is_the_softmax_of_both_cosines_interpolated_or_not() -> None:
    g = torch.Generator().manual_seed(0)
    vectors, text = (F.normalize(torch.randn(2, n, 8, generator=g), dim=-1) for n in (9, 2))
    columns = 100 * torch.stack([vectors[i] @ text[i].T for i in range(2)])
    torch.testing.assert_close(abnormal_logit(vectors, text).sigmoid(), columns.softmax(-1)[..., 1])
    up = F.interpolate(columns.transpose(1, 2).unflatten(2, (3, 3)), (7, 7), mode="bilinear", align_corners=True)
    torch.testing.assert_close(pixels(abnormal_logit(vectors, text), 7).sigmoid(), up.softmax(1)[:, 1])


def test_texts_are_made_once_and_in_full_precision(random_clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = Prompts(["healthy {}"], ["{} with a lesion", "sick {}"])
    calls: list[int] = []
    encode = random_clip.encode_text
    monkeypatch.setattr(random_clip, "encode_text", lambda texts: calls.append(len(texts)) or encode(texts))
    texts = StateTexts(random_clip, prompts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = texts(("Brain", "Liver", "Brain"))
    made = len(calls)
    assert torch.equal(texts(("Liver",))[0], found[1])
    assert len(calls) == made
    wanted = [ensemble(random_clip, prompts, name) for name in ("Brain", "Liver", "Brain")]
    assert torch.equal(found, torch.stack(wanted))
