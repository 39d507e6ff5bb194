from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.prompts import ABNORMAL, NORMAL, ensemble
from adbench.errors import AdbenchError
from adbench.methods.madclip.method import Adapter, MadCLIP, Params

# Two levels and three prompts: the text tower is what a step costs.
FEW = {
    "views": 1, "levels": "[6,12]", "positions": "[end]", "prompts.normal": "['{}','flawless {}']",
    "prompts.abnormal": "['damaged {}']",
}  # fmt: skip
FAST = FEW | {"epochs": 1}


def text_of(method: MadCLIP) -> torch.Tensor:
    """What the learner says, (2, embed_dim), or the ablations."""
    fixed, learned = ensemble(method.backbone, method.params.prompts, "Brain"), method.params.learn_prompts
    if learned == "none":
        return fixed
    text = method.learner(method.backbone, "Brain")
    return text if learned == "both" else torch.stack([fixed[0], text[1]])


def by_hand(method: MadCLIP, images: torch.Tensor, text=None, streams=None) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Per level the (B, patches, 2) scores of the detection and the segmentation heads."""
    p, found = method.params, []
    text = text_of(method) if text is None else text
    act = torch.relu if p.adapter_activation == "relu" else (lambda x: F.leaky_relu(x, 0.01))
    streams = streams or method.backbone.features(images.float() / 255, method.blocks).blocks
    for i, block in enumerate(method.blocks):
        columns: dict[str, list[torch.Tensor]] = {"detection": [], "segmentation": []}
        for own, branch in ((0, method.normal), (1, method.normal if p.branches == 1 else method.abnormal)):
            hidden = act(streams[block][:, 1:] @ branch[i].shared[0].weight.T)
            if p.adapter_norm:
                centred = hidden - hidden.mean(-1, keepdim=True)
                hidden = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            for head, scores in columns.items():
                own_head = getattr(branch[i], head if p.heads == 2 else "detection")
                vectors = act(hidden @ own_head[0].weight.T)
                vectors = vectors / vectors.norm(dim=-1, keepdim=True)
                scores.append(vectors @ text[own] - (vectors @ text[1 - own] if p.contrast else 0))
        found.append(tuple(torch.stack(scores, dim=-1) for scores in columns.values()))
    return found


def big(columns: torch.Tensor, size: int = 112) -> torch.Tensor:
    """Both columns interpolated, then the softmax: (B, H, W)."""
    side = round(columns.shape[1] ** 0.5)
    grid = columns.transpose(1, 2).unflatten(2, (side, side))
    return F.interpolate(grid, (size, size), mode="bilinear", align_corners=True).softmax(1)[:, 1]


def segmentation_loss(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The authors' focal and dice of probabilities (B, H, W)."""
    right = torch.where(mask, p, 1 - p)
    overlap = 2 * (p * mask).sum((1, 2)) + 1
    return (-((1 - right) ** 2) * right.log()).mean() + (1 - overlap / (p.sum((1, 2)) + mask.sum((1, 2)) + 1)).mean()


def pooled(patches: torch.Tensor, rule: str) -> torch.Tensor:
    mean, most = patches.mean(1), patches.max(1).values
    return {"mean": mean, "max": most, "both": 0.5 * mean + 0.5 * most}[rule]


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 240)
        method = MadCLIP.create(Params(), backbone.to(torch.device("meta")))
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
    for kind in ("detection", "segmentation"):
        head, out = getattr(adapter, kind), adapter(tokens, kind)
        torch.testing.assert_close(out, F.leaky_relu(hidden @ head[0].weight.T, 0.01))
    # The authors' instance norm over a (token, image, channel) tensor is the same thing.
    swapped = F.instance_norm(F.leaky_relu(tokens @ adapter.shared[0].weight.T, 0.01))
    torch.testing.assert_close(swapped, hidden, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"adapter_activation": "relu"},
        {"adapter_norm": "false"},
        {"branches": 1},
        {"heads": 1},
        {"contrast": "false"},
        {"learn_prompts": "abnormal"},
        {"learn_prompts": "none"},
        {"image_score": "detection"},
        {"image_score": "detection", "pooling": "max"},
        {"image_score": "detection", "pooling": "both"},
    ],
    ids=str,
)
def test_scores_by_hand(bench, support, params: dict[str, object]) -> None:
    method = bench.fitted("madclip", **(FAST | params))
    with torch.no_grad():
        scores = method.score(bench.batch(method, support().images))
        levels = by_hand(method, support().images)
    maps = sum(big(seg) for _, seg in levels)
    torch.testing.assert_close(scores.maps, maps, rtol=1e-5, atol=1e-6)
    image = maps.flatten(1).amax(1)
    if "image_score" in params:
        rule = str(params.get("pooling", "mean"))
        image = sum(pooled(det.softmax(-1)[..., 1], rule) for det, _ in levels)
    torch.testing.assert_close(scores.image, image, rtol=1e-5, atol=1e-6)


