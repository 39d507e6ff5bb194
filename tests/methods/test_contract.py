"""What every registered method must keep: adbench's own conformance kit, run against each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from pytorch_lightning import Trainer
from torch.utils.data import Dataset

from adbench.backbone.clip import Features
from adbench.config.layers import standalone
from adbench.errors import NumericalError
from adbench.method import Method, defining
from adbench.plugins import registry
from adbench.scoring.score import check_finite, score_images
from adbench.testing import check_method

NAMES = standalone()  # what needs an extra has tests of its own
QUICK: dict[str, dict[str, object]] = {
    "anomalyclip": {"epochs": 2},
    "dinomaly": {"epochs": 2, "epoch_steps": 2, "batch_size": 2, "decoder_blocks": 2},
    "dra": {"epochs": 1, "epoch_steps": 3, "pseudo_images": 8},
    "inpformer": {"epochs": 2, "epoch_steps": 2, "batch_size": 2, "decoder_blocks": 2, "few": 0},
    "madclip": {"epochs": 1, "views": 1},
    "mediclip": {"epochs": 2},
    "musc": {"sides": [1, 3]},
    "mvfa": {"epochs": 1, "views": 1},
    "april_gan": {"epochs": 2},
    "clip_finetune": {"epochs": 1},
    "crossmodal": {"epochs": 1},
    "rd4ad": {"epochs": 2, "epoch_images": 0},
    "simplenet": {"epochs": 2, "epoch_images": 0, "hidden": 64},
    "tgumiad": {"epochs": 2, "epoch_images": 0, "encoder_layers": 1, "decoder_layers": 1},
    "uniad": {"epochs": 2, "epoch_images": 0, "width": 64, "encoder_layers": 1, "decoder_layers": 1},
    "winclip": {"windows": [2]},
}


UNTIED = {
    "anomalyclip", "clip", "clip_finetune", "crossmodal", "dinomaly", "dra", "inpformer", "mrad", "musc", "padim",
    "patchcore", "rd4ad", "simplenet", "subspacead", "tgumiad", "uniad", "winclip",
}  # fmt: skip

# Those that show levels, and those whose features change.
WITH_LEVELS = {"april_gan", "clip_normal", "madclip", "mediclip", "mvfa", "rd4ad", "uniad"}
WITH_ADAPTED = {
    "april_gan", "clip_finetune", "crossmodal", "dra", "madclip", "mediclip", "mvfa", "rd4ad", "simplenet", "tgumiad",
}  # fmt: skip


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_passes_the_conformance_kit(name: str) -> None:
    check_method(name, **QUICK.get(name, {}))


def test_what_it_saves_is_small(bench, name: str) -> None:
    size = sum(v.numel() for v in bench.fitted(name, **QUICK.get(name, {})).state_dict().values())
    assert size < bench.backbone.parameters() / 2


def test_it_holds_nothing_of_its_training_when_the_fit_is_over(bench, name: str) -> None:
    method = bench.fitted(name, **QUICK.get(name, {}))
    method.forget_training()
    left = {key: value for key, value in vars(method).items() if key not in ("_parameters", "_buffers", "_modules")}
    assert not [key for key, value in left.items() if isinstance(value, Dataset | Trainer)]
    assert {key: size for key, value in left.items() if (size := held(value)) > 50_000} == {}


def held(value: object) -> int:
    """Return the bytes of memory that tensors in an attribute keep, views all that they are of."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(map(held, inner))


