"""What every registered method must keep: adbench's own conformance kit, run against each."""

from __future__ import annotations

import pytest

from adbench import registry
from adbench.testing import check_method

NAMES = sorted(registry.entries("method"))
QUICK: dict[str, dict[str, object]] = {
    "madclip": {"epochs": 2},
    "mediclip": {"epochs": 2},
    "mvfa": {"epochs": 1},
    "april_gan": {"epochs": 2},
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_passes_the_conformance_kit(name: str) -> None:
    check_method(name, **QUICK.get(name, {}))


def test_what_it_saves_is_small(bench, name: str) -> None:
    size = sum(v.numel() for v in bench.fitted(name, **QUICK.get(name, {})).state_dict().values())
    assert size < bench.backbone.parameters() / 2


def test_the_quick_parameters_are_of_registered_methods() -> None:
    assert set(QUICK) <= set(NAMES)
