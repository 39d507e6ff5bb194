from __future__ import annotations

import torch

from adbench.blocks.fusion import Branches, bounds, fuse, rescale, widest


def test_bounds_are_those_of_all_batches() -> None:
    first = bounds(Branches(torch.tensor([[3.0, 1.0], [2.0, 5.0]]), torch.tensor([0.5, 0.25])))
    assert first.tolist() == [[1.0, 5.0], [0.25, 0.5]]
    second = bounds(Branches(torch.tensor([4.0]), torch.tensor([0.75])))
    assert widest([first, second]).tolist() == [[1.0, 5.0], [0.25, 0.75]]
    assert bounds(Branches(torch.tensor([1.0, 2.0]), None)).tolist() == [[1.0, 2.0]]


def test_rescaling_keeps_the_order_outside_the_bounds() -> None:
    values = torch.tensor([-3.0, 1.0, 2.0, 5.0, 9.0])
    assert rescale(values, torch.tensor([1.0, 5.0])).tolist() == [-1.0, 0.0, 0.25, 1.0, 2.0]


def test_each_branch_has_a_scale_and_a_share_of_its_own() -> None:
    text, bank = torch.tensor([2.0, 4.0]), torch.tensor([0.5, 0.0])
    scale = torch.tensor([[0.0, 4.0], [0.0, 1.0]])
    assert fuse(Branches(text, bank), scale, 0.25).tolist() == [0.25 * 0.5 + 0.75 * 0.5, 0.25]
    assert fuse(Branches(text, None), scale, 1.0) is text
