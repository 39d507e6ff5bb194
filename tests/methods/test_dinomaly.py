from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.contract import Features
from adbench.backbone.weights import architecture
from adbench.blocks.optimisers import StableAdamW
from adbench.config import layers
from adbench.errors import AdbenchError
from adbench.method import Batch, Support
from adbench.methods.dinomaly.decoder import Block, Decoder, linear_attention
from adbench.methods.dinomaly.method import Dinomaly, Params, gradient_factors

QUICK = {"epochs": 2, "epoch_steps": 2, "batch_size": 2, "decoder_blocks": 2, "warm_up": 1}


def with_noise(method: Dinomaly) -> Dinomaly:
    """Biases and norms begin as zeros and ones, which would hide a mistake."""
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in method.parameters():
            value += 0.1 * torch.randn(value.shape, generator=g)
    return method


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Linear attention written out, one query after the other: (N, D)."""

    def positive(u: torch.Tensor) -> torch.Tensor:
        return torch.where(u > 0, u + 1, u.exp())

    rows = []
    for query in q:
        weights = torch.stack([(positive(query) * positive(key)).sum() for key in k])
        rows.append((weights[:, None] * v).sum(0) / weights.sum())
    return torch.stack(rows)


def block_by_hand(block: Block, x: torch.Tensor, heads: int) -> torch.Tensor:
    def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-8).sqrt() * layer.weight + layer.bias

    parts = norm(x, block.norm1) @ block.attention.enter.weight.T + block.attention.enter.bias
    q, k, v = (part.unflatten(-1, (heads, -1)) for part in parts.chunk(3, -1))
    seen = torch.stack(
        [torch.cat([attended(q[i, :, h], k[i, :, h], v[i, :, h]) for h in range(heads)], -1) for i in range(len(x))]
    )
    x = x + seen @ block.attention.leave.weight.T + block.attention.leave.bias
    first, _, last = block.mlp
    hidden = norm(x, block.norm2) @ first.weight.T + first.bias
    return x + (hidden * (1 + torch.erf(hidden / 2**0.5)) / 2) @ last.weight.T + last.bias


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("dinov2-b-reg4", facts("dinov2-b-reg4", weights="random"), 392).to(torch.device("meta"))
        method = Dinomaly.create(Params(), backbone)
    counts = [sum(p.numel() for p in part.parameters()) for part in (method.decoder.bottleneck, *method.decoder.blocks)]
    assert counts == [4_722_432, *[7_087_872] * 8]
    assert sum(p.numel() for p in method.parameters()) == 61_425_408
    assert method.blocks == method.declared.registers == (3, 4, 5, 6, 7, 8, 9, 10)
    assert method.decoder.blocks[0].attention.heads == 12
    assert [method.blocks[run[0]] for run in method.groups] == [3, 7]
    assert backbone.grid == 28


def test_images_are_resized_as_the_authors_do_in_their_schedule(facts) -> None:
    shape = architecture(facts("dinov2-b-reg4"), "dinov2-b-reg4")
    for schedule, resize in (("paper", "bilinear"), ("short", "bicubic")):
        params = layers.method_params(Params, "dinomaly", schedule)
        assert Dinomaly.capability(params, shape).resize == resize


def test_linear_attention_by_hand() -> None:
    q, k, v = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [8.0]])
    # f(0) = 1, f(1) = 2, f(2) = 3: the weights are 1 to 3 for every query, whatever it is
    torch.testing.assert_close(linear_attention(q, k, v), torch.tensor([[7.0], [7.0]]))
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(5, 3, generator=g) for _ in range(3))
    torch.testing.assert_close(linear_attention(q, k, v), attended(q, k, v))
    assert linear_attention(q - 1e4, k - 1e4, v).isfinite().all()


@torch.no_grad()
def test_the_decoder_by_hand() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, 2, 2, dropout=0.5).eval()
    x = torch.randn(2, 5, 8)
    enter, leave = decoder.bottleneck[1], decoder.bottleneck[4]
    hidden = x @ enter.weight.T + enter.bias
    tokens = (hidden * (1 + torch.erf(hidden / 2**0.5)) / 2) @ leave.weight.T + leave.bias
    one = block_by_hand(decoder.blocks[0], tokens, 2)
    for found, expected in zip(decoder(x), (one, block_by_hand(decoder.blocks[1], one, 2)), strict=True):
        torch.testing.assert_close(found, expected)


def test_noise_is_dropout_before_within_and_after_the_bottleneck() -> None:
    decoder = Decoder(8, 2, 1, dropout=0.5)
    assert [part.p for part in decoder.bottleneck if isinstance(part, torch.nn.Dropout)] == [0.5] * 3
    x = torch.randn(1, 3, 8)
    assert not torch.equal(decoder(x)[0], decoder(x)[0])
    assert torch.equal(decoder.eval()(x)[0], decoder(x)[0])


def test_the_share_of_easy_patches_is_of_the_whole_batch() -> None:
    distance = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5], [0.01, 0.02, 0.03, 0.04, 0.05]])
    assert gradient_factors(distance, 0.0, 0.1).eq(1).all()
    assert gradient_factors(distance, 0.5, 0.1).tolist() == [[1] * 5, [pytest.approx(0.1)] * 5]
    assert gradient_factors(distance, 1.0, 0.1).eq(1).sum() == 1
    assert gradient_factors(torch.ones(2, 3), 0.9, 0.1).eq(1).all()  # none is below the others


def test_a_training_step_by_hand(bench, support, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients of one step, halfway through the mining ramp, written out without the blocks."""
    method = bench.new("dinomaly", **QUICK, dropout=0, mined=0.8, mining_steps=10, mined_gradient=0.25)
    with_noise(method).prepare(bench.usable(method, support()))
    monkeypatch.setattr(Dinomaly, "global_step", 5)
    rows = method.data.tensors[0]
    loss = method.train().training_step([rows], 0)
    loss.backward()
    found = {name: value.grad.clone() for name, value in method.named_parameters()}
    method.zero_grad()

    streams = bench.backbone.features(support().images[:3], range(3, 11)).blocks
    fused = torch.stack([streams[block] for block in range(3, 11)]).mean(0)
    first, second = method.decoder(fused)
    total = torch.zeros(())
    for blocks, output in ((range(3, 7), second), (range(7, 11), first)):
        target = torch.stack([streams[block] for block in blocks]).mean(0)[:, 1:]
        out = output[:, 1:]
        away = 1 - F.cosine_similarity(target, out, dim=-1).detach()
        ordered = away.flatten().sort(descending=True).values
        easy = away < ordered[int(192 * 0.6) - 1]  # mined is 0.8 x 5 / 10
        out.register_hook(lambda g, easy=easy: torch.where(easy[..., None], 0.25 * g, g))
        total = total + (1 - F.cosine_similarity(target.flatten(1), out.flatten(1))).mean() / 2
    torch.testing.assert_close(loss, total, atol=1e-5, rtol=1e-5)
    total.backward()
    for name, value in method.named_parameters():
        torch.testing.assert_close(found[name], value.grad, atol=1e-6, rtol=1e-3)


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    method = with_noise(bench.new("dinomaly", **QUICK, map_size=64, top=0.5)).eval()
    batch = bench.batch(method, support().images[:2])
    streams = batch.features.blocks
    first, second = method.decoder(torch.stack([streams[b] for b in range(3, 11)]).mean(0))
    pairs = ((range(3, 7), second), (range(7, 11), first))
    distances = [
        1 - F.cosine_similarity(torch.stack([streams[b] for b in blocks]).mean(0)[:, 1:], out[:, 1:], dim=-1)
        for blocks, out in pairs
    ]
    maps = F.interpolate((sum(distances) / 2).view(2, 1, 8, 8), size=112, mode="bilinear", align_corners=True)
    maps = F.interpolate(maps, size=64, mode="bilinear", align_corners=False)
    g = torch.exp(-torch.tensor([4.0, 1, 0, 1, 4]) / 32)
    maps = F.conv2d(F.pad(maps, (2, 2, 2, 2)), (torch.outer(g, g) / g.sum() ** 2)[None, None])[:, 0]
    scores = method.score(batch)
    torch.testing.assert_close(scores.maps, maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, maps.flatten(1).topk(2048).values.mean(1), atol=1e-5, rtol=1e-4)
    levels = method.level_maps(batch)
    assert list(levels) == [6, 10]
    plain = bench.new("dinomaly", **QUICK, map_size=64, sigma=0).eval()
    plain.load_state_dict(method.state_dict())
    torch.testing.assert_close(torch.stack(list(levels.values())).mean(0), plain.score(batch).maps)


