from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.denoiser import half_grid
from adbench.blocks.prompts import Prompts
from adbench.blocks.ssim import ssim_channels, ssim_space
from adbench.cells.datamodule import DataModule
from adbench.cells.resolve import resolve
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.method import Batch, Support
from adbench.methods.tgumiad.method import SENTENCES, TGUMIAD, Params, pooled, sentences

QUICK = {"epochs": 1, "epoch_images": 0, "encoder_layers": 1, "decoder_layers": 1}


def rebuilt(method: TGUMIAD, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The goal and what the method makes of a batch."""
    with torch.no_grad():
        return method._reconstruct([batch.features.blocks[b] for b in method.blocks], batch.object_names)


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-B-16", facts("ViT-B-16", weights="random"), 224)
        plain, textless = (
            TGUMIAD.create(Params(fusion=fusion), backbone.to(torch.device("meta"))) for fusion in (True, False)
        )
        plain.build()
        textless.build()
    assert sum(p.numel() for p in plain.parameters()) == 3_534_208
    assert sum(p.numel() for p in textless.parameters()) == 3_203_968
    assert sum(p.numel() for p in plain.fusion.parameters()) == 330_240
    assert plain.blocks == (12,)
    assert half_grid(plain.backbone.grid) == 7


def test_what_reaches_the_backbone(bench) -> None:
    shape = bench.backbone.architecture
    plain = TGUMIAD.capability(Params(), shape)
    assert (plain.support, plain.blocks, plain.normalisation, plain.activation) == (
        "normal",
        (12,),
        "imagenet",
        "native",
    )
    other = TGUMIAD.capability(Params(levels=[6, 12], normalisation="clip"), shape)
    assert (other.blocks, other.normalisation) == ((6, 12), "clip")


def test_the_window_is_half_of_the_grid(bench) -> None:
    assert bench.new("tgumiad").denoiser.mask.view(8, 8, 8, 8)[4, 4].sum() == 9  # 3 x 3 of 8 x 8
    assert bench.new("tgumiad", neighbours=7).denoiser.mask.view(8, 8, 8, 8)[4, 4].sum() == 49
    assert bench.new("tgumiad", mask="none").denoiser.mask is None
    with pytest.raises(AdbenchError, match="method.neighbours=9 is not possible on 8 x 8 patches"):
        bench.new("tgumiad", neighbours=9)


def test_the_papers_sentences_by_object() -> None:
    brain = sentences(Params().prompts, "Brain", ["normal", "abnormal"])
    assert brain == list(SENTENCES["Brain"])
    assert brain[0].startswith("This is a normal brain MRI scan.")
    assert sentences(Params().prompts, "Liver", ["normal"]) == [SENTENCES["Liver"][0]]
    assert sentences(Prompts(["clear {}", "fine {}"], []), "Brain", ["abnormal", "normal"]) == [
        SENTENCES["Brain"][1],
        "clear Brain",
        "fine Brain",
    ]


def test_every_object_of_the_six_sets_has_sentences_that_fit_phantom_clip(bench) -> None:
    objects = {
        facts["object_name"]
        for name in ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")
        for facts in [dataset(name)]
    }
    assert objects == set(SENTENCES)
    assert len(bench.backbone.tokenise([text for pair in SENTENCES.values() for text in pair])) == 10


def dataset(name: str) -> dict:
    from adbench.plugins import registry

    return layers.load_yaml(registry.config_files("dataset")[name])


def test_the_score_by_hand(bench, support) -> None:
    method = bench.fitted("tgumiad", **QUICK)
    batch = bench.batch(method, support().images)
    frozen = F.layer_norm(batch.features.blocks[12][:, 1:], (128,))
    goal, found = rebuilt(method, batch)
    torch.testing.assert_close(goal, frozen)
    patches = 0.5 * (found - frozen).pow(2).mean(-1) + 0.5 * (1 - ssim_space(found, frozen, 3))
    ordered = patches.sort(1, descending=True).values
    with torch.no_grad():
        scores = method.score(batch)
    torch.testing.assert_close(scores.image, (ordered[:, 0] + patches.mean(1) + ordered[:, :5].mean(1)) / 3)
    maps = F.interpolate(patches.view(-1, 1, 8, 8), (112, 112), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.maps, maps)


@pytest.mark.parametrize(
    ("params", "formula"),
    [
        ({"score": "sum", "score_weight": 0.3}, lambda e, space, channels: e + 0.3 * (1 - space)),
        ({"score": "mix", "score_weight": 0.3}, lambda e, space, channels: 0.3 * e + 0.7 * (1 - space)),
        ({"ssim": "channels"}, lambda e, space, channels: 0.5 * e + 0.5 * (1 - channels)),
    ],
)
def test_the_score_formulas(bench, params: dict, formula) -> None:
    method = bench.new("tgumiad", **QUICK, **params)
    g = torch.Generator().manual_seed(0)
    goal, found = torch.randn(2, 64, 16, generator=g), torch.randn(2, 64, 16, generator=g)
    terms = (found - goal).pow(2).mean(-1), ssim_space(found, goal, 3), ssim_channels(found, goal)
    torch.testing.assert_close(method._difference(goal, found), formula(*terms))


def test_the_factor_of_the_squared_error(bench) -> None:
    goal, found = torch.zeros(1, 64, 2), torch.zeros(1, 64, 2)
    found[0, 0] = torch.tensor([3.0, 4.0])  # ||.||^2 is 25, the mean over channels 12.5
    for words, wanted in (({}, 12.5), ({"error_factor": 1}, 25.0), ({"error_factor": 0.1}, 2.5)):
        method = bench.new("tgumiad", **QUICK, **words, score="sum", score_weight=0)
        assert float(method._difference(goal, found)[0, 0]) == pytest.approx(wanted)


@pytest.mark.parametrize(("factor", "times"), [("null", 1), (1, 128), (0.5, 64)])
def test_the_factor_scales_the_loss_too(bench, support, factor: object, times: int) -> None:
    method = bench.new("tgumiad", **QUICK, error_factor=factor, jitter="[]", dropout=0.0)
    method.prepare(normal(support()))
    loss = method.training_step(list(method.data.tensors), 0)
    goal, found = rebuilt(method, bench.batch(method, support().images[:3]))
    assert float(loss.detach()) == pytest.approx(times * float((found - goal).pow(2).mean()), rel=1e-4)


def test_sentences_of_their_own_length(bench) -> None:
    method = bench.new("tgumiad", **QUICK, text_norm="false")
    raw = bench.backbone.encode_text(list(SENTENCES["Brain"]))
    assert torch.equal(method._text("Brain"), raw)
    assert not torch.allclose(raw.norm(dim=-1), torch.ones(2))


def test_noise_relative_to_uniads(bench, monkeypatch) -> None:
    from adbench.blocks import jitter

    scales = []
    monkeypatch.setattr(jitter, "spatial", lambda tokens, scale, _: scales.append(scale) or tokens)
    for channels in (0, 128, 272):
        method = bench.new("tgumiad", **QUICK, jitter="[spatial]", jitter_channels=channels)
        method.noise = torch.Generator()
        method._disturb(torch.zeros(1, 64, 128))
    # std / root mean square: 20 / sqrt(272) for UniAD; scale / sqrt(128) here
    assert scales == pytest.approx([20, 20, 20 * (128 / 272) ** 0.5])
    assert scales[2] / 128**0.5 == pytest.approx(20 / 272**0.5)


def test_learned_weights_begin_at_the_given_ones_and_lean_on_the_least_term(bench, support) -> None:
    words = QUICK | {"learn_weights": "true", "image_weights": "[0.5,0.25,0.25]"}
    fresh = bench.new("tgumiad", **words)
    patches = torch.tensor([[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]])  # maximum 6, mean 3.5, top five 4
    torch.testing.assert_close(fresh._pooled(patches), torch.tensor([0.5 * 6 + 0.25 * 3.5 + 0.25 * 4]))
    fitted = bench.fitted("tgumiad", **(words | {"epochs": 4, "learning_rate": 1e-2}))
    before, after = (method.weight_logits.softmax(0).tolist() for method in (fresh, fitted))
    assert after[1] > before[1]
    assert after[0] < before[0]
    assert "weight_logits" in fitted.state_dict()


def test_the_top_five_of_fewer_patches_is_all_of_them() -> None:
    assert float(pooled(torch.tensor([[1.0, 3.0]]), [0, 0, 1])) == 2.0


def test_the_rebuilding_by_hand(bench, support) -> None:
    method = bench.fitted("tgumiad", **QUICK)
    batch = bench.batch(method, support().images[:2])
    with torch.no_grad():
        text = F.normalize(bench.backbone.encode_text(list(SENTENCES["Brain"])), dim=-1)
        tokens = method.enter(F.layer_norm(batch.features.blocks[12][:, 1:], (128,)))
        fused = method.fusion(tokens, text.expand(2, -1, -1))
        wanted = method.leave(method.denoiser(fused))
        keys = method.fusion.project(text).expand(2, -1, -1)
        cross = method.fusion.cross.attention(tokens, keys, keys)[0]
        own = method.fusion.cross.norm(tokens + cross)
        own = method.fusion.own.norm(own + method.fusion.own.attention(own, own, own)[0])
        torch.testing.assert_close(method.fusion.feed_forward(own), fused, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rebuilt(method, batch)[1], wanted)


def test_each_image_is_told_its_own_objects_sentences(bench, support) -> None:
    method = bench.fitted("tgumiad", **QUICK)
    images = support().images[:2]
    features = method.encode(images.float() / 255)
    with torch.no_grad():
        mixed, brain, liver = (
            method.score(Batch(images, features, ("a", "b"), names)).image
            for names in (("Brain", "Liver"), ("Brain", "Brain"), ("Liver", "Liver"))
        )
    torch.testing.assert_close(mixed, torch.stack([brain[0], liver[1]]))
    assert not torch.allclose(brain, liver, rtol=1e-4)


def test_a_support_of_three_datasets_trains_one_model(bench, support) -> None:
    toy = support()
    names = ("Brain", "Liver", "retinal OCT", "x", "x", "x")
    method = bench.fitted("tgumiad", dataclasses.replace(toy, datasets=names, object_names=names), **QUICK)
    assert set(method.text_cache) == {"Brain", "Liver", "retinal OCT"}
    assert method.data.tensors[0].tolist() == [0, 1, 2]


def test_unified_over_three_sets_gives_every_image_its_own_object(tiny, bench) -> None:
    for name in ("Liver", "RESC"):
        (tiny / name).symlink_to(tiny / "Brain", target_is_directory=True)
    words = ["method=tgumiad", "train_on=brainmri+liverct+resc", "shots=2", f"data_root={tiny}"]
    (run,) = config.parse([*words, "dataset=liverct"])
    cell = resolve(run)
    support = DataModule.of_cell(cell).support
    assert cell.protocol == "unified"
    assert support.object_names == ("Brain",) * 2 + ("Liver",) * 2 + ("retinal OCT",) * 2
    method = bench.fitted("tgumiad", support, **QUICK)
    assert set(method.text_cache) == {"Brain", "Liver", "retinal OCT"}
    (other,) = config.parse([*words, "dataset=resc"])
    assert resolve(other).training_key == cell.training_key


def test_noise_is_for_training_alone_and_only_before_the_denoiser(bench, support) -> None:
    method = bench.new("tgumiad", **QUICK, dropout=0.0)
    method.prepare(support())
    batch = bench.batch(method, support().images)
    method.eval()
    still = rebuilt(method, batch)
    method.train()
    moved = rebuilt(method, batch)
    assert torch.equal(still[0], moved[0])
    assert (still[1] - moved[1]).abs().max() > 1e-3
    method.params.jitter = []
    torch.testing.assert_close(rebuilt(method, batch)[1], still[1])


def test_both_jitters_are_drawn(bench, support, monkeypatch) -> None:
    from adbench.blocks import jitter

    drawn = []
    for kind in ("spatial", "frequency"):
        monkeypatch.setattr(jitter, kind, lambda tokens, *_, kind=kind: drawn.append(kind) or tokens)
    bench.fitted("tgumiad", **{**QUICK, "epochs": 12})
    assert set(drawn) == {"spatial", "frequency"}


def test_an_epoch_goes_on_until_enough_images_were_shown(bench, support) -> None:
    for asked, shown in ((0, 3), (3, 3), (4, 4), (7, 7)):
        method = bench.new("tgumiad", epoch_images=asked, batch_size=2)
        method.prepare(normal(support()))
        first = method.data.tensors[1][:, 1, 0].tolist()
        order = [first.index(x) for batch in method.train_dataloader() for x in batch[1][:, 1, 0].tolist()]
        assert len(order) == shown
        assert {*order[:3]} == {0, 1, 2}
        assert len({*order[3:6]}) == min(3, shown - 3)


def normal(toy: Support) -> Support:
    return Support(*(getattr(toy, f.name)[:3] for f in dataclasses.fields(toy)))


@pytest.mark.parametrize(
    ("decay_at", "epochs", "full"), [(0.8, 10, 8), (0.3, 10, 3), (1, 10, 10), (0.01, 10, 1), (0.8, 12, 10)]
)
def test_the_optimiser_is_the_papers_and_the_rate_falls_once(bench, decay_at: float, epochs: int, full: int) -> None:
    method = bench.new("tgumiad", epochs=epochs, decay_at=decay_at)
    found = method.configure_optimizers()
    optimiser, schedule = found["optimizer"], found["lr_scheduler"]
    assert isinstance(optimiser, torch.optim.AdamW)
    assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (2e-4, 1e-4)
    rates = []
    for _ in range(epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([2e-4] * full + [2e-5] * (epochs - full))


def test_the_gradient_is_cut(bench, support, monkeypatch) -> None:
    norms = []
    step = torch.optim.AdamW.step

    def stepped(self, closure=None):
        def looked():
            loss = closure()
            grads = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(torch.cat(grads).norm()))
            return loss

        return step(self, looked)

    monkeypatch.setattr(torch.optim.AdamW, "step", stepped)
    bench.fitted("tgumiad", **QUICK)
    assert norms
    assert max(norms) == pytest.approx(0.1, rel=1e-3)


def test_the_loss_is_against_the_frozen_features(bench, support) -> None:
    for target, width in (("frozen", 128), ("fused", 16)):
        method = bench.new("tgumiad", **QUICK, target=target, width=16)
        method.prepare(normal(support()))
        goal, found = rebuilt(method, bench.batch(method, support().images))
        assert goal.shape == found.shape == (6, 64, width)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("levels", "[6,12]"),
        ("feature_norm", "none"),
        ("neighbours", 5),
        ("mask", "allowed"),
        ("fusion", "false"),
        ("states", "[normal]"),
        ("prompts.normal", "[clear]"),
        ("jitter", "[]"),
        ("jitter_scale", 5),
        ("target", "fused"),
        ("loss", "score"),
        ("score", "sum"),
        ("ssim_window", 5),
        ("image_weights", "[1,0,0]"),
        ("top_k", 1),
        ("error_factor", 0.5),
        ("text_norm", "false"),
        ("jitter_channels", 272),
        ("learn_weights", "true"),
        ("decoder_layers", 2),
        ("epoch_images", 8),
    ],
)
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    with torch.no_grad():
        plain, other = (
            (lambda m: m.score(bench.batch(m, support().images)).image)(bench.fitted("tgumiad", **(QUICK | params)))
            for params in ({}, {param: value})
        )
    assert not torch.allclose(plain, other, rtol=1e-6)


def test_maps_of_levels_average_to_the_map_and_the_fused_features_are_the_adapted(bench, support) -> None:
    method = bench.fitted("tgumiad", **QUICK, levels="[3,6,12]")
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        maps, whole = method.level_maps(batch), method.score(batch).maps
        text = F.normalize(bench.backbone.encode_text(list(SENTENCES["Brain"])), dim=-1).expand(6, -1, -1)
        streams = [F.layer_norm(batch.features.blocks[block][:, 1:], (128,)) for block in (3, 6, 12)]
        fused = method.fusion(method.enter(torch.cat(streams, dim=-1)), text)
        torch.testing.assert_close(method.adapted_features(batch), fused.mean(1))
    assert list(maps) == [3, 6, 12]
    torch.testing.assert_close(torch.stack(list(maps.values())).mean(0), whole)
    assert not torch.allclose(maps[3], maps[12], rtol=0.1)
    assert bench.new("tgumiad", **QUICK, target="fused").level_maps(batch) == {}


def test_it_learns_the_toy(bench, support) -> None:
    method = bench.fitted("tgumiad", epochs=10, epoch_images=32, learning_rate=1e-3, encoder_layers=1, decoder_layers=1)
    toy = support()
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    inside = torch.stack([m[w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    outside = torch.stack([m[~w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    assert (inside > outside).all()


def test_scores_are_finite_for_features_that_overflow_half(bench, support) -> None:
    method = bench.fitted("tgumiad", **QUICK, feature_norm="none")
    batch = bench.batch(method, support().images[:2])
    batch.features.blocks[12].mul_(1e4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = method.score(batch)
    assert torch.isfinite(scores.image).all()
    assert torch.isfinite(scores.maps).all()


@pytest.mark.parametrize("key", ["feature_norm", "mask", "target", "loss", "score", "ssim"])
def test_impossible_choices_are_named(bench, key: str) -> None:
    with pytest.raises(AdbenchError, match=f"method.{key}=odd is not possible: choose from"):
        bench.new("tgumiad", **{key: "odd"})


def test_impossible_lists_and_numbers_are_named(bench, support) -> None:
    for key, value, said in (
        ("jitter", "[spatial,colour]", r"method.jitter=\[spatial,colour\] .* name some of spatial, frequency"),
        ("states", "[]", r"method.states=\[\] .* name some of normal, abnormal"),
        ("width", 100, "method.width=100 is not possible with method.heads=8: give a multiple of 16"),
        ("heads", 0, "method.heads=0 is not possible: at least 1"),
        ("encoder_layers", -1, "method.encoder_layers=-1 is not possible: at least 0"),
        ("decoder_layers", -1, "method.decoder_layers=-1 is not possible: at least 0"),
        ("feed_forward", 0, "method.feed_forward=0 is not possible: at least 1"),
        ("dropout", 1.5, "method.dropout=1.5 is not possible: a share from 0 to 1"),
        ("jitter_scale", -3, "method.jitter_scale=-3.0 is not possible: at least 0"),
        ("high_share", 7, "method.high_share=7.0 is not possible: a share from 0 to 1"),
        ("score_weight", 2, "method.score_weight=2.0 is not possible: a share from 0 to 1"),
        ("decay_at", 0, "method.decay_at=0.0 is not possible: a number above 0"),
        ("decay_at", 1.5, "method.decay_at=1.5 is not possible: a share from 0 to 1"),
        ("clip_norm", -1, "method.clip_norm=-1.0 is not possible: at least 0"),
        ("epoch_images", -1, "method.epoch_images=-1 is not possible: at least 0"),
        ("ssim_window", 4, "method.ssim_window=4 is not possible: an odd number"),
        ("top_k", 0, "method.top_k=0 is not possible: at least 1"),
        ("jitter_channels", -1, "method.jitter_channels=-1 is not possible: at least 0"),
        ("error_factor", 0, "method.error_factor=0.0 is not possible: a number above 0"),
        ("image_weights", "[1,2]", r"method.image_weights=\[1.0, 2.0\] .* three numbers"),
    ):
        with pytest.raises(AdbenchError, match=said):
            bench.new("tgumiad", **{key: value})
    with pytest.raises(AdbenchError, match=r"image_weights=\[1.0,0.0,0.0\] .* with method.learn_weights=true"):
        bench.new("tgumiad", learn_weights="true", image_weights="[1,0,0]")
    with pytest.raises(AdbenchError, match=r"method.jitter_channels has no effect with method.jitter=\[\]"):
        bench.new("tgumiad", jitter="[]", jitter_channels=272)
    empty = Support(*(getattr(support(), f.name)[:0] for f in dataclasses.fields(Support)))
    with pytest.raises(AdbenchError, match="no normal image to learn from"):
        bench.new("tgumiad").prepare(empty)