def test_which_methods_have_what_pictures_need(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.entries("method")
    broken = registry.Entry("broken", "no_such_module:Nothing", "somebody's package")
    monkeypatch.setattr(registry, "entries", lambda kind: {**known, "broken": broken})
    for what, needed in (("level_maps", WITH_LEVELS), ("adapted_features", WITH_ADAPTED)):
        assert needed <= set(defining(what)) <= set(NAMES) - {"clip", "musc", "padim", "patchcore", "winclip"}


def each(features: Features, change: Callable[[torch.Tensor], torch.Tensor]) -> Features:
    pooled = None if features.pooled is None else change(features.pooled)
    blocks, vv = ({block: change(x) for block, x in of.items()} for of in (features.blocks, features.vv))
    return Features(blocks, pooled, vv=vv)


@pytest.mark.parametrize("name", sorted(WITH_LEVELS))
def test_maps_of_levels_are_as_large_as_the_map(bench, support, name: str) -> None:
    method, toy = bench.fitted(name, **QUICK.get(name, {})), support()
    batch = bench.batch(method, toy.images)
    with torch.no_grad():
        maps, scores = method.level_maps(batch), method.score(batch)
    assert len(maps) >= 3
    assert all(found.shape == scores.maps.shape for found in maps.values())
    if name == "madclip":
        torch.testing.assert_close(torch.stack(list(maps.values())).sum(0), scores.maps)


def test_what_overflows_fp16_stays_finite(bench, support, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain = bench.backbone.features

    def loud(*asked: object, **more: object) -> Features:
        """In fp16, as 16-mixed keeps them."""
        found = plain(*asked, **more)
        return each(found, lambda x: (1e6 * x).clamp(-6e4, 6e4).half())

    carried, run = set(), bench.backbone.run_blocks
    monkeypatch.setattr(bench.backbone, "features", loud)
    monkeypatch.setattr(bench.backbone, "run_blocks", lambda x, *span: carried.add(x.dtype) or run(x, *span))
    method, toy = bench.new(name, **QUICK.get(name, {})), support()
    batch = bench.batch(method, toy.images)
    for x in (*batch.features.blocks.values(), batch.features.pooled):
        assert x is None or (x.isfinite().all() and (x @ x.mT).isinf().any())

    own = bench.usable(method, toy)
    method.prepare(own)
    if method.declared.epochs:
        with torch.autocast("cpu", torch.float16):
            assert torch.isfinite(method.train().training_step(next(iter(method.train_dataloader())), 0))
    method.eval().build_memory(own)
    bench.observed(method, toy.images, "16-mixed")
    images = toy.images.permute(0, 2, 3, 1).numpy()
    ((_, scores),) = score_images(method, images, "brainmri", "Brain", 6, "16-mixed")
    check_finite(scores, toy.ids, name)
    with torch.no_grad():  # a loud vector that has become zeros is finite as well
        full = method.score(dataclasses.replace(batch, features=each(batch.features, torch.Tensor.float)))
        torch.testing.assert_close(scores.image, full.image, atol=5e-3, rtol=5e-3)
        torch.testing.assert_close(scores.maps, full.maps, atol=5e-3, rtol=5e-3)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        assert all(torch.isfinite(maps).all() for maps in method.level_maps(batch).values())
        assert name not in WITH_ADAPTED or torch.isfinite(method.adapted_features(batch)).all()
    assert carried <= {torch.float32}, "what a block adds to a stream in fp16 may be lost, or too much"


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", sorted(UNTIED))
def test_half_precision_ties_no_two_images(bench, support, name: str, precision: str) -> None:
    method, toy = bench.new(name, **QUICK.get(name, {})), support(shots=12)
    own = bench.usable(method, toy)
    method.prepare(own)
    method.build_memory(own)
    bench.observed(method, toy.images, precision)
    images = toy.images.permute(0, 2, 3, 1).numpy()
    ((_, scores),) = score_images(method, images, "brainmri", "Brain", len(images), precision)
    assert len(scores.image.unique()) == len(images)
    middle = scores.maps[12:, 56, 56]  # of the images that the method didn't learn from
    assert len(middle.unique()) == len(middle)


def test_a_loss_of_a_method_that_doesnt_look_itself_is_stopped_and_placed(bench, monkeypatch) -> None:
    def overflows(self: Method, batch: object, at: int) -> torch.Tensor:
        return sum(p.sum() for p in self.parameters()) * (torch.inf if at == 1 else 1)

    monkeypatch.setattr(registry.find("method", "mediclip").load(), "training_step", overflows)
    with pytest.raises(NumericalError, match=r"MediCLIP, step 2 \(epoch 1 of 3, batch 2\): .* not finite: it is -?inf"):
        bench.fitted("mediclip", epochs=3, batch_size=2)


def test_the_quick_parameters_are_of_registered_methods() -> None:
    assert set(QUICK) <= set(NAMES)