def test_adapted_features_are_the_means_of_unit_vectors(bench, support) -> None:
    method = bench.fitted("madclip", **FAST)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        tokens = batch.features.blocks[method.blocks[-1]][:, 1:]
        heads = [branch[-1](tokens, "detection") for branch in (method.normal, method.abnormal)]
        units = [vectors / vectors.norm(dim=-1, keepdim=True) for vectors in heads]
        found = method.adapted_features(batch)
    torch.testing.assert_close(found, torch.cat([each.mean(1) for each in units], dim=-1))


def test_without_masks_the_detection_heads_give_image_score_and_map(bench, support) -> None:
    method = bench.fitted("madclip", support(masks=False), **FAST)
    with torch.no_grad():
        scores = method.score(bench.batch(method, support().images))
        levels = by_hand(method, support().images)
    torch.testing.assert_close(scores.image, sum(det.softmax(-1)[..., 1].mean(1) for det, _ in levels))
    torch.testing.assert_close(scores.maps, sum(big(det) for det, _ in levels))


MASKED = {"all": [True] * 6, "some": [True, False, True, False, True, False], "none": [False] * 6}


@pytest.mark.parametrize(
    ("masked", "params"),
    [
        ("all", {}),
        ("all", {"heads": 1}),
        ("some", {}),
        ("none", {}),
        ("none", {"pooling": "max"}),
        ("none", {"pooling": "both", "contrast": "false"}),
        ("none", {"detection_loss": "softmax"}),
        ("none", {"detection_loss": "softmax", "pooling": "max"}),
    ],
    ids=str,
)
def test_one_training_step_is_the_sum_of_its_losses(bench, support, masked: str, params: dict[str, object]) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor(MASKED[masked]))
    method = bench.new("madclip", **(FEW | params))
    method.prepare(toy)
    with torch.no_grad():  # random weights say nearly the same of both states
        method.learner.abnormal.normal_(generator=torch.Generator().manual_seed(0))
    loss = method.training_step([column.clone() for column in method.data.tensors], 0)
    wanted, rule, labels, rows = 0.0, method.params.pooling, toy.labels, toy.has_mask
    for det, seg in by_hand(method, toy.images):
        if method.params.detection_loss == "softmax":
            p = det.softmax(-1)
            for column in (1 - pooled(p[..., 0], rule), pooled(p[..., 1], rule)):
                wanted += F.binary_cross_entropy(column.sigmoid(), labels.float())
        else:
            sign = torch.where(labels[:, None] == torch.tensor([0, 1]), 1.0, -1.0)
            wanted -= pooled((sign[:, None] * det).sigmoid().log(), rule).sum(1).mean()
        if rows.any():
            wanted += segmentation_loss(big(seg)[rows], toy.masks[rows])
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    loss.backward()
    if method.params.heads == 2:
        assert (method.normal[0].segmentation[0].weight.grad is None) == (masked == "none")
    assert all(p.grad is None for p in bench.backbone.model.parameters())


