from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone import Backbone
from adbench.blocks.prompts import ABNORMAL, NORMAL
from adbench.errors import AdbenchError
from adbench.methods.madclip.method import Adapter, MadCLIP, Params


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = Backbone("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 240)
        method = MadCLIP(Params(), backbone, 0)
        method.build()
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in method.named_children()}
    assert count["normal"] + count["abnormal"] == 20_971_520
    assert count["learner"] == 258_048
    assert sum(p.numel() for p in method.parameters()) == 20_971_520 + 258_048
    assert method.blocks == (6, 12, 18, 24)


def test_the_phrases_are_mvfas_and_two_more() -> None:
    prompts = Params().prompts
    assert prompts.normal == NORMAL
    assert prompts.abnormal == [*ABNORMAL, "disease {}", "abnormal {}"]


def test_the_adapter_by_hand() -> None:
    torch.manual_seed(0)
    adapter = Adapter(8, 5, "leaky_relu", norm=True)
    tokens = torch.randn(2, 3, 8)
    hidden = F.leaky_relu(tokens @ adapter.shared[0].weight.T, 0.01)
    hidden = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    for head, out in zip((adapter.detection, adapter.segmentation), adapter(tokens), strict=True):
        vector = F.leaky_relu(hidden @ head[0].weight.T, 0.01)
        torch.testing.assert_close(out, vector / vector.norm(dim=-1, keepdim=True))
    # The authors' instance norm over a (token, image, channel) tensor is the same thing.
    swapped = F.instance_norm(F.leaky_relu(tokens @ adapter.shared[0].weight.T, 0.01))
    torch.testing.assert_close(swapped, hidden, atol=1e-5, rtol=1e-4)


def test_scores_by_hand(bench, support) -> None:
    method = bench.fitted("madclip", epochs=1)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        text = method.learner(bench.backbone, "Brain")
        scores = method.score(batch)
        maps = 0
        for block, normal, abnormal in zip(method.blocks, method.normal, method.abnormal, strict=True):
            tokens = batch.features.blocks[block][:, 1:]
            s_n = normal(tokens)[1] @ (text[0] - text[1])
            s_a = abnormal(tokens)[1] @ (text[1] - text[0])
            columns = torch.stack([s_n, s_a], 1).unflatten(2, (8, 8))
            big = F.interpolate(columns, (112, 112), mode="bilinear", align_corners=True)
            p = big.softmax(1)
            maps = maps + 0.5 * (1 - p[:, 0]) + 0.5 * p[:, 1]
    torch.testing.assert_close(scores.maps, maps)
    torch.testing.assert_close(scores.image, maps.flatten(1).amax(1))


def test_without_masks_the_score_is_the_patch_mean_of_the_detection_heads(bench, support) -> None:
    method = bench.fitted("madclip", support(masks=False), epochs=1)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        text = method.learner(bench.backbone, "Brain")
        wanted = 0
        for block, normal, abnormal in zip(method.blocks, method.normal, method.abnormal, strict=True):
            tokens = batch.features.blocks[block][:, 1:]
            s_n = normal(tokens)[0] @ (text[0] - text[1])
            s_a = abnormal(tokens)[0] @ (text[1] - text[0])
            wanted = wanted + torch.stack([s_n, s_a], -1).softmax(-1)[..., 1].mean(1)
        torch.testing.assert_close(method.score(batch).image, wanted)


def test_the_segmentation_heads_learn_only_from_masks(bench, support) -> None:
    for masks in (True, False):
        before = bench.new("madclip", epochs=1)
        after = bench.fitted("madclip", support(masks=masks), epochs=1)
        moved = [
            not torch.equal(a.segmentation[0].weight, b.segmentation[0].weight)
            for a, b in zip(before.normal, after.normal, strict=True)
        ]
        assert all(moved) if masks else not any(moved)
        assert not torch.equal(before.normal[0].detection[0].weight, after.normal[0].detection[0].weight)


def test_it_learns_the_toy(bench, support) -> None:
    method = bench.fitted("madclip", epochs=8)
    toy = support()
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    inside = torch.stack([m[w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    outside = torch.stack([m[~w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    assert (inside > outside).all()


@pytest.mark.parametrize(
    ("facet", "value"),
    [
        ("views", 11),
        ("adapter_activation", "relu"),
        ("adapter_norm", "false"),
        ("positions", "[end]"),
        ("image_score", "patch_mean"),
        ("levels", "[6,12]"),
        ("branches", 1),
        ("learn_prompts", "false"),
        ("detection_loss", "cross_entropy"),
    ],
)
def test_every_facet_does_something(bench, support, facet: str, value: object) -> None:
    with torch.no_grad():
        plain, other = (
            (lambda m: m.score(bench.batch(m, support().images)).image)(bench.fitted("madclip", epochs=1, **facets))
            for facets in ({}, {facet: value})
        )
    assert not torch.allclose(plain, other)


def test_normalisation_and_activation_are_declared_to_the_harness(bench) -> None:
    shape = bench.backbone.architecture
    plain = MadCLIP.capability(Params(), shape)
    assert (plain.normalisation, plain.activation) == ("none", "gelu")
    other = MadCLIP.capability(Params(normalisation="clip", activation="native"), shape)
    assert (other.normalisation, other.activation) == ("clip", "native")


@pytest.mark.parametrize(("key", "value"), [("views", 12), ("image_score", "mean"), ("adapter_activation", "tanh")])
def test_impossible_facets_are_named(bench, key: str, value: object) -> None:
    with pytest.raises(AdbenchError, match=f"method.{key}={value} is not possible: choose from"):
        bench.new("madclip", **{key: value})


def test_ablations_take_parts_away(bench) -> None:
    def trained(**words: object) -> dict[str, int]:
        method = bench.new("madclip", **words)
        return {
            name: n for name, module in method.named_children() if (n := sum(p.numel() for p in module.parameters()))
        }

    whole = trained()
    assert set(whole) == {"normal", "abnormal", "learner"}
    assert trained(branches=1) == {name: whole[name] for name in ("normal", "learner")}
    assert trained(learn_prompts="false") == {name: whole[name] for name in ("normal", "abnormal")}
