from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.prompts import ABNORMAL, NORMAL, TEMPLATES, ensemble
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.methods.mvfa.adapters import KINDS, Adapter
from adbench.methods.mvfa.method import MVFA, Params, _bce
from adbench.scoring.score import show_test_images
from adbench.training.fit import fit

FAST = {"epochs": 1, "views": 1}


def scored(bench, method, images):
    with torch.no_grad():
        return method.score(bench.batch(method, images))


def by_hand(method, images: torch.Tensor, plain=None) -> dict[str, list[torch.Tensor]]:
    """The adapted tower with a hook behind each level's block, or the plain one: no run_blocks, no cache."""
    found: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
    writers = KINDS if method.has_masks or method.params.inject_untrained else ("detection",)

    def adapt(block: int, x: torch.Tensor) -> torch.Tensor | None:
        if block not in method.levels:
            return None
        outs = []
        for kind in KINDS:
            adapter = method.adapters[kind][method.levels.index(block)]
            middle = F.leaky_relu(x @ adapter.down[0].weight.T, 0.01)
            found[kind].append(middle / middle.norm(dim=-1, keepdim=True))
            if kind in writers:
                outs.append(F.leaky_relu(middle @ adapter.up[0].weight.T, 0.01))
        return (1 - 0.1 * len(outs)) * x + 0.1 * sum(outs)

    visual = method.backbone.model.visual
    with torch.no_grad():
        if plain:
            plain.image(images.float() / 255, 14, adapt)
            return found
        hooks = [
            block.register_forward_hook(lambda _module, _inputs, x, number=number: adapt(number, x))
            for number, block in enumerate(visual.transformer.resblocks, 1)
        ]
        visual(method.backbone.normalise(images.float() / 255))
    for hook in hooks:
        hook.remove()
    return found


def big(patches: torch.Tensor, size: int = 112) -> torch.Tensor:
    side = round(patches.shape[1] ** 0.5)
    grid = patches.unflatten(1, (side, side))[:, None]
    return F.interpolate(grid, (size, size), mode="bilinear", align_corners=True)[:, 0]


def segmentation_loss(p: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The authors' focal and dice of probabilities (B, H, W)."""
    right = torch.where(mask, p, 1 - p)
    p_t = (1 - 1e-5) * right + 1e-5 * (1 - right) + 1e-5
    overlap = 2 * (p * mask).sum((1, 2)) + 1
    return (-((1 - p_t) ** 2) * p_t.log()).mean() + (1 - overlap / (p.sum((1, 2)) + mask.sum((1, 2)) + 1)).mean()


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 240)
        method = MVFA.create(Params(), backbone.to(torch.device("meta")))
    assert sum(p.numel() for p in method.parameters()) == 12_582_912
    assert method.levels == (6, 12, 18, 24)
    assert MVFA.capability(Params(), backbone.architecture).blocks == (6,)


def test_the_prompts_are_the_authors() -> None:
    prompts = Params().prompts
    assert (prompts.normal, prompts.abnormal) == (NORMAL, ABNORMAL)
    assert (len(NORMAL) * len(TEMPLATES), len(ABNORMAL) * len(TEMPLATES)) == (245, 175)


def test_the_papers_activation_stands_behind_the_first_layer_alone() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(2, 3, 8)
    for name, middle, out in (
        ("leaky_relu", lambda x: F.leaky_relu(x, 0.01), lambda x: F.leaky_relu(x, 0.01)),
        ("relu", torch.relu, lambda x: x),
    ):
        adapter = Adapter(8, 5, name, projector=False)
        wanted = middle(tokens @ adapter.down[0].weight.T)
        torch.testing.assert_close(adapter.down(tokens), wanted)
        torch.testing.assert_close(adapter.up(wanted), out(wanted @ adapter.up[0].weight.T))


