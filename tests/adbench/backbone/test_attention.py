from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from adbench.backbone.attention import MultiheadAttention, with_one_product

B, L, WIDTH, HEADS = 3, 7, 16, 4


@pytest.fixture
def torchs() -> nn.MultiheadAttention:
    torch.manual_seed(0)
    made = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    nn.init.normal_(made.in_proj_bias)
    return made


def inputs(which: str) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    query, key, value = (torch.randn(B, L, WIDTH, dtype=torch.float64, requires_grad=True) for _ in range(3))
    short = query.detach()[:, :1].requires_grad_()
    return {"self": (query,) * 3, "one query": (short, key, key), "three": (query, key, value)}[which]


MASKS = {
    "none": None,
    "causal": torch.full((L, L), float("-inf"), dtype=torch.float64).triu(1),
    "boolean": torch.ones(L, L, dtype=torch.bool).triu(1),
    "per head": torch.randn(B * HEADS, L, L, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
}


@pytest.mark.parametrize("which", ["self", "one query", "three"])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("gradients", [True, False])
def test_it_attends_as_torch_does(torchs: nn.MultiheadAttention, which: str, mask: str, gradients: bool) -> None:
    own, given = MultiheadAttention.of(torchs), inputs(which)
    limited = MASKS[mask] if MASKS[mask] is None else MASKS[mask][..., -given[0].shape[1] :, :]
    found = []
    for module in (torchs.eval(), own.eval()):
        with torch.set_grad_enabled(gradients):
            out, weights = module(*given, need_weights=False, attn_mask=limited)
        assert weights is None
        wanted = [*dict.fromkeys(given), *module.parameters()]
        grads = torch.autograd.grad(out.square().sum(), wanted) if gradients else ()
        found.append([out, *grads])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_the_weights_are_torchs(torchs: nn.MultiheadAttention) -> None:
    given = inputs("self")
    theirs, ours = (module(*given)[1] for module in (torchs, MultiheadAttention.of(torchs)))
    assert torch.equal(theirs, ours)


def test_without_gradients_and_masks_its_bits_are_torchs(torchs: nn.MultiheadAttention) -> None:
    given, other = inputs("self"), torchs.float().eval()
    given = (given[0].float(),) * 3
    with torch.no_grad():
        theirs, ours = (each(*given, need_weights=False)[0] for each in (other, MultiheadAttention.of(other)))
    assert torch.equal(theirs, ours)


def test_dropout_drops_the_same_weights(torchs: nn.MultiheadAttention) -> None:
    torchs.dropout = 0.5
    given, found = inputs("self"), []
    for module in (torchs.train(), MultiheadAttention.of(torchs)):
        torch.manual_seed(3)
        found.append(module(*given, need_weights=False)[0])
    torch.testing.assert_close(*found)
    assert not torch.allclose(found[0], torchs.eval()(*given, need_weights=False)[0])


class Products(TorchDispatchMode):
    """Counts products of matrices by how many matrices each multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.bmm.default, torch.ops.aten.baddbmm.default):
            self.matrices.append(len(args[0]))
        return func(*args, **(kwargs or {}))


def test_tokens_are_not_multiplied_one_by_one(torchs: nn.MultiheadAttention) -> None:
    given = (inputs("self")[0].float(),) * 3
    with Products() as theirs:
        torchs.float().requires_grad_(False)(*given, need_weights=False)[0].sum().backward()
    with Products() as ours:
        MultiheadAttention.of(torchs)(*given, need_weights=False)[0].sum().backward()
    assert L in theirs.matrices, "torch has learned it: this module isn't needed any more"
    assert L not in ours.matrices


def test_under_autocast_it_is_one_product_as_well(torchs: nn.MultiheadAttention) -> None:
    given = (inputs("self")[0].float().detach(),) * 3
    torchs.float().eval().requires_grad_(False)
    found = []
    for module in (torchs, MultiheadAttention.of(torchs).requires_grad_(False)):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Products() as products:
            found.append(module(*given, need_weights=False)[0])
    assert L not in products.matrices
    assert found[1].dtype == torch.bfloat16
    torch.testing.assert_close(*found, rtol=0.05, atol=0.05)


def test_a_model_keeps_its_parameters_and_their_names(torchs: nn.MultiheadAttention) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"inner": torchs}))
    before = model.state_dict(keep_vars=True)
    with_one_product(model)
    after = model.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert type(model[1]["inner"]) is MultiheadAttention
    assert type(copy.deepcopy(model)[1]["inner"]) is MultiheadAttention
