from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.contract import Features
from adbench.errors import AdbenchError
from adbench.methods.dra.heads import Heads, PatchScores, losses
from adbench.methods.dra.method import DRA, Params
from adbench.methods.dra.triples import PseudoAnomalies, Triples

QUICK = {"epochs": 1, "epoch_steps": 3, "batch_size": 4, "pseudo_images": 6}


def scored(bench, method, images):
    with torch.no_grad():
        return method.score(bench.batch(method, images))


@pytest.fixture(scope="module")
def plain(bench, support) -> Tensor:
    """Return the image scores of the toy by the plain method."""
    image: Tensor = scored(bench, bench.fitted("dra", **QUICK), support().images).image
    return image


def head(weight: list[float], bias: float) -> nn.Linear:
    layer = nn.Linear(len(weight), 1)
    layer.load_state_dict({"weight": torch.tensor([weight]), "bias": torch.tensor([bias])})
    return layer


@torch.no_grad()
def test_the_heads_by_hand() -> None:
    heads = Heads(2, 0, 2)
    heads.seen, heads.pseudo = head([1.0, 0.0], 0.5), head([0.0, 2.0], 0.0)
    heads.residual = head([1.0, 1.0], -1.0)
    wide = nn.Linear(2, 2)
    wide.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [0.0, -1.0]]), "bias": torch.tensor([2.0, 0.0])})
    heads.normality[0], heads.normality[2] = wide, head([2.0, 5.0], 1.0)
    patches = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
    reference = torch.tensor([[1.0, 1.0], [2.0, 2.0]])
    said = heads(heads.adapted(patches), reference)
    assert said.seen.tolist() == [[1.5, 3.5]]
    assert said.pseudo.tolist() == [[4.0, 0.0]]
    assert said.residual.tolist() == [[-2.0, 0.0]]  # the reference less the patch: (0 - 1) - 1 and (-1 + 2) - 1
    assert said.normality.tolist() == [9.0]  # of the mean patch (2, 1): 4 and, below zero, 0; 2 x 4 + 1
    assert said.total().tolist() == [[-5.5, -5.5]]
    highest = said.pooled(0.1)  # one patch of two is the least
    assert [float(score) for score in highest] == [3.5, 4.0, 0.0, 9.0]
    assert highest.total().tolist() == [-1.5]
    assert [float(score) for score in said.pooled(1.0)] == [2.5, 2.0, -1.0, 9.0]


@torch.no_grad()
def test_the_adapter_is_shared_by_all_heads_and_comes_before_the_residual() -> None:
    heads = Heads(2, 1, 0)
    assert isinstance(heads.adapter, nn.Sequential)
    heads.adapter[0] = head([1.0, 1.0], -2.0)
    heads.seen = heads.pseudo = heads.residual = head([1.0], 0.0)
    heads.normality = nn.Sequential(heads.seen)
    adapted = heads.adapted(torch.tensor([[[1.0, 4.0], [1.0, 0.0]]]))
    assert adapted.tolist() == [[[3.0], [0.0]]]  # negative numbers become 0
    said = heads(adapted, torch.tensor([[1.0], [1.0]]))
    assert [part.tolist() for part in said] == [[[3.0, 0.0]], [[3.0, 0.0]], [[-2.0, 1.0]], [1.5]]


def test_the_loss_of_each_head_by_hand() -> None:
    normal, seen, pseudo = (
        PatchScores(*(torch.tensor([value]) for value in values))
        for values in ((1.0, -2.0, 0.5, 3.0), (4.0, 100.0, 2.0, -1.0), (100.0, 3.0, 9.0, 0.5))
    )
    terms = losses(normal, seen, pseudo, mean=0.0, std=1.0, margin=5.0)
    assert {name: float(term) for name, term in terms.items()} == {
        "seen": (1 + (5 - 4)) / 2,  # the pseudo anomaly's 100 is no part of it
        "pseudo": (2 + (5 - 3)) / 2,
        "residual": (0.5 + (5 - 2) / 2) / 2,  # both kinds of anomaly: 9 is beyond the margin
        "normality": ((1 + 0.5) / 2 + (5 - 3)) / 2,  # the reverse: a normal image is to deviate
    }
    (moved,) = {float(losses(normal, seen, pseudo, 1.0, 2.0, 5.0)["seen"])}
    assert moved == (0 + (5 - 1.5)) / 2


