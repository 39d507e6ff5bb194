from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.blocks.prompts import ensemble
from adbench.errors import AdbenchError
from adbench.methods.april_gan.method import AprilGAN, Params


def scored(bench, method, images):
    with torch.no_grad():
        return method.score(bench.batch(method, images))


def big(patches: torch.Tensor) -> torch.Tensor:
    grid = patches.unflatten(1, (8, 8))[:, None]
    return F.interpolate(grid, (112, 112), mode="bilinear", align_corners=True)[:, 0]


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 518)
        method = AprilGAN.create(Params(), backbone.to(torch.device("meta")))
    assert sum(p.numel() for p in method.parameters()) == 4 * (1024 + 1) * 768
    capability = AprilGAN.capability(Params(), backbone.architecture)
    assert (capability.blocks, capability.pooled) == ((6, 12, 18, 24), True)
    assert (capability.normalisation, capability.activation) == ("clip", "gelu")


@pytest.mark.parametrize("masks", [True, False])
def test_scores_by_hand(bench, support, masks: bool) -> None:
    toy = support(masks=masks)
    method = bench.fitted("april_gan", toy, epochs=2)
    scores, text = scored(bench, method, toy.images), ensemble(bench.backbone, Params().prompts, "Brain")
    with torch.no_grad():
        features = bench.backbone.features(toy.images.float() / 255, (3, 6, 9, 12), pooled=True)
        maps = 0
        for layer, block in zip(method.layers, (3, 6, 9, 12), strict=True):
            tokens = features.blocks[block][:, 1:]
            plain = F.normalize(tokens, dim=-1)
            maps = maps + big((1 - plain @ plain[:3].flatten(0, 1).T).amin(-1)) / 4
            if masks:
                projected = F.normalize(tokens @ layer.weight.T + layer.bias, dim=-1)
                columns = torch.stack([big(100 * projected @ state) for state in text], dim=-1)
                maps = maps + columns.softmax(-1)[..., 1] / 4
        probability = (100 * F.normalize(features.pooled, dim=-1) @ text.T).softmax(-1)[:, 1]
    torch.testing.assert_close(scores.maps, maps, atol=2e-5, rtol=1e-3)
    torch.testing.assert_close(scores.image, (probability + maps.flatten(1).amax(1)) / 2, atol=2e-5, rtol=1e-3)


def test_the_zero_shot_track_is_the_text_alone(bench, support) -> None:
    method = bench.fitted("april_gan", epochs=1, bank="false", map_share=0)
    assert method.bank.numel() == 0
    scores, clip = scored(bench, method, support().images), bench.fitted("clip")
    # The same question as the zero-shot baseline's, asked of the image as a whole.
    torch.testing.assert_close(scores.image, scored(bench, clip, support().images).image)
    assert float(scores.maps.amax()) <= 1


def test_the_layers_learn_from_masks_alone(bench, support) -> None:
    for masks in (True, False):
        before = bench.new("april_gan", epochs=2)
        after = bench.fitted("april_gan", support(masks=masks), epochs=2)
        moved = [not torch.equal(b.weight, a.weight) for b, a in zip(before.layers, after.layers, strict=True)]
        assert all(moved) if masks else not any(moved)


def test_without_masks_the_epochs_pass_without_a_step_and_say_so(bench, support, capsys, monkeypatch) -> None:
    steps = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: steps.append(1))
    method = bench.fitted("april_gan", support(masks=False), epochs=3)
    assert "april_gan learns from masks and found none: the map is the distance to the bank" in capsys.readouterr().err
    assert not steps
    assert method.trainer.current_epoch == 3, "a rule that looks at every epoch still finds them"
    assert len(method.data) == 1, "what is not learned from is not collated"


@pytest.mark.parametrize("seen", [[0, 1, 2, 3, 4, 5], [0, 2, 4]], ids=["masks", "some masks"])
def test_one_training_step_is_the_sum_of_its_losses(bench, support, seen: list[int]) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor([i in seen for i in range(6)]))
    method = bench.new("april_gan")
    method.prepare(toy)
    loss = method.training_step([column.clone() for column in method.data.tensors], 0)
    features = bench.backbone.features(toy.images[seen].float() / 255, (3, 6, 9, 12))
    text, mask, wanted = ensemble(bench.backbone, Params().prompts, "Brain"), toy.masks[seen], 0.0
    for layer, stream in zip(method.layers, features.blocks.values(), strict=True):
        projected = F.normalize(stream[:, 1:] @ layer.weight.T + layer.bias, dim=-1)
        columns = torch.stack([big(100 * projected @ state) for state in text], dim=-1)
        p = columns.softmax(-1)[..., 1]
        right = torch.where(mask, p, 1 - p)
        p_t = (1 - 1e-5) * right + 1e-5 * (1 - right) + 1e-5
        wanted += (-((1 - p_t) ** 2) * p_t.log()).mean()
        wanted += (1 - (2 * (p * mask).sum((1, 2)) + 1) / (p.sum((1, 2)) + mask.sum((1, 2)) + 1)).mean()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    loss.backward()
    assert all(float(layer.weight.grad.abs().max()) > 0 for layer in method.layers)


def test_images_without_a_mask_are_left_out_of_the_training(bench, support) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor([True, False, True, True, True, False]))
    method = bench.new("april_gan")
    method.prepare(toy)
    assert torch.equal(method.data.tensors[1], toy.masks[[0, 2, 3, 4]])


def test_it_learns_the_toy(bench, support) -> None:
    toy = support()
    method = bench.fitted("april_gan", epochs=30)
    maps = scored(bench, method, toy.images).maps
    assert maps[3:].flatten(1).amax(1).min() > maps[:3].flatten(1).amax(1).max()
    for own, where in zip(maps[3:], toy.masks[3:], strict=True):
        assert own[where].mean() > own[~where].mean()


@pytest.mark.parametrize(
    ("param", "value"), [("bank", "false"), ("map_share", 1), ("levels", "[6, 12]"), ("scale", 10), ("epochs", 1)]
)
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    plain = scored(bench, bench.fitted("april_gan", epochs=3), support().images).image
    other = scored(bench, bench.fitted("april_gan", **({"epochs": 3} | {param: value})), support().images).image
    assert not torch.allclose(plain, other)


def test_what_cannot_be_is_named(bench, support) -> None:
    with pytest.raises(AdbenchError, match=r"method\.map_share=1\.5 is not possible: a share from 0 to 1"):
        bench.new("april_gan", map_share=1.5)
    with pytest.raises(AdbenchError, match=r"no masks.*Use method\.bank=true"):
        bench.fitted("april_gan", support(masks=False), bank="false")
    method = bench.new("april_gan")
    abnormal = dataclasses.replace(support(), labels=torch.ones(6, dtype=torch.long))
    method.prepare(abnormal)
    with pytest.raises(AdbenchError, match=r"no normal support image .*method\.bank=false"):
        method.build_memory(abnormal)