@pytest.mark.parametrize(
    ("masks", "params"),
    [
        (True, {}),
        (False, {}),
        (False, {"inject_untrained": "false"}),
        (False, {"pooling": "max"}),
        (True, {"score_levels": "[6,12]"}),
        (False, {"score_levels": "[3]"}),
    ],
    ids=str,
)
def test_scores_by_hand(bench, support, masks: bool, params: dict[str, object]) -> None:
    toy = support(masks=masks)
    method = bench.fitted("mvfa", toy, fusion="none", **FAST, **params)
    scores = scored(bench, method, toy.images)
    kind = "segmentation" if masks else "detection"
    tower, text = by_hand(method, toy.images), ensemble(bench.backbone, Params().prompts, "Brain")
    keep = [i for i, block in enumerate((3, 6, 9, 12)) if block in (method.params.score_levels or (3, 6, 9, 12))]
    maps, image = 0, 0
    for level in (tower[kind][i] for i in keep):
        bank = level[:3].flatten(0, 1)  # the normal images come first, class tokens too
        patches = level[:, 1:]
        probability = (100 * patches @ text.T).softmax(-1)[..., 1]
        logits = 100 * patches @ text.T
        upsampled = torch.stack([big(logits[..., 0]), big(logits[..., 1])], dim=-1).softmax(-1)[..., 1]
        distance = (1 - patches @ bank.T).amin(-1)
        maps = maps + (0.5 * upsampled + 0.5 * big(distance)) / len(keep)
        said, far = probability.mean(1), big(distance).flatten(1).mean(1)
        if method.params.pooling == "max":
            said, far = probability.amax(1), distance.amax(1)
        image = image + (0.5 * said + 0.5 * far) / len(keep)
    torch.testing.assert_close(scores.maps, maps, atol=2e-5, rtol=1e-3)
    wanted = maps.flatten(1).amax(1) if masks else image
    torch.testing.assert_close(scores.image, wanted, atol=2e-5, rtol=1e-3)