@pytest.mark.slow
def test_full_size_by_hand(full_size) -> None:
    bench, plain, toy = full_size
    method = bench.new("madclip", **(FEW | {"levels": "[]"}))
    with torch.no_grad():  # random weights say nearly the same of both states
        method.learner.abnormal.normal_(generator=torch.Generator().manual_seed(0))
    method.prepare(toy)
    states = []
    for context, phrases in (
        (method.learner.normal, ("Brain", "flawless Brain")),
        (method.learner.abnormal, ("damaged Brain",)),
    ):
        tokens = bench.backbone.tokenise(["X " * 8 + phrase + "." for phrase in phrases])
        words = plain.weights["token_embedding.weight"][tokens].clone()
        with torch.no_grad():
            words[:, 1:9] = context[0]
            mean = plain.text(words, tokens.argmax(1), causal=False).mean(0)
        states.append(mean / mean.norm())
    text, streams = torch.stack(states), {}
    image, mask = toy.images[1:], toy.masks[1:]
    with torch.no_grad():
        plain.image(image.float() / 255, 14, streams.__setitem__)
        batch = bench.batch(method, image)
        close(method.learner(bench.backbone, "Brain"), text)
        levels = by_hand(method, image, text, streams)
        loss = method.training_step([column[1:] for column in method.data.tensors], 0)
        kinds = ("detection", "segmentation")
        found = method._patch_scores([batch.features.blocks[b] for b in method.blocks], text, kinds)
        scores = method.eval().score(batch)
    wanted = torch.zeros(())
    for i, block in enumerate((6, 12, 18, 24)):
        close(batch.features.blocks[block], streams[block])
        assert levels[i][0].shape == (1, 17 * 17, 2)
        for kind, hand in zip(kinds, levels[i], strict=True):
            close(found[i][kind], hand)
        sign = torch.tensor([-1.0, 1.0])  # the image is abnormal
        wanted = (
            wanted
            - (sign * levels[i][0]).sigmoid().log().mean(1).sum()
            + segmentation_loss(big(levels[i][1], 240), mask)
        )
    close(loss, wanted)
    pixels = sum(big(seg, 240) for _, seg in levels)
    close(scores.maps, pixels)
    close(scores.maps - scores.maps.mean(), pixels - pixels.mean(), 1e-3)
    close(scores.image, pixels.flatten(1).amax(1))


def close(actual: torch.Tensor, wanted: torch.Tensor, share: float = 1e-4) -> None:
    """Nowhere further off than a share of the largest value."""
    torch.testing.assert_close(actual, wanted, rtol=0, atol=share * float(wanted.abs().max()))


@pytest.mark.parametrize(("masked", "learn"), [("all", True), ("some", True), ("none", False)])
def test_the_segmentation_heads_learn_from_every_mask_there_is(bench, support, masked: str, learn: bool) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor(MASKED[masked]))
    before, after = bench.new("madclip", **FEW), bench.fitted("madclip", toy, **FAST)
    assert bool(after.has_masks) == learn
    for a, b in zip(before.normal, after.normal, strict=True):
        assert torch.equal(a.segmentation[0].weight, b.segmentation[0].weight) != learn
        assert not torch.equal(a.detection[0].weight, b.detection[0].weight)


def test_text_is_encoded_in_fp32_to_score_and_in_the_runs_precision_to_learn(bench) -> None:
    method = bench.new("madclip", **FEW).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scoring = method._text(["Brain"])
        learning = method.train()._text(["Brain"])
    with torch.no_grad():
        full = method.learner(bench.backbone, "Brain")
    assert torch.equal(scoring, full)
    assert not torch.equal(learning, full)


