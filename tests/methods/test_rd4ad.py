from __future__ import annotations

import contextlib

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.config import layers, words
from adbench.errors import AdbenchError
from adbench.methods.rd4ad.method import RD4AD, Params, distance, position_norm, teacher_of
from adbench.methods.rd4ad.networks import Bottleneck, Level, Residual, Student, initialise

QUICK = {"epochs": 1, "epoch_images": 0}
WIDE = [Level(256, 4), Level(512, 8), Level(1024, 16)]  # WideResNet-50-2


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def block(enter: int, leave: int, spatial: int, shortcut: int) -> int:
    """Count a residual block: 1 x 1, a spatial layer of so many positions, 1 x 1, a shortcut, and their norms."""
    inner = leave // 2
    own = enter * inner + spatial * inner**2 + inner * leave + 2 * (inner + inner + leave)
    return own + (shortcut * enter * leave + 2 * leave if shortcut else 0)


def test_the_preset_of_the_paper_and_its_size(facts) -> None:
    (run,) = words.parse(["method=rd4ad", "preset=paper"])
    assert (run.backbone, run.input_size, run.schedule) == ("wide-resnet-50-2", 256, "paper")
    params = layers.method_params(Params, "rd4ad", run.schedule)
    with torch.device("meta"):
        backbone = build(run.backbone, facts(run.backbone, weights="random"), run.input_size)
        method = RD4AD.create(params, backbone.to(torch.device("meta")))
        levels = [torch.empty(2, c, 256 // s, 256 // s) for c, s in WIDE]
        embedding = method.bottleneck(levels)
        student = method.student(embedding, [level.shape[2:] for level in levels])
    assert (method.declared.stages, method.declared.blocks, method.declared.epochs) == ((1, 2, 3), (), 200)
    assert (method.declared.resize, Params().resize) == ("bilinear", "bicubic")
    assert embedding.shape == (2, 2048, 8, 8)
    assert [level.shape for level in student] == [level.shape for level in levels]
    fusion = 9 * 256 * 512 + 9 * 512 * 1024 * 2 + 2 * (512 + 1024 + 1024)
    embed = block(3072, 2048, 9, 1) + 2 * block(2048, 2048, 9, 0)
    decoder = 0
    for depth, enter, leave in ((3, 2048, 1024), (4, 1024, 512), (6, 512, 256)):
        decoder += block(enter, leave, 4, 4) + (depth - 1) * block(leave, leave, 9, 0)
    assert size(method.bottleneck) == fusion + embed
    assert size(method.student) == decoder
    assert size(method) == 83_802_624


def test_the_distance_of_a_map_is_not_the_mean_over_its_positions() -> None:
    teacher = torch.tensor([[3.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 2)  # the vectors (3, 0) and (0, 1)
    student = torch.tensor([[1.0, 2.0], [0.0, 0.0]]).view(1, 2, 1, 2)  # the vectors (1, 0) and (2, 0)
    assert distance(teacher, student).flatten().tolist() == pytest.approx([0, 1])
    assert float(distance(teacher, student, whole=True)) == pytest.approx(1 - 3 / (10**0.5 * 5**0.5))


def test_a_position_is_normed_over_its_channels() -> None:
    level = torch.randn(2, 6, 3, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2
    own = level[1, :, 2, 0]
    found = position_norm(level)[1, :, 2, 0]
    torch.testing.assert_close(found, (own - own.mean()) / (own.var(unbiased=False) + 1e-5).sqrt())


@torch.no_grad()
def test_a_residual_block_by_hand() -> None:
    x = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    plain = Residual(4, 4).eval()
    first, _, _, middle, _, _, last, _ = plain.body
    scale = (1 + 1e-5) ** -0.5  # of a batch norm that has seen nothing
    hidden = (scale * F.conv2d(x, first.weight)).relu()
    hidden = (scale * F.conv2d(hidden, middle.weight, padding=1)).relu()
    hidden = scale * F.conv2d(hidden, last.weight)
    torch.testing.assert_close(plain(x), (hidden + x).relu(), atol=1e-5, rtol=1e-4)
    assert Residual(4, 6, 2)(x).shape == (2, 6, 3, 3)
    up = Residual(4, 6, 2, up=True)
    assert up(x).shape == (2, 6, 10, 10)
    assert [layer.kernel_size for layer in (up.body[3], up.shortcut[0])] == [(2, 2), (2, 2)]


def test_transposed_convolutions_keep_torchs_initial_weights() -> None:
    torch.manual_seed(0)
    up = Residual(64, 64, 2, up=True)
    initialise(up)
    plain, transposed = up.body[0].weight.detach(), up.body[3].weight.detach()  # (32, 64, 1, 1) and (32, 32, 2, 2)
    assert float(plain.std()) == pytest.approx((2 / 32) ** 0.5, rel=0.1)  # He's: 2 by the outputs
    largest = float(transposed.abs().max())
    assert 0.99 / (32 * 4) ** 0.5 < largest <= 1 / (32 * 4) ** 0.5  # uniform, within 1 / sqrt(32 x 2 x 2)


def test_levels_meet_on_the_coarsest_grid() -> None:
    levels = [Level(4, 4), Level(8, 8), Level(10, 16)]
    net = Bottleneck(levels, leave=20, depth=2, stride=2, mix=False)
    convolutions = [
        [(layer.in_channels, layer.out_channels, layer.stride) for layer in down if isinstance(layer, nn.Conv2d)]
        for down in net.down
    ]
    assert convolutions == [[(4, 8, (2, 2)), (8, 10, (2, 2))], [(8, 10, (2, 2))], []]
    shapes = [torch.randn(2, 4, 15, 15), torch.randn(2, 8, 8, 8), torch.randn(2, 10, 4, 4)]
    assert net(shapes).shape == (2, 20, 2, 2)
    assert len(net.embed) == 2
    mixed = Bottleneck(levels, leave=20, depth=2, stride=2, mix=True)
    assert size(mixed.mix) == 30 * 10 + 2 * 10
    assert mixed(shapes).shape == (2, 20, 2, 2)


def test_the_student_ends_with_the_teachers_grids_odd_ones_too() -> None:
    levels = [Level(4, 4), Level(10, 16)]  # a stride of 4 between them
    student = Student(levels, enter=20, depths=[1, 2], stride=2, linear=False)
    grids = [torch.Size((13, 13)), torch.Size((4, 4))]
    with torch.no_grad():
        fine, coarse = student(torch.randn(2, 20, 2, 2), grids)
        below = Student(levels, enter=20, depths=[1, 2], stride=2, linear=True)(torch.randn(2, 20, 2, 2), grids)
    assert fine.shape == (2, 4, 13, 13)
    assert coarse.shape == (2, 10, 4, 4)
    assert float(fine.min()) >= 0, "a stage ends in a ReLU"
    assert float(below[0].min()) < 0
    assert [len(stage) for stage in student.up] == [1, 2]


@pytest.mark.parametrize("loss", ["map", "position"])
def test_one_training_step_is_the_sum_over_the_levels(bench, support, loss: str) -> None:
    method = bench.new("rd4ad", **QUICK, loss=loss)
    toy = bench.usable(method, support())
    method.prepare(toy)
    found = method.training_step([torch.tensor([2, 0])], 0)
    streams = bench.backbone.features(toy.images[[2, 0]], (3, 6, 9)).blocks
    teacher = [F.layer_norm(streams[b][:, 1:], (128,)).transpose(1, 2).unflatten(2, (8, 8)) for b in (3, 6, 9)]
    student = method.student(method.bottleneck(teacher), [torch.Size((8, 8))] * 3)
    wanted = 0.0
    for t, s in zip(teacher, student, strict=True):
        if loss == "map":
            cosines = [(t[i] * s[i]).sum() / (t[i].norm() * s[i].norm()) for i in range(2)]
        else:
            cosines = list(((t * s).sum(1) / (t.norm(dim=1) * s.norm(dim=1))).flatten())
        wanted = wanted + 1 - torch.stack(cosines).mean()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    found.backward()
    assert all(p.grad is not None for p in method.parameters())


def test_the_optimiser_is_the_authors(bench) -> None:
    (group,) = bench.new("rd4ad", **QUICK).configure_optimizers().param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (5e-3, (0.5, 0.999), 0)


@torch.no_grad()
@pytest.mark.parametrize("where", ["bench", "cnn_bench"])
def test_the_score_by_hand(request, support, where: str) -> None:
    own = request.getfixturevalue(where)
    method = own.fitted("rd4ad", **QUICK)
    batch = own.batch(method, support().images[3:])
    teacher = method._levels(batch.features)
    assert [level.shape[-1] for level in teacher] == ([8, 8, 8] if where == "bench" else [28, 14, 7])
    student = method.student(method.bottleneck(teacher), [level.shape[2:] for level in teacher])
    total = torch.zeros(3, 112, 112)
    for t, s in zip(teacher, student, strict=True):
        away = 1 - (t * s).sum(1) / (t.norm(dim=1) * s.norm(dim=1))
        total += F.interpolate(away[:, None], 112, mode="bilinear", align_corners=True)[:, 0]
    scores = method.score(batch)
    wanted = torch.stack([torch.from_numpy(gaussian_filter(m.numpy(), 4.0)) for m in total.detach()])
    torch.testing.assert_close(scores.maps, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, scores.maps.flatten(1).amax(1))
    shown = method.level_maps(batch)
    assert list(shown) == ([3, 6, 9] if where == "bench" else [])
    if shown:
        torch.testing.assert_close(torch.stack(list(shown.values())).sum(0), total, atol=1e-5, rtol=1e-4)


def test_it_learns_the_normal_images(bench, support) -> None:
    toy = support()
    method = bench.fitted("rd4ad", epochs=2, epoch_images=96, batch_size=8)
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert float(scores.image[3:].min()) > float(scores.image[:3].max())
    for own, where in zip(scores.maps[3:], toy.masks[3:], strict=True):
        assert own[where].mean() > own[~where].mean()


def test_a_shot_is_enough_in_half_precision_too(cnn_bench, support) -> None:
    method = cnn_bench.new("rd4ad", **QUICK)
    method.prepare(cnn_bench.usable(method, support(shots=1)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.training_step([torch.tensor([0])], 0)
        scores = method.eval().score(cnn_bench.batch(method, support().images))
    assert torch.isfinite(loss)
    assert scores.maps.dtype == torch.float32
    assert torch.isfinite(scores.maps).all()


@pytest.mark.parametrize(
    ("shots", "params", "said"),
    [
        (2, {"batch_size": 2}, ""),
        (3, {"batch_size": 2, "stride": 1}, ""),
        (3, {"batch_size": 2, "epoch_images": 4}, ""),
        (1, {"epoch_images": 16}, ""),
        (3, {"batch_size": 2}, r"batch of one image .* Of 3 images method\.batch_size=2 leaves one alone"),
        (1, {}, r"Of 1 images method\.batch_size=16 leaves one alone"),
        (2, {"batch_size": 1}, r"method\.batch_size=1 leaves one alone"),
    ],
)
def test_one_position_of_one_image_is_no_batch(
    bench, support, monkeypatch, shots: int, params: dict[str, int], said: str
) -> None:
    method = bench.new("rd4ad", **(QUICK | params))
    monkeypatch.setattr(method, "encode", len)
    monkeypatch.setattr(method, "_levels", lambda count: [torch.zeros(count, 128, 2, 2)] * 3)
    with pytest.raises(AdbenchError, match=said) if said else contextlib.nullcontext():
        method.prepare(bench.usable(method, support(shots=shots)))


def test_the_teacher_is_read_finest_first(bench, cnn_bench) -> None:
    vit, cnn = bench.backbone.architecture, cnn_bench.backbone.architecture
    assert teacher_of(Params(blocks=[9, 3]), vit) == ((3, 9), (), [Level(128, 1)] * 2)
    assert teacher_of(Params(stages=[3, 1]), cnn) == ((), (1, 3), [Level(64, 4), Level(256, 16)])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"loss": "mse"}, r"method\.loss=mse is not possible: choose from map, position"),
        ({"stride": 3}, r"method\.stride=3 is not possible: choose from 1, 2"),
        ({"depths": "[1,2]"}, r"method\.depths=\[1,2\] is not possible: give 4 numbers from 1 to 100"),
        ({"depths": "[1,2,0,1]"}, r"method\.depths=\[1,2,0,1\] is not possible: give 4 numbers"),
        ({"depths": "[1,1,1,1]", "blocks": "[6]"}, r"give 2 numbers from 1 to 100, for the embedding and the student"),
        ({"embedding": -1}, r"method\.embedding=-1 is not possible: at least 0"),
        ({"stages": "[2]"}, r"method\.stages=\[2\] is not possible: the backbone is a ViT"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("rd4ad", **params)


def test_without_an_image_it_says_so(bench, support) -> None:
    method = bench.new("rd4ad", **QUICK)
    with pytest.raises(AdbenchError, match="rd4ad has no normal image to learn from"):
        method.prepare(support(shots=0))
