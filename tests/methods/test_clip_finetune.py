from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.prompts import Prompts, ensemble
from adbench.cells.resolve import resolve
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.method import Batch, Support
from adbench.methods.clip_finetune.method import CLIPFineTuned, Params

PROMPTS = Prompts(["a photo of a normal {}"], ["a photo of a anomalous {}"])


def whole(bench, method, images: torch.Tensor) -> Batch:
    return bench.batch(method, images)


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 336)
        method = CLIPFineTuned.create(Params(towers=["vision", "text"]), backbone.to(torch.device("meta")))
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    # per block 12 width² weights, 9 width biases and 4 width of layer norms
    assert count == {"vision": 2 * (12 * 1024**2 + 13 * 1024), "words": 2 * (12 * 768**2 + 13 * 768)}
    assert method.block == 22


def test_untrained_it_is_clip_with_one_prompt_per_state(bench, support) -> None:
    images = support().images
    method = bench.new("clip_finetune", towers="[vision,text]")
    clip = bench.new(
        "clip",
        templates="['{}']",
        **{"prompts.normal": "['a photo of a normal {}']", "prompts.abnormal": "['a photo of a anomalous {}']"},
    )
    method.eval()
    with torch.no_grad():
        ours, theirs = (m.score(bench.batch(m, images)) for m in (method, clip))
    torch.testing.assert_close(ours.image, theirs.image, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(ours.maps, theirs.maps, atol=1e-4, rtol=1e-3)


def test_the_loss_by_hand(bench, support) -> None:
    method = bench.new("clip_finetune")
    toy = support()
    method.prepare(toy)
    with torch.no_grad():
        loss = method.training_step(list(method.data.tensors), 0)
        pooled = bench.backbone.features(toy.images.float() / 255, (), pooled=True).pooled
        text = ensemble(bench.backbone, PROMPTS, "Brain", ["{}"])
        p = (F.normalize(pooled, dim=-1) @ text.T / 0.01).softmax(-1)
        wanted = -p[range(6), toy.labels].log().mean()
    assert float(loss) == pytest.approx(float(wanted), rel=1e-3)


@pytest.mark.parametrize(("towers", "moved"), [("[vision]", (4, 0)), ("[text]", (0, 4)), ("[vision,text]", (4, 4))])
def test_only_the_copies_of_the_chosen_towers_are_trained(bench, support, towers: str, moved: tuple[int, int]) -> None:
    tower = bench.backbone.model.visual.transformer.resblocks, bench.backbone.model.transformer.resblocks
    before = [{k: v.clone() for k, v in t.state_dict().items()} for t in tower]
    method = bench.fitted("clip_finetune", epochs=1, towers=towers)
    for theirs, kept in zip(tower, before, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in theirs.state_dict().items())
    for copies, originals, count in zip((method.vision, method.words), tower, moved, strict=True):
        # both linear layers of the MLP of each of the last two blocks
        pairs = list(zip(copies, list(originals)[-2:], strict=False))
        changed = [not torch.equal(a.mlp[i].weight, b.mlp[i].weight) for a, b in pairs for i in range(3) if i != 1]
        assert changed == [True] * count


def test_the_stream_in_front_of_the_trained_blocks_is_what_is_asked_for(bench) -> None:
    shape = bench.backbone.architecture
    assert CLIPFineTuned.capability(Params(), shape).blocks == (10,)
    assert CLIPFineTuned.capability(Params(last_blocks=4), shape).blocks == (8,)
    assert CLIPFineTuned.capability(Params(towers=["text"]), shape).blocks == (12,)
    assert CLIPFineTuned.capability(Params(), shape).threshold == 0.5


def test_it_learns_the_toy(bench, support) -> None:
    for towers in ("[vision]", "[text]"):
        method = bench.fitted("clip_finetune", epochs=20, learning_rate=1e-3, towers=towers)
        with torch.no_grad():
            scores = method.score(bench.batch(method, support().images)).image
        assert scores[3:].min() > scores[:3].max(), towers


def test_each_image_is_told_its_own_object(bench, support) -> None:
    method = bench.fitted("clip_finetune", epochs=1)
    images = support().images[:2]
    features = method.encode(images.float() / 255)
    with torch.no_grad():
        mixed, brain, liver = (
            method.score(Batch(images, features, ("a", "b"), names)).image
            for names in (("Brain", "Liver"), ("Brain", "Brain"), ("Liver", "Liver"))
        )
    torch.testing.assert_close(mixed, torch.stack([brain[0], liver[1]]))
    assert not torch.allclose(brain, liver, rtol=1e-3)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (3, 6), (0, 0)])
def test_one_class_alone_is_refused(bench, support, first: int, last: int) -> None:
    toy = support()
    part = Support(*(getattr(toy, f.name)[first:last] for f in dataclasses.fields(toy)))
    with pytest.raises(AdbenchError, match="clip_finetune learns to tell two classes apart"):
        bench.new("clip_finetune").prepare(part)


@pytest.mark.parametrize("protocol", ["full_normal", "few_normal_shot"])
def test_protocols_with_normals_only_are_refused_before_anything_runs(tiny, protocol: str) -> None:
    (run,) = config.parse(["method=clip_finetune", f"protocol={protocol}", "shots=2", f"data_root={tiny}"])
    with pytest.raises(
        AdbenchError, match=f"protocol={protocol} is not possible: clip_finetune learns from normal and"
    ):
        resolve(run)


def test_impossible_parameters_are_named(bench) -> None:
    for key, value, said in (
        ("towers", "[]", r"method.towers=\[\] is not possible: name some of vision, text"),
        ("towers", "[vision,audio]", r"method.towers=\[vision,audio\] is not possible"),
        ("last_blocks", 12, "method.last_blocks=12 is not possible: 1 to 11 blocks"),
        ("last_blocks", 0, "method.last_blocks=0 is not possible"),
        ("temperature", 0, "method.temperature=0.0 is not possible: a number above 0"),
    ):
        with pytest.raises(AdbenchError, match=said):
            bench.new("clip_finetune", **{key: value})
    with pytest.raises(AdbenchError, match="method.last_blocks=4 is not possible: 1 to 3 blocks"):
        bench.new("clip_finetune", last_blocks=4, towers="[vision,text]")


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("last_blocks", 3),
        ("towers", "[vision,text]"),
        ("temperature", 0.1),
        ("learning_rate", 1e-3),
        ("prompts.normal", "['healthy {}']"),
        ("batch_size", 2),
    ],
)
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    with torch.no_grad():
        plain, other = (
            (lambda m: m.score(bench.batch(m, support().images)).image)(
                bench.fitted("clip_finetune", **{"epochs": 2, "learning_rate": 1e-4} | params)
            )
            for params in ({}, {param: value})
        )
    assert not torch.allclose(plain, other, rtol=1e-6)
