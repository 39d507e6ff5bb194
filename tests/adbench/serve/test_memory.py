"""The support patch behind the hottest patch, on vectors that can be counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from adbench.backbone.contract import Features
from adbench.errors import MethodError
from adbench.method import Batch, Support
from adbench.methods.clip.method import CLIPZeroShot
from adbench.methods.patchcore.method import PatchCore
from adbench.serve.memory import Neighbours, has_memory, memory_of

SIDE = 4  # two patches a side, of two pixels


class Blocks:
    """Compares each patch's mean brightness with the rows of a memory."""

    backbone = SimpleNamespace(device=torch.device("cpu"))

    def __init__(self, bank: Tensor) -> None:
        self.bank = bank

    def encode(self, images: Tensor) -> Features:
        return Features({})

    def memory_of(self, batch: Batch) -> Any:
        pooled = torch.nn.functional.avg_pool2d(batch.images.float()[:, :1], 2)
        return pooled.flatten(2).transpose(1, 2), self.bank


def image(*values: int) -> Tensor:
    patches = torch.tensor(values, dtype=torch.uint8).view(2, 2)
    return patches.repeat_interleave(2, 0).repeat_interleave(2, 1).expand(1, 3, SIDE, SIDE)


def support(*images: Tensor, labels: tuple[int, ...]) -> Support:
    n = len(images)
    return Support(
        torch.cat(images), torch.tensor(labels), torch.zeros(n, SIDE, SIDE, dtype=torch.bool),
        torch.zeros(n, dtype=torch.bool),
        tuple(map(str, range(n))), ("d",) * n, ("o",) * n,
    )  # fmt: skip


def explained(bank: list[float], hot: tuple[int, int], **images: Any) -> Any:
    method: Any = Blocks(torch.tensor(bank)[:, None])
    heat = torch.zeros(SIDE, SIDE)
    heat[hot] = 1
    learned = support(image(200, 0, 0, 0), image(10, 20, 30, 40), image(50, 60, 70, 80), labels=(1, 0, 0))
    batch = Batch.of(method, image(0, 0, 66, 200), "d", "o")
    return Neighbours(method, learned).explain(batch, heat)


def test_the_nearest_patch_of_the_normal_images() -> None:
    bank = [10.0, 20, 30, 40, 50, 60, 70, 80]
    found = explained(bank, (3, 0))  # the patch with 66, at the bottom left
    assert (found.grid, found.patch, found.support, found.of) == (2, (0, 1), 2, (0, 1))  # 70 is nearer than 60
    assert found.distance == 4
    found = explained(bank, (3, 3))  # with 200, which the abnormal image has as well
    assert (found.support, found.of, found.distance) == (2, (1, 1), 120)


def test_a_thinned_memory_is_asked_first() -> None:
    found = explained([10.0, 60], (2, 1))
    assert (found.support, found.of, found.distance) == (2, (1, 0), 6)


def test_an_empty_memory_explains_nothing() -> None:
    assert explained([], (0, 0)) is None


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(1, 4, 3), (torch.zeros(1, 4, 3), torch.zeros(2, 5)), (torch.zeros(1, 5, 3), torch.zeros(2, 3)), None],
)
def test_what_a_method_returns_is_checked(wrong: Any) -> None:
    method: Any = Blocks(torch.zeros(1, 1))
    method.memory_of = lambda batch: wrong
    with pytest.raises(MethodError, match="memory_of"):
        memory_of(method, Batch.of(method, image(0, 0, 0, 0), "d", "o"))


def test_which_methods_have_a_memory() -> None:
    found = {}
    for kind in (PatchCore, CLIPZeroShot):
        method = kind.__new__(kind)
        object.__setattr__(method, "declared", SimpleNamespace(transductive=False))
        found[kind] = has_memory(method)
    assert found == {PatchCore: True, CLIPZeroShot: False}