@torch.no_grad()
def test_class_token_and_registers_reach_the_decoder_and_not_the_map(facts) -> None:
    backbone = build(
        "small",
        facts("dinov2-s-reg4", weights="random", args={"depth": 3, "embed_dim": 64, "num_heads": 1}), 56,
    )  # fmt: skip
    method = with_noise(Dinomaly.create(Params(decoder_blocks=2), backbone)).eval()
    features = method.encode(torch.rand(1, 3, 56, 56))
    assert features.registers[1].shape == (1, 4, 64)
    changed = {}
    for name in ("nothing", "class token", "registers"):
        blocks = {b: x.clone() for b, x in features.blocks.items()}
        registers = {b: x.clone() for b, x in features.registers.items()}
        if name == "class token":
            blocks[2][:, 0] += 3
        if name == "registers":
            registers[2] += 3
        batch = Batch(torch.zeros(1, 3, 56, 56), Features(blocks, registers=registers), ("any",), ("any",))
        changed[name] = method._distances(batch)
        assert changed[name].shape == (1, 2, 16)
    assert not torch.allclose(changed["class token"], changed["nothing"])
    assert not torch.allclose(changed["registers"], changed["nothing"])


def test_the_steps_are_those_asked_for_whatever_the_size_of_the_support(bench, support) -> None:
    for count in (1, 3):
        method = bench.new("dinomaly", **QUICK)
        method.prepare(take(bench.usable(method, support()), count))
        assert [len(rows) for (rows,) in method.train_dataloader()] == [2, 2]


