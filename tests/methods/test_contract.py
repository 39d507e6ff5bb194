"""What every registered method must keep: adbench's own conformance kit, run against each."""

from __future__ import annotations

import pytest
import torch

from adbench import registry
from adbench.method import Method
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


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_passes_the_conformance_kit(name: str) -> None:
    check_method(name, **QUICK.get(name, {}))


def test_what_it_saves_is_small(bench, name: str) -> None:
    size = sum(v.numel() for v in bench.fitted(name, **QUICK.get(name, {})).state_dict().values())
    assert size < bench.backbone.parameters() / 2


def test_maps_of_levels_are_maps(bench, support, name: str) -> None:
    method, toy = bench.fitted(name, **QUICK.get(name, {})), support()
    batch = bench.batch(method, toy.images)
    with torch.no_grad():
        maps, scores = method.level_maps(batch), method.score(batch)
    if type(method).level_maps is Method.level_maps:
        assert maps == {}
        return
    assert len(maps) >= 3
    assert all(1 <= block <= bench.backbone.architecture.depth for block in maps)
    assert all(found.shape == scores.maps.shape and torch.isfinite(found).all() for found in maps.values())
    if name == "madclip":
        torch.testing.assert_close(torch.stack(list(maps.values())).sum(0), scores.maps)


def test_adapted_features_are_one_vector_an_image(bench, support, name: str) -> None:
    method, toy = bench.fitted(name, **QUICK.get(name, {})), support()
    if type(method).adapted is Method.adapted:
        return
    with torch.no_grad():
        found = method.adapted(bench.batch(method, toy.images))
    assert found.ndim == 2
    assert len(found) == len(toy)
    assert not torch.allclose(found[0], found[-1])


def test_the_quick_parameters_are_of_registered_methods() -> None:
    assert set(QUICK) <= set(NAMES)