def plainly(features: Features, prefix: int) -> Tensor:
    """Return (B, P, C): each level layer-normed, concatenated."""
    levels = [tokens[:, prefix:] for tokens in features.blocks.values()]
    levels += [level.flatten(2).transpose(1, 2) for level in features.stages.values()]
    return torch.cat([F.layer_norm(level, level.shape[-1:]) for level in levels], dim=-1)


@pytest.mark.parametrize(("backbone", "read", "grid"), [("bench", (6, 9, 12), 8), ("cnn_bench", (4,), 4)])
@pytest.mark.parametrize("adapter", [0, 8])
def test_scores_by_hand(request, support, backbone: str, read: tuple[int, ...], grid: int, adapter: int) -> None:
    bench, toy = request.getfixturevalue(backbone), support()
    method = bench.fitted("dra", adapter=adapter, top=0.25, references=2, **QUICK)
    assert (*method.declared.blocks, *method.declared.stages) == read
    scores = scored(bench, method, toy.images)
    patches = plainly(bench.batch(method, toy.images).features, bench.backbone.architecture.prefix)
    heads = method.heads
    with torch.no_grad():
        if adapter:
            patches = (patches @ heads.adapter[0].weight.T + heads.adapter[0].bias).clamp(min=0)
        chosen = torch.randperm(3, generator=method.generator("references"))[:2]
        vectors = (patches, patches, patches[chosen].mean(0) - patches)
        each = [
            (x @ h.weight.T + h.bias)[..., 0]
            for x, h in zip(vectors, (heads.seen, heads.pseudo, heads.residual), strict=True)
        ]
        first, _, last = heads.normality
        units = (patches.mean(1) @ first.weight.T + first.bias).clamp(min=0)
        assert units.shape == (6, 256)
        normality = (units @ last.weight.T + last.bias)[:, 0]
    count = grid * grid // 4
    image = sum(part.sort(dim=1).values[:, -count:].mean(1) for part in each) - normality
    torch.testing.assert_close(scores.image, image, rtol=1e-4, atol=1e-4)
    cells = (sum(each) - normality[:, None]).view(6, 1, grid, grid)
    maps = F.interpolate(cells, (112, 112), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.maps, maps, rtol=1e-4, atol=1e-4)


def test_one_training_step_is_the_sum_of_four_losses(bench, support) -> None:
    method = bench.new("dra", **QUICK)
    method.prepare(support())
    g = torch.Generator().manual_seed(3)
    normal, seen, pseudo = torch.randn(3, 2, 64, 3 * bench.backbone.architecture.width, generator=g)
    loss = method.training_step([normal, seen, pseudo], 0)
    reference = method.references.mean(0)
    mean, std = method.centre, method.spread

    def image(layer: nn.Linear, patches: Tensor) -> Tensor:
        return layer(patches)[..., 0].topk(6, dim=1).values.mean(1)  # int(0.1 x 64) patches

    def low(scores: Tensor) -> Tensor:
        return ((scores - mean) / std).abs().mean() / 2

    def high(scores: Tensor) -> Tensor:
        return (5 - (scores - mean) / std).clamp(min=0).mean() / 2

    h, residual = method.heads, [reference - patches for patches in (normal, seen, pseudo)]
    whole = [h.normality(patches.mean(1))[:, 0] for patches in (normal, seen, pseudo)]
    wanted = low(image(h.seen, normal)) + high(image(h.seen, seen))
    wanted = wanted + low(image(h.pseudo, normal)) + high(image(h.pseudo, pseudo))
    wanted = wanted + low(image(h.residual, residual[0])) + high(image(h.residual, torch.cat(residual[1:])))
    wanted = wanted + high(whole[0]) + low(torch.cat(whole[1:]))
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    loss.backward()
    assert all(float(layer.weight.grad.abs().max()) > 0 for layer in (h.seen, h.pseudo, h.residual, h.normality[0]))