def take(support: Support, count: int) -> Support:
    return Support(*(getattr(support, f.name)[:count] for f in dataclasses.fields(support)))


def test_the_optimiser_is_the_papers(bench) -> None:
    method = bench.new("dinomaly", **QUICK | {"epoch_steps": 50, "warm_up": 10})
    made = method.configure_optimizers()
    optimiser, rate = made["optimizer"], made["lr_scheduler"]["scheduler"]
    (group,) = optimiser.param_groups
    assert isinstance(optimiser, StableAdamW)
    assert (group["betas"], group["eps"], group["weight_decay"], group["amsgrad"]) == ((0.9, 0.999), 1e-10, 1e-4, True)
    assert made["lr_scheduler"]["interval"] == "step"
    rates = []
    for _ in range(101):
        rates.append(group["lr"])
        optimiser.step()
        rate.step()
    assert (rates[0], rates[3], rates[9], rates[10]) == (0, pytest.approx(2e-3 / 3), 2e-3, 2e-3)
    assert rates[100] == pytest.approx(2e-4)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("levels", "[6,12]"),
        ("level_norm", "true"),
        ("groups", 1),
        ("decoder_blocks", 3),
        ("heads", 1),
        ("dropout", 0),
        ("mined", 0),
        ("mined_gradient", 1),
        ("mining_steps", 1),
        ("warm_up", 0),
        ("final_share", 1),
        ("epoch_steps", 3),
        ("batch_size", 1),
        ("learning_rate", 0.01),
        ("weight_decay", 10),
        ("clip_norm", 1e-6),
        ("map_size", 100),
        ("sigma", 0),
        ("top", 0.5),
    ],
)
def test_every_facet_does_something(bench, plain: torch.Tensor, support, param: str, value: object) -> None:
    method = bench.fitted("dinomaly", **QUICK | {"mining_steps": 2} | {param: value})
    with torch.no_grad():
        assert not torch.allclose(plain, method.score(bench.batch(method, support().images)).image, rtol=1e-7, atol=0)


@pytest.fixture(scope="module")
def plain(bench, support) -> torch.Tensor:
    method = bench.fitted("dinomaly", **QUICK | {"mining_steps": 2})
    with torch.no_grad():
        return method.score(bench.batch(method, support().images)).image


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_it_trains_and_scores_in_half_precision(bench, support, precision: str) -> None:
    method = bench.new("dinomaly", **QUICK)
    method.prepare(bench.usable(method, support()))
    (rows,) = next(iter(method.train_dataloader()))
    batch = bench.batch(method, support().images)
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.train().training_step([rows], 0)
        loss.backward()
        with torch.no_grad():
            scores = method.eval().score(batch)
    with torch.no_grad():
        full = method.score(batch)
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in method.parameters())
    torch.testing.assert_close(scores.maps, full.maps, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"epoch_steps": 0}, r"method\.epoch_steps=0 is not possible: at least 1"),
        ({"dropout": 1.5}, r"method\.dropout=1\.5 is not possible: a share"),
        ({"mined": -0.1}, r"method\.mined=-0\.1 is not possible: a share"),
        ({"groups": 0}, r"method\.groups=0 is not possible: at least 1"),
        ({"groups": 9}, r"method\.groups=9 .* 8 blocks of the backbone and method\.decoder_blocks=8: at most 8"),
        ({"levels": "[6]"}, r"method\.groups=2 .* with 1 blocks of the backbone .*: at most 1"),
        ({"levels": "[6,99]"}, r"method\.levels=\[6, 99\] is not possible: .* from 1 to 12"),
        ({"heads": 3}, r"method\.heads=3 .* have 128 channels, and a number that divides them"),
        ({"map_size": 0}, r"method\.map_size=0 is not possible: at least 1"),
        ({"sigma": -1}, r"method\.sigma=-1"),
        ({"top": 0}, r"method\.top=0\.?0? is not possible: a number above 0"),
        ({"warm_up": -1}, r"method\.warm_up=-1 is not possible: at least 0"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("dinomaly", **params)


def test_no_image_to_learn_from(bench, support) -> None:
    with pytest.raises(AdbenchError, match="dinomaly has no normal image to learn from"):
        bench.new("dinomaly", **QUICK).prepare(take(support(), 0))


def test_a_cnn_is_refused_in_one_sentence(adbench) -> None:
    answer = adbench("run", "method=dinomaly", "backbone=resnet-18", "backbone.weights=random", "shots=1")
    assert answer.code != 0
    assert "the blocks of a ViT" in answer.err
    assert "Traceback" not in answer.err
