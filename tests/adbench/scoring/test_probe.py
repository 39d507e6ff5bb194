"""What throughput counts."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from adbench.scoring.probe import COUNTED, counting
from adbench.system import cores


def test_the_products_of_attention_are_counted() -> None:
    query, other = torch.rand(2, 3, 5, 8), torch.rand(2, 3, 7, 8)  # two images, three heads, 5 tokens that look at 7
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        functional.scaled_dot_product_attention(query, other, other)
    assert counter.get_total_flops() == 2 * (2 * 3 * 5 * 7 * 8) * 2, "weights, then values; a multiply-add counts 2"


def test_what_several_cores_compute_is_counted_too(one_core_afterwards) -> None:
    cores.use(2)
    with counting() as counter:
        list(cores.each(lambda each: each @ each, [torch.rand(8, 8)] * 3))
    assert counter.get_total_flops() == 3 * 2 * 8**3
    assert cores.number() == 2
