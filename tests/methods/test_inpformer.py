from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.contract import Features
from adbench.backbone.weights import architecture
from adbench.blocks.augment import regad_views
from adbench.blocks.optimisers import StableAdamW
from adbench.config import layers
from adbench.errors import AdbenchError
from adbench.method import Batch, Support
from adbench.methods.inpformer.decoder import Attention, Block, CosineAttention, PrototypeDecoder, coherence
from adbench.methods.inpformer.method import INPFormer, Params, soft_factors

QUICK = {"epochs": 2, "epoch_steps": 2, "batch_size": 2, "decoder_blocks": 2, "warm_up": 1, "few": 0}


def with_noise(method: torch.nn.Module) -> torch.nn.Module:
    """Biases, norms and scales begin as zeros and ones, which would hide a mistake."""
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in method.parameters():
            value += 0.1 * torch.randn(value.shape, generator=g)
    return method


def take(support: Support, count: int) -> Support:
    return Support(*(getattr(support, f.name)[:count] for f in dataclasses.fields(support)))


def norm(x: torch.Tensor, layer: torch.nn.LayerNorm) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-8).sqrt() * layer.weight + layer.bias


def linear(x: torch.Tensor, layer: torch.nn.Linear) -> torch.Tensor:
    return x @ layer.weight.T + layer.bias


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def attended(attention: Attention, tokens: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Both kinds of attention of one image written out, head by head and token by token: (N, width)."""
    asked, offered = linear(tokens, attention.ask), linear(source, attention.offer)
    keys, values = offered.chunk(2, -1)
    wide = asked.shape[1] // attention.heads
    heads = []
    for h in range(attention.heads):
        here = slice(h * wide, (h + 1) * wide)
        rows = []
        for query in asked[:, here]:
            if isinstance(attention, CosineAttention):
                cosines = torch.stack([query @ key / (query.norm() * key.norm()) for key in keys[:, here]])
                weights = (attention.scale[h, 0, 0] * cosines).clamp(min=0)
            else:
                powers = torch.stack([(query @ key / wide**0.5).exp() for key in keys[:, here]])
                weights = powers / powers.sum()
            rows.append((weights[:, None] * values[:, here]).sum(0))
        heads.append(torch.stack(rows))
    return linear(torch.cat(heads, -1), attention.leave)


def block_by_hand(block: Block, x: torch.Tensor, source: torch.Tensor, added: bool) -> torch.Tensor:
    seen = torch.stack(
        [attended(block.attention, norm(x[i], block.norm1), norm(source[i], block.norm1)) for i in range(len(x))]
    )
    x = x + seen if added else seen
    first, _, last = block.mlp
    return x + linear(gelu(linear(norm(x, block.norm2), first)), last)


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("dinov2-b-reg4", facts("dinov2-b-reg4", weights="random"), 392).to(torch.device("meta"))
        method = INPFormer.create(Params(), backbone)
    d = method.decoder
    counts = [sum(p.numel() for p in part.parameters()) for part in (d.bottleneck, d.extractor, *d.blocks)]
    assert counts == [4_722_432, 7_087_872, *[7_087_884] * 8]
    assert d.prototypes.shape == (6, 768)
    assert sum(p.numel() for p in method.parameters()) == 68_517_984
    assert method.blocks == (3, 4, 5, 6, 7, 8, 9, 10)
    assert method.declared.registers == ()
    assert {block.attention.heads for block in (d.extractor, *d.blocks)} == {12}
    assert [method.blocks[run[0]] for run in method.groups] == [3, 7]
    assert backbone.grid == 28


def test_images_are_resized_as_the_authors_do_in_their_schedule(facts) -> None:
    shape = architecture(facts("dinov2-b-reg4"), "dinov2-b-reg4")
    for schedule, resize in (("paper", "bilinear"), ("short", "bicubic")):
        params = layers.method_params(Params, "inpformer", schedule)
        assert INPFormer.capability(params, shape).resize == resize


def test_cosine_attention_has_no_softmax_and_no_negative_weight() -> None:
    attention = CosineAttention(2, 1)
    attention.scale.data.fill_(3.0)
    queries, keys = torch.tensor([[[[5.0, 0.0]]]]), torch.tensor([[[[2.0, 0.0], [0.0, 7.0], [-1.0, 0.0], [3.0, 4.0]]]])
    torch.testing.assert_close(attention.weights(queries, keys), torch.tensor([[[[3.0, 0.0, 0.0, 1.8]]]]))
    assert not attention.weights(0 * queries, keys).any()


@torch.no_grad()
def test_the_decoder_by_hand() -> None:
    torch.manual_seed(0)
    decoder = with_noise(PrototypeDecoder(8, 2, 2, prototypes=3, dropout=0.5)).eval()
    x = torch.randn(2, 5, 8)
    outputs, prototypes = decoder(x)
    expected = block_by_hand(decoder.extractor, decoder.prototypes.expand(2, 3, 8), x, added=True)
    torch.testing.assert_close(prototypes, expected)
    enter, leave = decoder.bottleneck[1], decoder.bottleneck[4]
    tokens = linear(gelu(linear(x, enter)), leave)
    one = block_by_hand(decoder.blocks[0], tokens, expected, added=False)
    two = block_by_hand(decoder.blocks[1], one, expected, added=False)
    for found, by_hand in zip(outputs, (one, two), strict=True):
        torch.testing.assert_close(found, by_hand)


@torch.no_grad()
def test_prototypes_are_those_of_the_image_itself() -> None:
    torch.manual_seed(0)
    decoder = with_noise(PrototypeDecoder(8, 2, 1, prototypes=3, dropout=0.0)).eval()
    x = torch.randn(2, 5, 8)
    together, alone = decoder(x), decoder(x[:1])
    torch.testing.assert_close(together[1][:1], alone[1])
    torch.testing.assert_close(together[0][0][:1], alone[0][0])
    assert not torch.allclose(together[1][0], together[1][1])
    torch.testing.assert_close(decoder(x[:, [4, 2, 0, 1, 3]])[1], together[1])  # patches have no place


def test_coherence_by_hand() -> None:
    patches = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]], [[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    prototypes = torch.tensor([[[5.0, 0.0], [4.0, 3.0]], [[0.0, 9.0], [0.0, 1.0]]])
    # 0, 1 - 0.6, 1 - 0.96; 1, 0, 1
    torch.testing.assert_close(coherence(patches, prototypes), torch.tensor((0 + 0.4 + 0.04 + 1 + 0 + 1) / 6))


def test_soft_mining_by_hand() -> None:
    distance = torch.tensor([[0.1, 0.2], [0.3, 0.4]])  # the mean is of the whole batch
    torch.testing.assert_close(soft_factors(distance, 3.0), torch.tensor([[0.064, 0.512], [1.728, 4.096]]))
    assert soft_factors(distance, 0.0).eq(1).all()
    assert soft_factors(torch.tensor([[0.0, -1e-7]]), 3.0).eq(0).all()


def test_a_training_step_by_hand(bench, support) -> None:
    """Loss and gradients of one step, written out without the blocks that are shared."""
    method = bench.new("inpformer", **QUICK, mining=3.0, coherence=0.5)
    with_noise(method).prepare(bench.usable(method, support()))
    loss = method.train().training_step([torch.arange(3)], 0)
    loss.backward()
    found = {name: value.grad.clone() for name, value in method.named_parameters()}
    method.zero_grad()

    streams = bench.backbone.features(support().images[:3], range(3, 11)).blocks
    fused = torch.stack([streams[block] for block in range(3, 11)]).mean(0)[:, 1:]
    (first, second), prototypes = method.decoder(fused)
    cosines = F.cosine_similarity(fused[:, :, None], prototypes[:, None], dim=-1)
    total = 0.5 * (1 - cosines).min(-1).values.mean()
    for blocks, out in ((range(3, 7), second), (range(7, 11), first)):
        target = torch.stack([streams[block] for block in blocks]).mean(0)[:, 1:]
        out = out.clone()  # the gradient that goes on through the next block is not scaled
        away = 1 - F.cosine_similarity(target, out, dim=-1).detach()
        factor = (away / away.mean()) ** 3
        out.register_hook(lambda g, factor=factor: factor[..., None] * g)
        total = total + (1 - F.cosine_similarity(target.flatten(1), out.flatten(1))).mean() / 2
    torch.testing.assert_close(loss, total, atol=1e-5, rtol=1e-5)
    total.backward()
    for name, value in method.named_parameters():
        torch.testing.assert_close(found[name], value.grad, atol=1e-6, rtol=1e-3)


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    method = with_noise(bench.new("inpformer", **QUICK, map_size=64, top=0.5)).eval()
    batch = bench.batch(method, support().images[:2])
    streams = batch.features.blocks
    (first, second), _ = method.decoder(torch.stack([streams[b] for b in range(3, 11)]).mean(0)[:, 1:])
    pairs = ((range(3, 7), second), (range(7, 11), first))
    distances = [
        1 - F.cosine_similarity(torch.stack([streams[b] for b in blocks]).mean(0)[:, 1:], out, dim=-1)
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
    plain = bench.new("inpformer", **QUICK, map_size=64, sigma=0).eval()
    plain.load_state_dict(method.state_dict())
    torch.testing.assert_close(torch.stack(list(levels.values())).mean(0), plain.score(batch).maps)


@torch.no_grad()
def test_the_class_token_is_not_read_and_registers_are_not_asked_for(facts) -> None:
    backbone = build(
        "small",
        facts("dinov2-s-reg4", weights="random", args={"depth": 3, "embed_dim": 64, "num_heads": 1}), 56,
    )  # fmt: skip
    method = with_noise(INPFormer.create(Params(decoder_blocks=2), backbone)).eval()
    features = method.encode(torch.rand(1, 3, 56, 56))
    assert not features.registers
    found = []
    for far in (0, 3):
        blocks = {block: x.clone() for block, x in features.blocks.items()}
        blocks[2][:, 0] += far
        found.append(method._distances(Batch(torch.zeros(1, 3, 56, 56), Features(blocks), ("any",), ("any",))))
        assert found[-1].shape == (1, 2, 16)
    assert torch.equal(*found)


def test_images_of_small_data_sets_are_shown_in_22_views(bench, support) -> None:
    toy = take(support(), 3)
    method = bench.new("inpformer", **QUICK | {"few": 2, "epoch_steps": 0, "batch_size": 16})
    method.prepare(toy)
    assert torch.equal(method.rows.images, toy.images)
    mixed = dataclasses.replace(toy, datasets=("one", "two", "two"))
    for few, expected in ((1, [toy.images[1:], regad_views(toy.images[:1])]), (2, [regad_views(toy.images)])):
        method = bench.new("inpformer", **QUICK | {"few": few})
        method.prepare(mixed)
        assert torch.equal(method.rows.images, torch.cat(expected))


@pytest.mark.parametrize(
    ("images", "params", "sizes"),
    [
        (3, {"epoch_steps": 2}, [2, 2]),
        (1, {"epoch_steps": 3}, [2, 2, 2]),
        (3, {"epoch_steps": 0}, [2]),  # the incomplete batch is left out
        (1, {"epoch_steps": 0, "batch_size": 4}, [4]),
        (1, {"epoch_steps": 0, "batch_size": 4, "few": 1}, [4] * 5),  # 22 views
    ],
)
def test_the_steps_of_an_epoch(bench, support, images: int, params: dict[str, int], sizes: list[int]) -> None:
    method = bench.new("inpformer", **QUICK | params)
    method.prepare(take(bench.usable(method, support()), images))
    assert [len(rows) for (rows,) in method.train_dataloader()] == sizes


def test_the_optimiser_is_the_papers(bench, support) -> None:
    method = bench.new("inpformer", **QUICK | {"epoch_steps": 50, "warm_up": 10})
    method.prepare(bench.usable(method, support()))
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
    assert (rates[0], rates[3], rates[9], rates[10]) == (0, pytest.approx(1e-3 / 3), 1e-3, 1e-3)
    assert rates[100] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("levels", "[6,12]"),
        ("level_norm", "true"),
        ("groups", 1),
        ("prototypes", 2),
        ("decoder_blocks", 3),
        ("heads", 1),
        ("dropout", 0.2),
        ("mining", 0),
        ("coherence", 0),
        ("few", 32),
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
    method = bench.fitted("inpformer", **QUICK | {param: value})
    with torch.no_grad():
        assert not torch.allclose(plain, method.score(bench.batch(method, support().images)).image, rtol=1e-7, atol=0)


@pytest.fixture(scope="module")
def plain(bench, support) -> torch.Tensor:
    method = bench.fitted("inpformer", **QUICK)
    with torch.no_grad():
        return method.score(bench.batch(method, support().images)).image


def test_it_trains_and_scores_in_half_precision(bench, support) -> None:
    method = bench.new("inpformer", **QUICK)
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
        ({"epoch_steps": -1}, r"method\.epoch_steps=-1 is not possible: at least 0"),
        ({"few": -1}, r"method\.few=-1 is not possible: at least 0"),
        ({"prototypes": 0}, r"method\.prototypes=0 is not possible: at least 1"),
        ({"mining": -1}, r"method\.mining=-1(\.0)? is not possible"),
        ({"mining": 11}, r"method\.mining=11(\.0)? is not possible"),
        ({"coherence": -0.1}, r"method\.coherence=-0\.1 is not possible: at least 0"),
        ({"dropout": 1.5}, r"method\.dropout=1\.5 is not possible: a share"),
        ({"groups": 0}, r"method\.groups=0 is not possible: at least 1"),
        ({"groups": 9}, r"method\.groups=9 .* 8 blocks of the backbone and method\.decoder_blocks=8: at most 8"),
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
        bench.new("inpformer", **params)


def test_no_image_to_learn_from(bench, support) -> None:
    with pytest.raises(AdbenchError, match="inpformer has no normal image to learn from"):
        bench.new("inpformer", **QUICK).prepare(take(support(), 0))


def test_a_cnn_is_refused_in_one_sentence(adbench) -> None:
    answer = adbench("run", "method=inpformer", "backbone=resnet-18", "backbone.weights=random", "shots=1")
    assert answer.code != 0
    assert "the blocks of a ViT" in answer.err
    assert "Traceback" not in answer.err