def test_the_supports_bounds_leave_an_images_own_views_out(bench, support) -> None:
    toy = support()
    method = bench.fitted("mvfa", toy, **FAST)
    tower, text = by_hand(method, toy.images), ensemble(bench.backbone, Params().prompts, "Brain")
    said, far = torch.zeros(6, 112, 112), torch.zeros(6, 112, 112)
    for level in tower["segmentation"]:
        logits = 100 * level[:, 1:] @ (text[1] - text[0])
        said += big(logits).sigmoid() / 4
        for i in range(6):
            bank = torch.cat([level[j] for j in range(3) if j != i])
            far[i] += big((1 - level[i : i + 1, 1:] @ bank.T).amin(-1))[0] / 4
    wanted = torch.tensor([[said.min(), said.max()], [far.min(), far.max()]])
    torch.testing.assert_close(method.map_bounds, wanted, atol=2e-5, rtol=1e-3)
    # Against the whole bank a normal image of the support would be at distance 0.
    assert float(wanted[1, 0]) > 1e-3
    plain = bench.new("mvfa", **FAST)
    plain.load_fitted({name: value.clone() for name, value in method.state_dict().items()})
    plain.map_bounds.copy_(torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    plain.params.text_share, method.params.text_share = 0.25, 0.25
    with torch.no_grad():
        batch = bench.batch(method, toy.images)
        (text_map, bank_map), _ = plain._branches(
            batch.features.blocks, batch.object_names, {"segmentation": plain.segmentation_bank}
        )
    (t0, t1), (b0, b1) = method.map_bounds.tolist()
    fused = 0.25 * (text_map - t0) / (t1 - t0) + 0.75 * (bank_map - b0) / (b1 - b0)
    torch.testing.assert_close(scored(bench, method, toy.images).maps, fused, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("masks", [True, False])
def test_the_authors_fusion_takes_the_bounds_of_all_test_images(bench, support, masks: bool) -> None:
    toy = support(masks=masks)
    method = bench.fitted("mvfa", toy, fusion="transductive", **FAST)
    plain = bench.fitted("mvfa", toy, fusion="none", **FAST)
    show_test_images(method, toy.images.permute(0, 2, 3, 1).numpy(), "brainmri", "Brain", 4, "32-true")
    text, bank = (
        scored(bench, bench.fitted("mvfa", toy, fusion="none", text_share=share, **FAST), toy.images)
        for share in (1, 0)
    )

    def unit(values: torch.Tensor) -> torch.Tensor:
        return (values - values.min()) / (values.max() - values.min())

    wanted = (unit(text.maps) + unit(bank.maps)) / 2
    found = scored(bench, method, toy.images)
    torch.testing.assert_close(found.maps, wanted, atol=1e-4, rtol=1e-3)
    image = wanted.flatten(1).amax(1) if masks else (unit(text.image) + unit(bank.image)) / 2
    torch.testing.assert_close(found.image, image, atol=1e-4, rtol=1e-3)
    shape = bench.backbone.architecture
    assert method.capability(method.params, shape).transductive
    assert not plain.capability(plain.params, shape).transductive
    assert not MVFA.capability(Params(fusion="transductive", text_share=1), shape).transductive, "nothing to fuse"


def test_one_image_alone_has_no_range_to_be_rescaled_by(bench, support) -> None:
    method = bench.fitted("mvfa", support(masks=False), fusion="transductive", **FAST)
    alone = support().images[:1].permute(0, 2, 3, 1).numpy()
    with pytest.raises(AdbenchError, match="fusion=transductive is not possible: over all images .*Score more images"):
        show_test_images(method, alone, "brainmri", "Brain", 5, "32-true")


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("seen", [[0, 1, 2, 3, 4, 5], [0, 2, 4]], ids=["masks", "some masks"])
def test_one_training_step_is_the_sum_of_its_losses(bench, support, pooling: str, seen: list[int]) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor([i in seen for i in range(6)]))
    method = bench.new("mvfa", views=1, pooling=pooling)
    method.prepare(toy)
    batch = [column.clone() for column in method.data.tensors]
    loss = method.training_step(batch, 0)
    tower, text = by_hand(method, toy.images), ensemble(bench.backbone, Params().prompts, "Brain")
    wanted, mask = 0.0, toy.masks[seen]
    for seg, det in zip(tower["segmentation"], tower["detection"], strict=True):
        probability = (100 * det[:, 1:] @ text.T).softmax(-1)[..., 1]
        p = probability.mean(1) if pooling == "mean" else probability.amax(1)
        wanted += F.binary_cross_entropy(torch.sigmoid(p), toy.labels.float())  # the second sigmoid
        wanted += segmentation_loss(big(100 * seg[seen, 1:] @ (text[1] - text[0])).sigmoid(), mask)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    loss.backward()
    # What an early adapter writes is felt behind the frozen blocks; nothing reads what the last one would write.
    for kind in KINDS:
        grads = [adapter.up[0].weight.grad for adapter in method.adapters[kind]]
        assert all(g is not None and float(g.abs().max()) > 0 for g in grads[:-1])
        assert grads[-1] is None
    assert all(p.grad is None for p in bench.backbone.model.parameters())


@pytest.mark.slow
def test_full_size_by_hand(full_size) -> None:
    bench, plain, toy = full_size
    words = {"prompts.normal": "['{}']", "prompts.abnormal": "['damaged {}']"}
    method = bench.fitted("mvfa", toy, epochs=0, views=1, fusion="none", **words)
    states = []
    for phrase in ("Brain", "damaged Brain"):
        tokens = bench.backbone.tokenise([template.replace("{}", phrase) for template in TEMPLATES])
        tokens = tokens[:, : int(tokens.argmax(1).max()) + 1]
        with torch.no_grad():
            vectors = plain.text(plain.weights["token_embedding.weight"][tokens], tokens.argmax(1), causal=True)
        mean = (vectors / vectors.norm(dim=1, keepdim=True)).mean(0)
        states.append(mean / mean.norm())
    text = torch.stack(states)
    close(method.texts(["Brain"])[0], text)
    image, mask = toy.images[1:], toy.masks[1:]
    tower, normal = by_hand(method, image, plain), by_hand(method, toy.images[:1], plain)
    with torch.no_grad():
        found = method._features(bench.batch(method, image).features.blocks)
        loss = method.training_step([column[1:] for column in method.data.tensors], 0)
    wanted, pixels = torch.zeros(()), torch.zeros(1, 240, 240)
    for i in range(4):
        seg, det = tower["segmentation"][i], tower["detection"][i]
        assert seg.shape == det.shape == (1, 1 + 17 * 17, 768)
        close(found["segmentation"][i], seg)
        close(found["detection"][i], det)
        said = (100 * det[:, 1:] @ text.T).softmax(-1)[..., 1].mean(1)
        p = big(100 * seg[:, 1:] @ (text[1] - text[0]), 240).sigmoid()
        wanted = wanted + F.binary_cross_entropy(said.sigmoid(), torch.ones(1)) + segmentation_loss(p, mask)
        far = (1 - seg[:, 1:] @ normal["segmentation"][i][0].T).amin(-1)
        pixels = pixels + (p + big(far, 240)) / 8
    close(loss, wanted)
    scores = scored(bench, method, image)
    close(scores.maps, pixels)
    close(scores.maps - scores.maps.mean(), pixels - pixels.mean(), 1e-3)
    close(scores.image, pixels.flatten(1).amax(1))


def close(actual: torch.Tensor, wanted: torch.Tensor, share: float = 1e-4) -> None:
    """Nowhere further off than a share of the largest value."""
    torch.testing.assert_close(actual, wanted, rtol=0, atol=share * float(wanted.abs().max()))


def test_plain_cross_entropy_by_hand() -> None:
    p, y = torch.tensor([0.2, 0.9, 1.0]), torch.tensor([0.0, 1.0, 1.0])
    torch.testing.assert_close(_bce(p, y, "probability"), F.binary_cross_entropy(p, y))
    assert torch.isfinite(_bce(torch.tensor([0.0]), torch.tensor([1.0]), "probability"))
    sure = torch.tensor([16.0], requires_grad=True)  # and wrong: it still learns
    _bce(sure.sigmoid(), torch.tensor([0.0]), "probability").backward()
    assert sure.grad is not None
    assert float(sure.grad) == pytest.approx(1, rel=0.1)


def test_without_masks_only_the_detection_adapters_learn(bench, support) -> None:
    for masks in (True, False):
        before, after = bench.new("mvfa", **FAST), bench.fitted("mvfa", support(masks=masks), **FAST)
        for kind in KINDS:
            pairs = zip(before.adapters[kind], after.adapters[kind], strict=True)
            moved = [not torch.equal(b.down[0].weight, a.down[0].weight) for b, a in pairs]
            assert all(moved) if masks or kind == "detection" else not any(moved)


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_a_batch_without_masks_leaves_the_segmentation_adapters_where_they_are(
    bench, support, monkeypatch, precision: str
) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor([True, False] * 3))
    method, seen = bench.new("mvfa", views=1, epochs=2, batch_size=1), []
    step = MVFA.training_step

    def weights(kind: str) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in method.adapters[kind].parameters()])

    def watched(self: MVFA, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        seen.append((bool(batch[1].any()), *map(weights, KINDS)))
        return step(self, batch, at)

    monkeypatch.setattr(MVFA, "training_step", watched)
    (run,) = config.parse([f"precision={precision}"])
    fit(method, toy, run, torch.device("cpu"))
    seen.append((True, *map(weights, KINDS)))
    assert sorted(masked for masked, *_ in seen[:-1]) == [False] * 6 + [True] * 6
    for (masked, seg, det), (_, next_seg, next_det) in itertools.pairwise(seen):
        assert torch.equal(seg, next_seg) != masked
        assert not torch.equal(det, next_det)
    assert all(p.requires_grad for p in method.parameters()), "what a record counts"


def test_untrained_adapters_write_to_the_stream_only_when_told(bench, support) -> None:
    toy = support(masks=False)
    for inject in ("false", "true"):
        method = bench.fitted("mvfa", toy, inject_untrained=inject, **FAST)
        before = scored(bench, method, toy.images).image
        with torch.no_grad():
            method.adapters["segmentation"][0].up[0].weight.mul_(-3)
        assert torch.equal(before, scored(bench, method, toy.images).image) == (inject == "false")


def test_projectors_read_the_untouched_stream_from_the_cache(bench, support) -> None:
    method = bench.fitted("mvfa", projectors="true", **FAST)
    assert bench.capability(method).blocks == (3, 6, 9, 12)
    assert not any("up" in name for name, _ in method.named_parameters())
    toy = support()
    streams = bench.backbone.features(toy.images.float() / 255, (3, 6, 9, 12)).blocks
    with torch.no_grad():
        found = method._features(streams)["segmentation"]
        for adapter, stream, own in zip(method.adapters["segmentation"], streams.values(), found, strict=True):
            torch.testing.assert_close(own, F.normalize(F.leaky_relu(stream @ adapter.down[0].weight.T), dim=-1))


def test_objects_of_several_kinds_are_each_told_in_their_own_words(bench, support) -> None:
    toy = dataclasses.replace(support(), object_names=("Brain", "Liver") * 3)
    method = bench.new("mvfa", views=1)
    method.prepare(toy)
    objects = method.data.tensors[2]
    assert [method.names[i] for i in objects.tolist()] == list(toy.object_names)
    mixed = float(method.training_step(list(method.data.tensors), 0).detach())
    method.prepare(support())
    brain = float(method.training_step(list(method.data.tensors), 0).detach())
    assert mixed != pytest.approx(brain, rel=1e-5)


def test_the_text_alone_needs_no_bank(bench, support) -> None:
    method = bench.fitted("mvfa", text_share=1, **FAST)
    assert method.segmentation_bank.numel() == method.detection_bank.numel() == 0
    tower, text = by_hand(method, support().images), ensemble(bench.backbone, Params().prompts, "Brain")
    wanted = sum(big(100 * t[:, 1:] @ (text[1] - text[0])).sigmoid() for t in tower["segmentation"]) / 4
    torch.testing.assert_close(scored(bench, method, support().images).maps, wanted, atol=2e-5, rtol=1e-3)


def test_it_learns_the_toy(bench, support) -> None:
    toy = support()
    method = bench.fitted("mvfa", epochs=12, views=1, batch_size=2)
    scores = scored(bench, method, toy.images)
    assert scores.image[3:].min() > scores.image[:3].max()
    for own, where in zip(scores.maps[3:], toy.masks[3:], strict=True):
        assert own[where].mean() > own[~where].mean()


def test_the_defaults_are_the_authors_and_the_short_schedule_takes_larger_batches(bench) -> None:
    assert (Params().batch_size, Params().inject_untrained, Params().epochs) == (1, True, 50)
    (short,), (paper,) = (config.parse(["method=mvfa", f"schedule={name}"]) for name in ("short", "paper"))
    assert [
        layers.method_params(Params, run.method, run.schedule, run.words("method")).batch_size for run in (short, paper)
    ] == [16, 1]


FACETS = {
    "views": 11, "adapter_activation": "relu", "keep": 0.9, "projectors": "true", "levels": "[12]", "scale": 10,
    "bce": "probability", "pooling": "max", "image_score": "detection", "fusion": "none", "text_share": 0,
    "score_levels": "[12]",
}  # fmt: skip


@pytest.fixture(scope="module")
def default_scores(bench, support):
    return scored(bench, bench.fitted("mvfa", **FAST), support().images).image


@pytest.mark.parametrize("param", list(FACETS))
def test_every_facet_does_something(bench, support, default_scores, param: str) -> None:
    other = scored(bench, bench.fitted("mvfa", **(FAST | {param: FACETS[param]})), support().images).image
    assert not torch.allclose(default_scores, other)


def test_the_bank_holds_every_view_of_the_normal_images_or_the_images(bench, support) -> None:
    toy = support(shots=2)
    every = bench.fitted("mvfa", toy, epochs=0)
    plain = bench.fitted("mvfa", toy, epochs=0, bank_views="false", bank_cls="false")
    assert every.segmentation_bank.shape == (4, 2 * 11 * 65, 128)
    assert plain.segmentation_bank.shape == (4, 2 * 64, 128)
    torch.testing.assert_close(every.segmentation_bank[:, 1:65], plain.segmentation_bank[:, :64], atol=1e-5, rtol=1e-4)
    assert every.detection_bank.numel() == 0  # where the map decides, nothing asks for it


def test_normalisation_and_activation_are_declared_to_the_harness(bench) -> None:
    shape = bench.backbone.architecture
    plain = MVFA.capability(Params(), shape)
    assert (plain.normalisation, plain.activation, plain.blocks) == ("none", "gelu", (3,))
    other = MVFA.capability(Params(normalisation="clip", activation="native", levels=[12]), shape)
    assert (other.normalisation, other.activation, other.blocks) == ("clip", "native", (12,))


@pytest.mark.parametrize(
    ("key", "value", "meaning"),
    [
        ("fusion", "max", "choose from support, transductive, none"),
        ("views", 16, "choose from 1, 11"),
        ("bce", "sigmoid", "choose from logits, probability"),
        ("pooling", "median", "choose from mean, max"),
        ("image_score", "mean", "choose from auto, map_max, detection"),
        ("adapter_activation", "tanh", "choose from leaky_relu, relu"),
        ("keep", 1.2, "a share from 0 to 1"),
        ("text_share", -0.1, "a share from 0 to 1"),
        ("score_levels", "[5]", r"choose from the levels \[3, 6, 9, 12\]"),
    ],
)
def test_impossible_parameters_are_named(bench, key: str, value: object, meaning: str) -> None:
    shown = str(value).replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(AdbenchError, match=rf"method\.{key}={shown} is not possible: .*{meaning}"):
        bench.new("mvfa", **{key: value})


def test_a_support_that_gives_no_bank_or_no_range_is_named(bench, support) -> None:
    def of(*rows: int):
        values = {f.name: getattr(support(), f.name) for f in dataclasses.fields(support())}
        kept = {
            n: v[list(rows)] if isinstance(v, torch.Tensor) else tuple(v[i] for i in rows) for n, v in values.items()
        }
        return dataclasses.replace(support(), **kept)

    with pytest.raises(AdbenchError, match=r"no normal support image .*method\.text_share=1"):
        bench.fitted("mvfa", of(3, 4), epochs=0, views=1)
    with pytest.raises(AdbenchError, match=r"not possible with a single support image.*method\.fusion=none"):
        bench.fitted("mvfa", of(0), epochs=0)
    assert torch.isfinite(scored(bench, bench.fitted("mvfa", of(0), epochs=0, fusion="none"), of(0).images).image).all()
    with pytest.raises(AdbenchError, match="gives one and the same value.*more shots"):
        bench.fitted("mvfa", of(0, 3), epochs=0, views=1, image_score="detection")
