"""A block in two halves: its figures and gradients, and the same bits with any number of cores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adbench.backbone import halves
from adbench.backbone.attention import with_one_product
from adbench.backbone.contract import Backbone
from adbench.backbone.features import autocast
from adbench.backbone.openclip import ResidualAttentionBlock
from adbench.system import cores

pytestmark = pytest.mark.usefixtures("one_core_afterwards")


def block_of(width: int, heads: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    made = nn.ModuleList([ResidualAttentionBlock(width, heads, ls_init_value=0.5)]).to(dtype)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    with_one_product(made)
    return made[0].eval().requires_grad_(False)


def through(function, stream: Tensor) -> tuple[Tensor, Tensor]:
    entering = stream.clone().requires_grad_()
    leaving = function(entering)
    (gradient,) = torch.autograd.grad(leaving.square().sum(), entering)
    return leaving.detach(), gradient


@pytest.mark.parametrize(("width", "heads"), [(16, 4), (12, 3), (10, 2)])
def test_a_block_in_halves_is_the_block(width: int, heads: int) -> None:
    block, stream = block_of(width, heads), torch.randn(1, 7, width, dtype=torch.float64)
    for whole, halved in zip(through(block, stream), through(lambda x: halves.run(block, x), stream), strict=True):
        torch.testing.assert_close(halved, whole, rtol=1e-10, atol=1e-12)


def test_the_number_of_cores_changes_no_bit() -> None:
    block, stream, found = block_of(64, 4, torch.float32), torch.randn(1, 17, 64), []
    for number in (1, 2, 4):
        cores.use(number)
        found.append(through(lambda x: halves.run(block, x), stream))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_one_image_in_training_is_split_and_no_other(random_clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    split: list[tuple[int, ...]] = []
    run = halves.run
    monkeypatch.setattr(halves, "run", lambda block, stream: split.append(tuple(stream.shape)) or run(block, stream))
    stream = random_clip.features(torch.zeros(2, 3, random_clip.input_size, random_clip.input_size), (3,)).blocks[3]
    whole = random_clip.run_blocks(stream[:1], 4, 6)
    random_clip.run_blocks(stream.clone().requires_grad_(), 4, 6)
    with torch.no_grad():
        random_clip.run_blocks(stream[:1].clone().requires_grad_(), 4, 6)
    assert not split, "nothing is trained, there are two images, no gradients are asked for"
    halved = random_clip.run_blocks(stream[:1].clone().requires_grad_(), 4, 6)
    assert split == [tuple(stream[:1].shape)] * 3
    torch.testing.assert_close(halved.detach(), whole)


def test_gradients_under_half_precision_do_not_depend_on_the_cores_or_on_chance() -> None:
    block, layer = block_of(96, 3, torch.float32), nn.Linear(96, 96)
    stream = torch.randn(1, 40, 96)

    def gradients() -> bytes:
        entering = stream.clone().requires_grad_()
        with autocast(torch.device("cpu"), "bf16-mixed"):
            leaving = entering
            for _ in range(3):  # the layer is used before and after each piece
                leaving = halves.run(block, layer(leaving).float())
        found = torch.autograd.grad(leaving.float().square().mean(), [entering, layer.weight])
        return b"".join(each.numpy().tobytes() for each in found)

    seen = set()
    for number in (1, 2):
        cores.use(number)
        seen |= {gradients() for _ in range(60)}
    assert len(seen) == 1
