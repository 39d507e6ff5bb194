"""Chunks of images on a CPU: sizes in which features depend on no company, asked once and remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

from adbench.backbone import chunks
from adbench.backbone.chunks import ALONE, SIZES, fill, shared, sizes
from adbench.backbone.contract import Backbone
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.outputs import Outputs
from adbench.system import cores


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_known", {})


def plain(images: Tensor) -> dict[str, Tensor]:
    return {"mean": images.float().mean((1, 2, 3))}


def by_place(images: Tensor) -> dict[str, Tensor]:
    return {"mean": images.float().mean((1, 2, 3)) + torch.arange(len(images))}


def by_size(images: Tensor) -> dict[str, Tensor]:
    return {"mean": images.float().mean((1, 2, 3)) + (len(images) < 4)}


@pytest.mark.parametrize(("compute", "expected"), [(plain, (1, 2, 4, 8)), (by_size, (4, 8)), (by_place, ALONE)])
def test_the_sizes_are_those_in_which_company_changes_nothing(compute, expected: tuple[int, ...]) -> None:
    assert sizes(compute, "x", 4, None) == expected


def test_a_machine_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(images: Tensor) -> dict[str, Tensor]:
        asked.append(len(images))
        return by_size(images)

    for _ in range(2):
        assert sizes(counted, "x", 4, tmp_path) == (4, 8)
        assert asked == [8, 8, 4, 2]
        monkeypatch.setattr(chunks, "_known", {})  # as in another process
    (file,) = (tmp_path / "chunks").glob("*.json")
    file.write_text("[3]")
    assert sizes(counted, "x", 4, tmp_path) == (4, 8), "what no adbench wrote is asked again"
    assert len(asked) == 8


def test_a_chunk_is_filled_up_to_the_next_size() -> None:
    assert [len(fill(torch.zeros(n, 3), (2, 8))) for n in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert [len(fill(torch.zeros(n, 3), (8,))) for n in (1, 8)] == [8, 8]


@given(some.integers(0, 400), some.sampled_from([ALONE, *(SIZES[start:] for start in range(4))]), some.integers(1, 16))
def test_images_are_dealt_evenly_to_the_cores(count: int, allowed: tuple[int, ...], number: int) -> None:
    made = shared(count, allowed, number)
    assert sum(made) == count
    assert made == sorted(made, reverse=True)
    assert all(size in allowed or size < min(allowed) for size in made)
    busy = [0] * number
    for size in made:  # as cores take them
        busy[busy.index(min(busy))] += size
    assert max(busy) - min(busy) <= max(1, min(allowed)), "no core waits for longer than for the smallest chunk"


@pytest.mark.usefixtures("one_core_afterwards")
@pytest.mark.parametrize("allowed", [(4, 8), (8,), ALONE])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_features_are_the_same_bits_with_any_number_of_cores(
    random_clip: Backbone, allowed: tuple[int, ...], number: int
) -> None:
    images = torch.randint(0, 256, (11, 3, 112, 112), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)

    def made(cores_in_use: int, rows: slice) -> Tensor:
        cores.use(cores_in_use)
        frozen = FrozenFeatures(random_clip, "w", Outputs((3, 12), True), "32-true", None)
        frozen.sizes = allowed
        features = frozen(images[rows])
        return torch.cat([features.blocks[3].flatten(1), features.blocks[12].flatten(1), features.pooled], dim=1)

    expected = made(1, slice(None))
    assert torch.equal(made(number, slice(None)), expected)
    assert torch.equal(made(number, slice(9, None)), expected[9:])
