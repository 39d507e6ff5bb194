"""What every registered method must keep: one suite, run against each."""

from __future__ import annotations

import hashlib

import pytest
import torch

from adbench import registry
from adbench.method import Scores

NAMES = sorted(registry.entries("method"))
QUICK: dict[str, dict[str, object]] = {"madclip": {"epochs": 2}}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def score(bench, method, images) -> Scores:
    with torch.no_grad():
        return method.score(bench.batch(method, images))


def weights(bench) -> str:
    rows = (v.numpy().tobytes() for v in bench.backbone.model.state_dict().values())
    return hashlib.sha256(b"".join(rows)).hexdigest()


def test_shapes_and_finite_scores(bench, support, name: str) -> None:
    method = bench.fitted(name, **QUICK.get(name, {}))
    scores = score(bench, method, support().images)
    assert scores.image.shape == (6,)
    assert torch.isfinite(scores.image).all()
    if bench.capability(method).maps:
        assert scores.maps.ndim == 3
        assert len(scores.maps) == 6
        assert torch.isfinite(scores.maps).all()


def test_the_same_seed_gives_the_same_bits(bench, support, name: str) -> None:
    one, two = (score(bench, bench.fitted(name, **QUICK.get(name, {})), support().images) for _ in range(2))
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.maps, two.maps)


def test_a_score_depends_on_its_own_image_alone(bench, support, name: str) -> None:
    method = bench.fitted(name, **QUICK.get(name, {}))
    images = support().images
    together, alone = score(bench, method, images), score(bench, method, images[4:5])
    torch.testing.assert_close(alone.image, together.image[4:5], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone.maps, together.maps[4:5], atol=1e-5, rtol=1e-4)


def test_saving_and_loading_gives_the_same_scores(bench, support, name: str) -> None:
    method = bench.fitted(name, **QUICK.get(name, {}))
    other = bench.new(name, seed=9, **QUICK.get(name, {}))
    other.load_fitted({key: value.clone() for key, value in method.state_dict().items()})
    other.eval()
    before, after = (score(bench, m, support().images) for m in (method, other))
    assert torch.equal(before.image, after.image)
    assert torch.equal(before.maps, after.maps)


def test_the_backbone_is_neither_saved_nor_changed_nor_woken(bench, name: str) -> None:
    before = weights(bench)
    method = bench.fitted(name, **QUICK.get(name, {}))
    assert weights(bench) == before
    assert not bench.backbone.model.training
    assert not any(p.requires_grad for p in bench.backbone.model.parameters())
    backbones = {tuple(v.shape): v for v in bench.backbone.model.state_dict().values() if v.ndim == 2}
    for key, value in method.state_dict().items():
        twin = backbones.get(tuple(value.shape))
        assert twin is None or not torch.equal(twin, value), f"{key} is a tensor of the backbone"
    size = sum(v.numel() for v in method.state_dict().values())
    assert size < bench.backbone.parameters() / 2


def test_the_constructor_only_stores(bench, name: str) -> None:
    method_class = registry.find("method", name).load()
    method = method_class(method_class.Params(), bench.backbone, 0)
    assert list(method.parameters()) == []
    assert method.state_dict() == {}


def test_it_works_without_masks_and_with_one_shot(bench, support, name: str) -> None:
    method = bench.fitted(name, support(masks=False, shots=1), **QUICK.get(name, {}))
    assert torch.isfinite(score(bench, method, support().images).image).all()
