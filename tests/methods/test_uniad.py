from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.contract import Features
from adbench.backbone.weights import architecture
from adbench.blocks import frozen
from adbench.blocks.denoiser import half_grid
from adbench.cells.datamodule import DataModule
from adbench.cells.resolve import resolve
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.method import Batch, Support, unmet
from adbench.methods.uniad.method import Params, UniAD
from adbench.plugins import registry

QUICK = {"epochs": 1, "epoch_images": 0, "width": 32, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1}


def normal(toy: Support) -> Support:
    return Support(*(getattr(toy, f.name)[:3] for f in dataclasses.fields(toy)))


def plainly(features: Features) -> torch.Tensor:
    """Return the layer-normed levels (B, positions, C): blocks of a ViT, or stages of a CNN resized to the coarsest."""
    if features.blocks:
        return torch.cat([F.layer_norm(t[:, 1:], t.shape[-1:]) for t in features.blocks.values()], dim=-1)
    size = min(level.shape[-1] for level in features.stages.values())
    parts = []
    for level in features.stages.values():
        if level.shape[-1] != size:
            level = F.interpolate(level, size=(size, size), mode="bilinear", align_corners=True)
        parts.append(F.layer_norm(level.permute(0, 2, 3, 1), level.shape[1:2]))
    return torch.cat(parts, dim=-1).flatten(1, 2)


def test_the_published_model_has_the_published_parameters(facts) -> None:
    with torch.device("meta"):
        backbone = build("efficientnet-b4", facts("efficientnet-b4", weights="random"), 224)
        method = UniAD.create(paper(), backbone.to(torch.device("meta")))
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 7_717_392
    assert (method.declared.stages, method.declared.blocks) == ((0, 1, 2, 3), ())
    assert (method.grid, half_grid(method.grid), method.pool) == (14, 7, 16)
    assert (method.enter.in_features, method.leave.out_features) == (272, 272)


def paper() -> Params:
    config_ = layers.load_yaml(registry.config_files("method")["uniad"])
    return Params(**config_["schedules"]["paper"])


def test_the_paper_preset_is_the_authors_and_the_default_reads_any_backbone(facts) -> None:
    own = paper()
    assert (own.epochs, own.batch_size, own.learning_rate, own.weight_decay) == (1000, 8, 1e-4, 1e-4)
    assert (own.clip_norm, own.decay_at, own.jitter_scale, own.level_norm, own.resize) == (
        0.1,
        0.8,
        20,
        False,
        "bilinear",
    )
    for name, read in (("phantom-clip", (3, 6, 9, 12)), ("siglip2-b", (3, 6, 9, 12)), ("resnet-18", (0, 1, 2, 3))):
        shape = architecture(facts(name), name)
        found = UniAD.capability(Params(), shape)
        assert (*found.blocks, *found.stages) == read
        assert (found.support, found.resize, found.normalisation) == ("normal", "bicubic", "native")
        assert unmet(found, shape) is None


@pytest.mark.parametrize(("backbone", "grid", "pool"), [("bench", 8, 14), ("cnn_bench", 7, 16)])
def test_the_score_by_hand(request: pytest.FixtureRequest, support, backbone: str, grid: int, pool: int) -> None:
    bench = request.getfixturevalue(backbone)
    method = bench.fitted("uniad", **QUICK)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        tokens = plainly(batch.features)
        difference = method.leave(method.denoiser(method.enter(tokens))) - tokens
        scores = method.score(batch)
    distance = difference.pow(2).sum(-1).sqrt().view(-1, 1, grid, grid)
    maps = F.interpolate(distance, (112, 112), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.maps, maps, atol=1e-4, rtol=1e-4)
    means = maps.unfold(1, pool, 1).unfold(2, pool, 1).mean((-1, -2))
    torch.testing.assert_close(scores.image, means.flatten(1).max(1).values, atol=1e-4, rtol=1e-4)


def test_the_pooling_by_hand(bench, support, monkeypatch: pytest.MonkeyPatch) -> None:
    method = bench.new("uniad", **QUICK, pool=56)
    batch = bench.batch(method, support().images[:1])
    off = torch.zeros(1, 64, 512)
    off[0, 0, :2] = torch.tensor([3.0, 4.0])  # the first position alone is off, by 5
    monkeypatch.setattr(method, "_difference", lambda features: off)
    scores = method.score(batch)
    assert float(scores.maps[0, 0, 0]) == 5.0
    # Along a side the map falls from 5 to 0 in 111 / 7 pixels.
    side = torch.clamp(1 - torch.arange(56) * 7 / 111, min=0).mean()
    assert float(scores.image) == pytest.approx(5 * float(side) ** 2, rel=1e-5)


