"""What stays in fp32 under autocast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adbench.blocks.precision import in_fp32, l2_normalize


def test_a_product_above_65504_survives_fp16() -> None:
    layer, tokens = nn.Linear(2, 1, bias=False), torch.tensor([[6e4, 6e4]], dtype=torch.float16)
    nn.init.ones_(layer.weight)
    with torch.autocast("cpu", torch.float16):
        assert layer(tokens).isinf().all()
        found = in_fp32(layer, tokens)
    assert found.dtype == torch.float32
    assert found.item() == 2 * tokens[0, 0].item()


@pytest.mark.parametrize("autocast", [True, False])
def test_silent_and_loud_fp16_vectors_have_a_direction_or_none(autocast: bool) -> None:
    quiet, loud = torch.zeros(768, dtype=torch.float16), torch.full((768,), -6e4, dtype=torch.float16)
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        found = l2_normalize(torch.stack([quiet, loud]))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], torch.zeros(768))
    torch.testing.assert_close(found[1], torch.full((768,), -(768**-0.5)))
