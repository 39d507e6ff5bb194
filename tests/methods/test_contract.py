"""What every registered method must keep: adbench's own conformance kit, run against each."""

from __future__ import annotations

import pytest
import torch

from adbench import registry
from adbench.backbone import Features
from adbench.errors import NumericalError
from adbench.method import Method, defining
from adbench.scorer import check_finite, score_images
from adbench.testing import check_method

NAMES = sorted(registry.entries("method"))
QUICK: dict[str, dict[str, object]] = {
    "madclip": {"epochs": 2},
    "mediclip": {"epochs": 2},
    "mvfa": {"epochs": 1},
    "april_gan": {"epochs": 2},
    "clip_finetune": {"epochs": 1},
    "crossmodal": {"epochs": 1},
    "tgumiad": {"epochs": 2, "epoch_images": 0, "encoder_layers": 1, "decoder_layers": 1},
}


# Those that show levels, and those whose features change.
WITH_LEVELS = {"april_gan", "madclip", "mediclip", "mvfa"}
WITH_ADAPTED = {"april_gan", "clip_finetune", "crossmodal", "madclip", "mediclip", "mvfa", "tgumiad"}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_passes_the_conformance_kit(name: str) -> None:
    check_method(name, **QUICK.get(name, {}))


def test_what_it_saves_is_small(bench, name: str) -> None:
    size = sum(v.numel() for v in bench.fitted(name, **QUICK.get(name, {})).state_dict().values())
    assert size < bench.backbone.parameters() / 2


def test_which_methods_have_what_pictures_need(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.entries("method")
    broken = registry.Entry("broken", "no_such_module:Nothing", "somebody's package")
    monkeypatch.setattr(registry, "entries", lambda kind: {**known, "broken": broken})
    for what, needed in (("level_maps", WITH_LEVELS), ("adapted", WITH_ADAPTED)):
        assert needed <= set(defining(what)) <= set(NAMES) - {"clip", "patchcore", "winclip"}


@pytest.mark.parametrize("name", sorted(WITH_LEVELS))
def test_maps_of_levels_are_maps(bench, support, name: str) -> None:
    method, toy = bench.fitted(name, **QUICK.get(name, {})), support()
    batch = bench.batch(method, toy.images)
    with torch.no_grad():
        maps, scores = method.level_maps(batch), method.score(batch)
    assert len(maps) >= 3
    assert all(1 <= block <= bench.backbone.architecture.depth for block in maps)
    assert all(found.shape == scores.maps.shape and torch.isfinite(found).all() for found in maps.values())
    if name == "madclip":
        torch.testing.assert_close(torch.stack(list(maps.values())).sum(0), scores.maps)


@pytest.mark.parametrize("name", sorted(WITH_ADAPTED))
def test_adapted_features_are_one_vector_an_image(bench, support, name: str) -> None:
    method, toy = bench.fitted(name, **QUICK.get(name, {})), support()
    with torch.no_grad():
        found = method.adapted(bench.batch(method, toy.images))
    assert found.ndim == 2
    assert len(found) == len(toy)
    assert not torch.allclose(found[0], found[-1])


@pytest.mark.parametrize("name", sorted(QUICK))
def test_what_overflows_fp16_stays_finite(bench, support, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain = bench.backbone.features

    def loud(*asked: object) -> Features:
        found = plain(*asked)
        return Features({i: (1e6 * x).clamp(-6e4, 6e4) for i, x in found.blocks.items()}, found.pooled)

    monkeypatch.setattr(bench.backbone, "features", loud)
    method, toy = bench.new(name, **QUICK[name]), support()
    seen = bench.batch(method, toy.images[:1]).features.blocks
    assert all(torch.isfinite(x.half()).all() and (x.half() @ x.half().mT).isinf().any() for x in seen.values())

    method.prepare(bench.own(method, toy))
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(method.train().training_step(next(iter(method.train_dataloader())), 0))
    method.eval().memorise(bench.own(method, toy))
    ((_, scores),) = score_images(method, toy.images.permute(0, 2, 3, 1).numpy(), "brainmri", "Brain", 6, "16-mixed")
    check_finite(scores, toy.ids, name)


def test_a_loss_of_a_method_that_doesnt_look_itself_is_stopped_and_placed(bench, monkeypatch) -> None:
    def overflows(self: Method, batch: object, at: int) -> torch.Tensor:
        return sum(p.sum() for p in self.parameters()) * (torch.inf if at == 1 else 1)

    monkeypatch.setattr(registry.find("method", "mediclip").load(), "training_step", overflows)
    with pytest.raises(NumericalError, match=r"MediCLIP, step 2 \(epoch 1 of 3, batch 2\): .* not finite: it is -?inf"):
        bench.fitted("mediclip", epochs=3, batch_size=2)


def test_the_quick_parameters_are_of_registered_methods() -> None:
    assert set(QUICK) <= set(NAMES)