def test_scores_deviate_from_5000_draws_of_the_cells_seed(bench, support) -> None:
    one, same, other = (bench.new("dra", seed=seed, **QUICK) for seed in (0, 0, 1))
    for method in (one, same, other):
        method.prepare(support())
    assert (one.centre, one.spread) == (same.centre, same.spread)
    assert one.centre != other.centre
    draws = torch.randn(5000, generator=one.generator("reference scores"))
    assert one.centre == pytest.approx(float(draws.sum()) / 5000, abs=1e-6)
    assert one.spread == pytest.approx(float((draws - draws.mean()).square().sum() / 4999) ** 0.5, rel=1e-5)


def test_a_pseudo_anomaly_is_a_normal_image_with_a_piece_of_another_whatever_the_order(support) -> None:
    normal = support().images[:3]
    made = PseudoAnomalies(normal, ["cutmix"], [0.2, 0.3], seed=5)
    images = made.first(12)
    assert images.dtype == torch.uint8
    assert torch.equal(images[7], PseudoAnomalies(normal, ["cutmix"], [0.2, 0.3], seed=5)[7])
    assert not torch.equal(images, PseudoAnomalies(normal, ["cutmix"], [0.2, 0.3], seed=6).first(12))
    kept = (images[:, None] == normal).all(2).flatten(2).float().mean(2)  # share of the pixels as in each normal image
    assert ((kept.amax(1) > 0.9) & (kept.amax(1) < 1)).all()
    assert len(kept.argmax(1).unique()) == 3


def test_by_default_the_piece_is_of_the_image_itself(support) -> None:
    normal = support().images[:3].clone()
    for i, row in enumerate(normal):
        row[:] = 50 * (i + 1)
        row[:, :56, :56] += 40
    for image in PseudoAnomalies(normal, Params().pseudo, [0.2, 0.3], seed=5).first(12):
        (whole,) = [row for row in normal if (row == image).float().mean() > 0.9]
        assert not torch.equal(image, whole)


def test_triples_hold_one_of_each_kind_and_all_of_them_in_the_end() -> None:
    normal, seen, pseudo = (torch.arange(n).view(n, 1, 1) + 10.0 * k for k, n in enumerate((2, 3, 4)))
    data = Triples(normal, seen, pseudo, seed=0)
    drawn = torch.tensor([[float(part) for part in data[i]] for i in range(60)])
    assert [sorted(set(column.tolist())) for column in drawn.T] == [[0, 1], [10, 11, 12], [20, 21, 22, 23]]
    assert [float(part) for part in data[7]] == drawn[7].tolist()


@pytest.mark.parametrize("backbone", ["bench", "cnn_bench"])
def test_new_pseudo_anomalies_pass_the_backbone_in_every_step_and_a_fixed_set_does_not(
    request, backbone, support, monkeypatch
) -> None:
    bench = request.getfixturevalue(backbone)
    toy, encode, calls = support(), bench.backbone.features, []
    monkeypatch.setattr(bench.backbone, "features", lambda x, *a, **k: calls.append(len(x)) or encode(x, *a, **k))
    for count, steps in ((6, 0), (0, 3)):
        method = bench.new("dra", **(QUICK | {"pseudo_images": count}))
        method.prepare(toy)
        calls.clear()
        batches = [list(batch) for batch in method.train_dataloader()]
        lost = [float(method.training_step(batch, 0).detach()) for batch in batches]
        assert calls == [4] * steps
        if not count:
            normal, seen, images = batches[0]
            assert images.dtype == torch.uint8
            assert len(torch.cat([made for *_, made in batches]).unique(dim=0)) == 12, "no image is made twice"
            features = encode(images, method.blocks, stages=method.declared.stages)
            again = [normal, seen, method._patches(features)]
            method.params = dataclasses.replace(method.params, pseudo_images=1)
            assert float(method.training_step(again, 0).detach()) == pytest.approx(lost[0], rel=1e-5)