def test_the_loss_is_the_mean_square_against_undisturbed_features(bench, support) -> None:
    method = bench.new("uniad", **QUICK, dropout=0.0)
    method.prepare(normal(support()))
    everyone = [torch.arange(3)]
    (target,) = method.rows[everyone[0]]
    batch = bench.batch(method, support().images[:3])
    torch.testing.assert_close(target, plainly(batch.features))
    loss = method.training_step(everyone, 0)
    noise = torch.randn(target.shape, generator=method.generator("jitter"))
    disturbed = target + noise * 20 * target.pow(2).sum(-1, keepdim=True).sqrt() / 512
    rebuilt = method.leave(method.denoiser(method.enter(disturbed)))
    torch.testing.assert_close(loss, (rebuilt - target).pow(2).mean())
    assert float(loss.detach()) != pytest.approx(float(method.training_step(everyone, 0).detach()), rel=1e-6)


def test_noise_can_be_the_same_share_as_uniads(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench.blocks import jitter

    scales = []
    monkeypatch.setattr(jitter, "spatial", lambda tokens, scale, _: scales.append(scale) or tokens)
    for channels in (0, 512, 272):
        method = bench.new("uniad", **QUICK, jitter_channels=channels)
        method.noise = torch.Generator()
        method._disturbed(torch.zeros(1, 64, 512))
    assert scales == pytest.approx([20, 20, 20 * (512 / 272) ** 0.5])
    assert scales[2] / 512**0.5 == pytest.approx(20 / 272**0.5)  # of the root mean square
    still = bench.new("uniad", **QUICK, jitter_scale=0)
    still._disturbed(torch.zeros(1, 64, 512))
    assert len(scales) == 3


def test_no_noise_while_scoring(bench, support) -> None:
    method = bench.fitted("uniad", **QUICK)
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        assert torch.equal(method.score(batch).maps, method.score(batch).maps)


def test_squares_of_the_levels_maps_add_up(bench, support) -> None:
    method = bench.fitted("uniad", **QUICK, blocks="[9,3,12]")
    batch = bench.batch(method, support().images)
    with torch.no_grad():
        maps, whole = method.level_maps(batch), method.score(batch).maps
        tokens = plainly(batch.features)
        difference = method.leave(method.denoiser(method.enter(tokens))) - tokens
    assert list(maps) == [3, 9, 12]
    corner = torch.stack([one[:, 0, 0] for one in maps.values()])  # corners are aligned: the first position
    torch.testing.assert_close(corner.pow(2).sum(0).sqrt(), whole[:, 0, 0])
    torch.testing.assert_close(maps[9][:, -1, -1], difference[:, -1, 128:256].norm(dim=-1), atol=1e-5, rtol=1e-4)


def test_levels_of_a_cnn_have_maps_too(cnn_bench, support) -> None:
    method = cnn_bench.fitted("uniad", **QUICK, stages="[3,1]")
    batch = cnn_bench.batch(method, support().images)
    with torch.no_grad():
        maps, whole = method.level_maps(batch), method.score(batch).maps
    assert list(maps) == [1, 3]
    torch.testing.assert_close((maps[1].pow(2) + maps[3].pow(2)).sqrt()[:, -1, -1], whole[:, -1, -1])


def test_one_model_for_three_sets_which_are_not_told_apart(tiny, bench, support) -> None:
    for name in ("Liver", "RESC"):
        (tiny / name).symlink_to(tiny / "Brain", target_is_directory=True)
    words = ["method=uniad", "train_on=brainmri+liverct+resc", "shots=2", f"data_root={tiny}"]
    cells = [resolve(config.parse([*words, f"dataset={name}"])[0]) for name in ("liverct", "resc")]
    assert cells[0].protocol == "unified"
    assert cells[0].training_key == cells[1].training_key
    trained_on = DataModule.of_cell(cells[0]).support
    assert set(trained_on.datasets) == {"brainmri", "liverct", "resc"}
    method = bench.fitted("uniad", trained_on, **QUICK)
    assert len(method.rows.images) == 6
    images = support().images[:2]
    features = method.encode(images)
    with torch.no_grad():
        one, other = (
            method.score(Batch(images, features, (name,) * 2, (organ,) * 2)).maps
            for name, organ in (("liverct", "Liver"), ("resc", "retinal OCT"))
        )
    assert torch.equal(one, other)


def test_support_features_are_the_same_bits_in_chunks(bench, support, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for chunk in (1, 2, 32):
        monkeypatch.setattr(frozen, "CHUNK", chunk)
        method = bench.new("uniad", **QUICK)
        method.prepare(normal(support()))
        kept.append(method.rows[torch.arange(3)][0])
    assert torch.equal(kept[0], kept[1])
    assert torch.equal(kept[0], kept[2])


def test_the_optimiser_is_the_authors_and_the_gradient_is_cut(bench, support, monkeypatch: pytest.MonkeyPatch) -> None:
    found = bench.new("uniad", **QUICK | {"epochs": 10, "learning_rate": 1e-4}).configure_optimizers()
    defaults = found["optimizer"].defaults
    assert (defaults["lr"], defaults["weight_decay"], defaults["betas"]) == (1e-4, 1e-4, (0.9, 0.999))
    assert dict(found["lr_scheduler"].milestones) == {8: 1}
    norms, step = [], torch.optim.AdamW.step

    def stepped(self, closure=None):
        def looked():
            loss = closure()
            grads = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
            norms.append(float(torch.cat(grads).norm()))
            return loss

        return step(self, looked)

    monkeypatch.setattr(torch.optim.AdamW, "step", stepped)
    bench.fitted("uniad", **QUICK)
    assert max(norms) == pytest.approx(0.1, rel=1e-3)
    norms.clear()
    bench.fitted("uniad", **QUICK, clip_norm=0)
    assert max(norms) > 0.11


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("blocks", "[6,12]"),
        ("level_norm", "false"),
        ("neighbours", 5),
        ("mask", "allowed"),
        ("mask", "none"),
        ("jitter_scale", 5),
        ("jitter_scale", 0),
        ("jitter_channels", 272),
        ("pool", 1),
        ("dropout", 0),
        ("encoder_layers", 2),
        ("decoder_layers", 2),
        ("feed_forward", 64),
        ("width", 64),
        ("heads", 4),
        ("epoch_images", 8),
        ("learning_rate", 3e-4),
        ("weight_decay", 0.5),
        ("clip_norm", 1e-9),
    ],
)
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    with torch.no_grad():
        plain, other = (
            (lambda m: m.score(bench.batch(m, support().images)).image)(bench.fitted("uniad", **(QUICK | params)))
            for params in ({}, {param: value})
        )
    assert not torch.allclose(plain, other, rtol=1e-7)


