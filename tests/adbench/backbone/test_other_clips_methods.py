"""Methods on models with text towers of other kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adbench.backbone.other_clips import OtherText
from adbench.backbone.weights import architecture
from adbench.method import Batch, Support, unmet
from adbench.plugins import registry
from tests.adbench.backbone.other_clips import MODELS, facts, pictures


@pytest.mark.parametrize("kind", MODELS)
def test_each_method_with_text_runs_or_says_what_it_lacks(clips: Path, kind: str) -> None:
    names = ("april_gan", "clip", "clip_finetune", "crossmodal", "madclip", "mediclip", "mvfa", "tgumiad", "winclip")
    shape = architecture(facts(clips, kind), kind)
    needed = {}
    for name in names:
        method = registry.find("method", name).load()
        needed[name] = unmet(method.capability(method.Params(), shape), shape)
    if kind != "siglip":
        assert not any(needed.values())
        return
    assert needed.pop("april_gan") is None
    lacking = "a projection of patches into the space of text"
    assert {name for name, what in needed.items() if what == lacking} == {
        "clip", "clip_finetune", "crossmodal", "winclip",
    }  # fmt: skip
    assert {what for what in needed.values() if what != lacking} == {"a class token"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("april_gan", "siglip"), ("crossmodal", "biomed"), ("clip_finetune", "biomed"), ("madclip", "eva")],
)
def test_methods_score_through_other_towers(tiny_clip: Callable[[str], OtherText], name: str, kind: str) -> None:
    backbone, method_class = tiny_clip(kind), registry.find("method", name).load()
    params = method_class.Params()
    method = method_class.create(params, backbone)
    images = (pictures() * 255).to(torch.uint8)
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[1, :16, :16] = True
    support = Support(images, torch.tensor([0, 1]), masks, torch.ones(2, dtype=torch.bool), *(("a", "b"),) * 3)
    method.prepare(support)
    loss = method.training_step(next(iter(method.train_dataloader())), 0)
    loss.backward()
    assert sum(float(p.grad.abs().sum()) for p in method.parameters() if p.grad is not None) > 0
    assert all(p.grad is None for p in backbone.model.parameters())
    method.build_memory(support)
    with torch.no_grad():
        scores = method.eval().score(Batch.of(method, images, "phantoms", "brain"))
    assert scores.image.shape == (2,)
    assert scores.maps.isfinite().all()
