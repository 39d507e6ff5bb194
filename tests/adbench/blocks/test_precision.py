"""What stays in fp32 under autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adbench.blocks.precision import in_fp32, l2_normalize, lengths


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


@pytest.mark.parametrize(
    ("mine", "torchs"),
    [
        (l2_normalize, lambda vectors: F.normalize(vectors, dim=-1)),
        (lengths, lambda vectors: vectors.norm(dim=-1, keepdim=True)),
    ],
)
def test_lengths_and_their_gradients_are_torchs_also_of_a_zero_vector(
    mine: Callable[[Tensor], Tensor], torchs: Callable[[Tensor], Tensor]
) -> None:
    vectors = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    vectors[0, 0] = 0
    given = [vectors.clone().requires_grad_() for _ in range(2)]
    out = [function(one) for function, one in zip((mine, torchs), given, strict=True)]
    weights = torch.randn(out[1].shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad(each, one, weights)[0] for each, one in zip(out, given, strict=True)]
    assert torch.equal(*out)
    assert torch.equal(*gradients)
    assert gradients[0][1].abs().min() > 0