def test_it_learns_the_toy(bench, support) -> None:
    method = bench.fitted("madclip", **(FEW | {"epochs": 20}))
    toy = support()
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    inside = torch.stack([m[w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    outside = torch.stack([m[~w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    assert (inside > outside).all()


@pytest.mark.parametrize("views", [1, 11, 16])
def test_every_view_is_trained_on_and_keeps_its_images_facts(bench, support, views: int) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor(MASKED["some"]))
    method = bench.new("madclip", **(FEW | {"views": views, "levels": "[1]"}))
    method.prepare(toy)
    streams, _, labels, masked, masks = method.data.tensors
    assert len(streams) == len(masks) == 6 * views
    assert torch.equal(labels, toy.labels.repeat(views))
    assert torch.equal(masked, toy.has_mask.repeat(views))
    assert len(streams.flatten(1).unique(dim=0)) == 6 * views


def test_the_jitter_has_a_pair_of_factors_for_each_class_or_one_for_both(bench, support, monkeypatch) -> None:
    seen: list[torch.Tensor] = []

    def encode(self: MadCLIP, images: torch.Tensor, _: str) -> SimpleNamespace:
        seen.append(images)
        return SimpleNamespace(blocks={1: images[:, :1, :1]})

    monkeypatch.setattr(MadCLIP, "encode", encode)
    for words in ({}, {"jitter": "class"}, {"jitter": "support"}):
        bench.new("madclip", **(FEW | {"levels": "[1]", "views": 16} | words)).prepare(support())
    plain, by_class, together = (views[-6:] for views in seen)
    assert torch.equal(plain, by_class)
    flat = [[float(view[i].mean() / seen[0][i].mean()) for i in range(6)] for view in (by_class, together)]
    for brightness, alike in zip(flat, (False, True), strict=True):  # clipping moves white squares a little
        assert max(brightness[:3]) - min(brightness[:3]) < 0.01
        assert (abs(sum(brightness[:3]) - sum(brightness[3:])) < 0.1) == alike


def test_a_jitter_that_has_no_effect_is_refused(bench) -> None:
    with pytest.raises(AdbenchError, match="method.jitter=support has no effect with method.views=11"):
        bench.new("madclip", views=11, jitter="support")


@pytest.fixture(scope="module")
def default_scores(bench, support):
    return scored(bench, bench.fitted("madclip", **FAST), support().images)


def scored(bench, method, images):
    with torch.no_grad():
        return method.score(bench.batch(method, images)).image


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("positions", "[end,front]"),
        ("levels", "[12]"),
        ("context_length", 2),
        ("detection_loss", "softmax"),
        ("pooling", "max"),
        ("learn_prompts", "abnormal"),
        ("heads", 1),
        ("branches", 1),
        ("contrast", "false"),
    ],
)
def test_every_facet_does_something(bench, support, default_scores, param: str, value: object) -> None:
    other = scored(bench, bench.fitted("madclip", **(FAST | {param: value})), support().images)
    assert not torch.allclose(default_scores, other)


def test_normalisation_and_activation_are_declared_to_the_harness(bench) -> None:
    shape = bench.backbone.architecture
    plain = MadCLIP.capability(Params(), shape)
    assert (plain.normalisation, plain.activation) == ("none", "gelu")
    other = MadCLIP.capability(Params(normalisation="clip", activation="native"), shape)
    assert (other.normalisation, other.activation) == ("clip", "native")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("views", 12),
        ("image_score", "mean"),
        ("adapter_activation", "tanh"),
        ("branches", 3),
        ("heads", 3),
        ("jitter", "image"),
        ("learn_prompts", "normal"),
        ("detection_loss", "cross_entropy"),
        ("pooling", "median"),
    ],
)
def test_impossible_parameters_are_named(bench, key: str, value: object) -> None:
    with pytest.raises(AdbenchError, match=f"method.{key}={value} is not possible: choose from"):
        bench.new("madclip", **{key: value})


def test_ablations_take_parts_away(bench) -> None:
    def trained(**words: object) -> dict[str, int]:
        method = bench.new("madclip", **words)
        found = {n: sum(p.numel() for p in m.parameters() if p.requires_grad) for n, m in method.named_children()}
        return {name: n for name, n in found.items() if n}

    whole = trained()
    assert set(whole) == {"normal", "abnormal", "learner"}
    shape = bench.backbone.architecture
    head = len(shape.levels(4)) * shape.width * shape.embed_dim
    assert trained(heads=1) == whole | {name: whole[name] - head for name in ("normal", "abnormal")}
    assert trained(branches=1) == {name: whole[name] for name in ("normal", "learner")}
    assert trained(learn_prompts="none") == {name: whole[name] for name in ("normal", "abnormal")}
    assert trained(learn_prompts="abnormal") == whole | {"learner": whole["learner"] // 2}