def test_it_learns_the_toy(bench, support) -> None:
    words = QUICK | {"epochs": 10, "epoch_images": 32, "learning_rate": 1e-3, "width": 64}
    method, toy = bench.fitted("uniad", **words), support()
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    inside = torch.stack([m[w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    outside = torch.stack([m[~w].mean() for m, w in zip(scores.maps[3:], toy.masks[3:], strict=True)])
    assert (inside > outside).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_features_without_a_norm_stay_finite_in_half_precision(bench, support, dtype: torch.dtype) -> None:
    method = bench.fitted("uniad", **QUICK, level_norm="false")
    batch = bench.batch(method, support().images[:2])
    for tokens in batch.features.blocks.values():
        tokens.mul_(1e4)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        scores = method.score(batch)
    assert torch.isfinite(scores.image).all()
    assert torch.isfinite(scores.maps).all()


def test_what_is_not_possible_is_refused(bench, cnn_bench, support) -> None:
    for key, value, said in (
        (
            "resize",
            "nearest",
            "resize cannot be set: one of bicubic, bilinear is needed, and nearest is given",
        ),
        ("mask", "odd", "method.mask=odd is not possible: choose from"),
        ("width", 100, "method.width=100 is not possible with method.heads=8: give a multiple of 16"),
        ("pool", 113, "method.pool=113 is not possible: the image has 112 pixels"),
        ("pool", -1, "method.pool=-1 is not possible: at least 0"),
        ("jitter_scale", -3, "method.jitter_scale=-3.0 is not possible: at least 0"),
        ("jitter_channels", -1, "method.jitter_channels=-1 is not possible: at least 0"),
        ("decay_at", 0, "method.decay_at=0.0 is not possible: a number above 0"),
        ("decay_at", 1.5, "method.decay_at=1.5 is not possible: a share from 0 to 1"),
        ("clip_norm", -1, "method.clip_norm=-1.0 is not possible: at least 0"),
        ("neighbours", 9, "method.neighbours=9 is not possible on 8 x 8 patches"),
        ("neighbours", 4, "method.neighbours=4 is not possible: an odd number"),
        ("stages", "[1]", r"method.stages=\[1\] is not possible: the backbone is a ViT"),
    ):
        with pytest.raises(AdbenchError, match=said):
            bench.new("uniad", **{key: value})
    with pytest.raises(AdbenchError, match=r"method.blocks=\[3\] is not possible: the backbone is a CNN"):
        cnn_bench.new("uniad", blocks="[3]")
    with pytest.raises(AdbenchError, match=r"method.stages=\[9\] is not possible: stages 0"):
        cnn_bench.new("uniad", stages="[9]")
    with pytest.raises(AdbenchError, match=r"method.jitter_channels has no effect with method.jitter_scale=0"):
        bench.new("uniad", jitter_scale=0, jitter_channels=272)
    empty = Support(*(getattr(support(), f.name)[:0] for f in dataclasses.fields(Support)))
    with pytest.raises(AdbenchError, match="uniad has no normal image to learn from"):
        bench.new("uniad", **QUICK).prepare(empty)