def test_reference_images_are_normal_and_as_many_as_asked_for(bench, support) -> None:
    toy = support(shots=8)
    for count, found in ((5, 5), (20, 8)):
        method = bench.fitted("dra", toy, references=count, **QUICK)
        with torch.no_grad():
            normal = method._patches(method.encode(toy.images[:8]))
        same = (method.references[:, None] == normal).flatten(2).all(2)
        assert same.any(0).sum() == same.any(1).sum() == found
        torch.testing.assert_close(method.reference, method.heads.adapted(method.references).mean(0))


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("resnet-18", facts("resnet-18", weights="random"), 448)
        for adapter, hidden, wanted in (
            (0, 256, 3 * (512 + 1) + (512 + 1) * 256 + 256 + 1),
            (0, 0, 4 * (512 + 1)),
            (256, 0, (512 + 1) * 256 + 4 * (256 + 1)),
        ):
            method = DRA.create(Params(adapter=adapter, hidden=hidden), backbone.to(torch.device("meta")))
            assert sum(p.numel() for p in method.parameters()) == wanted
    assert DRA.capability(Params(), backbone.architecture).stages == (4,)
    p = Params()
    assert (p.adapter, p.hidden, p.learning_rate, p.weight_decay, p.top, p.references) == (0, 256, 1e-3, 1e-2, 0.1, 5)


def test_it_learns_the_toy(bench, support) -> None:
    toy = support()
    method = bench.fitted("dra", toy, epochs=4)
    scores = scored(bench, method, toy.images)
    assert scores.image[3:].min() > scores.image[:3].max()


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("adapter", 16), ("hidden", 0), ("blocks", "[3]"), ("epoch_steps", 1), ("epochs", 2), ("level_norm", "false"),
        ("margin", 0.01), ("pseudo", "[gauss,source]"), ("pseudo", "[cutpaste]"), ("pseudo", "[cutmix]"),
        ("pseudo_images", 0), ("references", 1), ("sides", "[0.7,0.9]"), ("top", 1), ("weight_decay", 1),
        ("learning_rate", 0.01), ("batch_size", 1),
    ],
)  # fmt: skip
def test_every_facet_does_something(bench, plain, support, param: str, value: object) -> None:
    other = scored(bench, bench.fitted("dra", **(QUICK | {param: value})), support().images).image
    assert not torch.allclose(plain, other)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"top": 0}, r"method\.top=0\.0 is not possible: a number above 0"),
        ({"top": 1.5}, r"method\.top=1\.5 is not possible: a share from 0 to 1"),
        ({"margin": 0}, r"method\.margin=0\.0 is not possible: a number above 0"),
        ({"references": 0}, r"method\.references=0 is not possible: at least 1"),
        ({"epoch_steps": 0}, r"method\.epoch_steps=0 is not possible: at least 1"),
        ({"pseudo": "[mixup]"}, r"method\.pseudo=\[mixup\] is not possible: name some of moved, cutmix, cutpaste"),
        ({"sides": "[0.6,0.1]"}, r"method\.sides=\[0\.6,0\.1\] is not possible: two numbers from 0\.01 to 1"),
        (
            {"sides": "[0.1,0.2]", "pseudo": "[gauss]"},
            r"method\.sides=\[0\.1,0\.2\] has no effect on method\.pseudo=\[gauss\]",
        ),
        ({"stages": "[4]"}, r"method\.stages=\[4\] is not possible: the backbone is a ViT"),
    ],
)
def test_what_cannot_be_is_named(bench, words: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("dra", **words)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_is_refused(bench, support, label: int) -> None:
    method, toy = bench.new("dra", **QUICK), support()
    with pytest.raises(AdbenchError, match=r"dra learns to tell two classes apart .* protocol=few_shot shots=16"):
        method.prepare(dataclasses.replace(toy, labels=torch.full((6,), label)))


def test_the_support_is_left_as_it_is_and_pseudo_anomalies_are_made_of_normal_images_alone(bench, support) -> None:
    toy = support()
    before = toy.images.clone()
    method = bench.new("dra", **(QUICK | {"pseudo_images": 0}))
    method.prepare(toy)
    assert torch.equal(toy.images, before)
    assert np.array_equal(np.stack(method.data.pseudo.sources), toy.images[:3].numpy())


def test_a_triple_and_its_new_pseudo_anomaly_are_drawn_independently(bench, support) -> None:
    method = bench.new("dra", **QUICK | {"pseudo_images": 0})
    method.prepare(support())
    assert isinstance(method.data.pseudo, PseudoAnomalies)
    assert method.data.pseudo.seed != method.data.seed
