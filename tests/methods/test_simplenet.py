from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.pyramid import local_vectors
from adbench.config import layers, words
from adbench.errors import AdbenchError
from adbench.methods.simplenet.method import Discriminator, Params, SimpleNet, hinge

QUICK = {"epochs": 1, "epoch_images": 0, "hidden": 16}


def test_the_preset_of_the_paper_and_its_size(facts) -> None:
    (run,) = words.parse(["method=simplenet", "preset=paper"])
    assert (run.backbone, run.input_size, run.schedule) == ("wide-resnet-50-2", 288, "paper")
    params = layers.method_params(Params, "simplenet", run.schedule)
    with torch.device("meta"):
        backbone = build(run.backbone, facts(run.backbone, weights="random"), run.input_size)
        method = SimpleNet.create(params, backbone.to(torch.device("meta")))
    assert (method.declared.stages, method.declared.blocks, method.declared.epochs) == ((2, 3), (), 160)
    assert sum(p.numel() for p in method.adapter.parameters()) == 1536 * 1536 + 1536
    # Linear, scale and shift of the batch norm, and a unit without bias.
    assert sum(p.numel() for p in method.discriminator.parameters()) == 1537 * 1024 + 2 * 1024 + 1024
    assert sum(p.numel() for p in method.parameters()) == 3_937_792
    plain = SimpleNet.create(Params(), backbone)  # plain means: 512 + 1,024 channels
    assert plain.adapter.in_features == 1536


def test_the_hinge_asks_for_no_more_than_the_threshold() -> None:
    assert float(hinge(torch.tensor([0.5, 3.0]), 0.5)) == 0
    assert float(hinge(torch.tensor([0.25, -1.0, 0.5, 9.0]), 0.5)) == pytest.approx((0.25 + 1.5) / 4)


def test_the_discriminator_by_hand() -> None:
    net = Discriminator(3, 4)
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    linear, norm = net.body[0], net.body[1]
    hidden = x.flatten(0, 1) @ linear.weight.T + linear.bias
    trained = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    expected = torch.where(trained > 0, trained, 0.2 * trained) @ net.unit.weight[0]
    torch.testing.assert_close(net(x), expected.view(2, 5))
    net.eval()
    known = (hidden - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
    torch.testing.assert_close(net(x), (torch.where(known > 0, known, 0.2 * known) @ net.unit.weight[0]).view(2, 5))


@pytest.mark.parametrize("threshold", [0.5, 2.0])
def test_one_training_step_is_the_truncated_l1_of_both_halves(bench, support, threshold: float) -> None:
    method = bench.new("simplenet", **QUICK, noise=0.3, threshold=threshold)
    toy = bench.usable(method, support())
    method.prepare(toy)
    loss = method.training_step([torch.tensor([2, 0])], 0)
    levels = bench.backbone.features(toy.images[[2, 0]], (6, 9)).blocks
    squares = [levels[block][:, 1:].transpose(1, 2).unflatten(2, (8, 8)) for block in (6, 9)]
    vectors = local_vectors(squares, method.params)
    assert vectors.shape == (2, 64, 256)
    adapted = method.adapter(vectors)
    noise = 0.3 * torch.randn(adapted.shape, generator=method.generator("noise"))
    found = method.discriminator(torch.cat([adapted, adapted + noise]))  # one batch norm for both
    of_normal, of_noised = found[:2], found[2:]
    wanted = (threshold - of_normal).clamp(min=0).mean() + (threshold + of_noised).clamp(min=0).mean()
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-4)
    loss.backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in method.parameters())


def test_each_of_the_two_has_its_rate(bench) -> None:
    method = bench.new("simplenet", **QUICK, adapter_rate=0.25, learning_rate=0.5, weight_decay=0.125)
    adapter, discriminator = method.configure_optimizers().param_groups
    assert (adapter["lr"], discriminator["lr"]) == (0.25, 0.5)
    assert adapter["weight_decay"] == discriminator["weight_decay"] == 0.125
    assert {id(p) for p in adapter["params"]} == {id(p) for p in method.adapter.parameters()}
    assert {id(p) for p in discriminator["params"]} == {id(p) for p in method.discriminator.parameters()}


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("simplenet", **QUICK)
    batch = bench.batch(method, toy.images[3:])
    squares = [batch.features.blocks[block][:, 1:].transpose(1, 2).unflatten(2, (8, 8)) for block in (6, 9)]
    found = method.discriminator(method.adapter(local_vectors(squares, method.params)))
    pixels = F.interpolate(-found.view(3, 1, 8, 8), 112, mode="bilinear", align_corners=False)[:, 0]
    scores, maps = method.score(batch), [gaussian_filter(one, 4.0) for one in pixels.detach().numpy()]
    maps = torch.from_numpy(np.stack(maps))
    torch.testing.assert_close(scores.maps, maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, (-found).amax(1), atol=1e-5, rtol=1e-4)  # before upsampling
    method.params.image_score = "map"
    torch.testing.assert_close(method.score(batch).image, maps.flatten(1).amax(1), atol=1e-5, rtol=1e-4)


def test_it_learns_what_is_far_from_normal(bench, support) -> None:
    toy = support()
    method = bench.fitted("simplenet", epochs=4, epoch_images=32, hidden=64, learning_rate=1e-2, noise=0.3)
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
        patches = method._adapted(bench.batch(method, toy.images[:3]).features)
        noised = patches + torch.randn(patches.shape, generator=torch.Generator().manual_seed(0))
        assert float(method.discriminator(patches).mean()) > float(method.discriminator(noised).mean()) + 0.5
    assert float(scores.image[3:].mean()) > float(scores.image[:3].mean())


def test_a_cnn_trains_in_half_precision_and_a_shot_is_enough(cnn_bench, support) -> None:
    method = cnn_bench.new("simplenet", **QUICK)
    method.prepare(cnn_bench.usable(method, support(shots=1)))
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.training_step([torch.tensor([0])], 0)
        scores = method.eval().score(cnn_bench.batch(method, support().images))
    assert loss.dtype == scores.image.dtype == torch.float32, "the noise is less than half precision resolves"
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.maps).all()
    assert isinstance(method.adapter, nn.Linear)
    assert method.adapter.in_features == 128 + 256


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"noise": 0}, r"method\.noise=0\.?0? is not possible: a number above 0"),
        ({"hidden": 0}, r"method\.hidden=0 is not possible: at least 1"),
        ({"image_score": "mean"}, r"method\.image_score=mean is not possible: choose from patches, map"),
        ({"threshold": -1}, r"method\.threshold=-1\.?0? is not possible: at least 0"),
        ({"adapter_rate": 0}, r"method\.adapter_rate=0\.?0? is not possible"),
        ({"stages": "[2]"}, r"method\.stages=\[2\] is not possible: the backbone is a ViT"),
        ({"dims": 64}, r"method\.dims=64 is not possible with method\.padding=none"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("simplenet", **params)


def test_without_an_image_it_says_so(bench, support) -> None:
    method = bench.new("simplenet", **QUICK)
    with pytest.raises(AdbenchError, match="simplenet has no normal image to learn from"):
        method.prepare(support(shots=0))
