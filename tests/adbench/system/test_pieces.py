"""Pieces: values and gradients are those of one graph, and the same bits with any number of cores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adbench.system import cores
from adbench.system.pieces import Piece, compute, rows, split

pytestmark = pytest.mark.usefixtures("one_core_afterwards")


def of_two_layers(number: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs of three pieces, which share an input and one of two layers, and all gradients."""
    cores.use(number)
    torch.manual_seed(0)
    layers, shared = nn.ModuleList(nn.Linear(4, 4) for _ in range(2)), torch.randn(5, 4, requires_grad=True)
    frozen = torch.randn(5, 4)

    def function(x: Tensor, constant: Tensor, layer: nn.Module) -> tuple[Tensor, Tensor]:
        y = layer(x * constant).tanh()
        return y.sum(), y.detach().max()

    work = [
        Piece(lambda x, c, layer=layer: function(x, c, layer), (shared, frozen), layer.parameters())
        for layer in (layers[0], layers[1], layers[0])
    ]
    done = compute(work)
    torch.stack([(n + 1) * total for n, (total, _) in enumerate(done)]).sum().backward()
    return [out for some in done for out in some], [shared.grad, *(p.grad for p in layers.parameters())]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_values_and_gradients_are_the_same_bits_with_any_number_of_cores(number: int) -> None:
    for expected, found in zip(of_two_layers(1), of_two_layers(number), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_gradients_are_those_of_one_graph() -> None:
    _, found = of_two_layers(2)
    torch.manual_seed(0)
    layers, shared = nn.ModuleList(nn.Linear(4, 4) for _ in range(2)), torch.randn(5, 4, requires_grad=True)
    frozen = torch.randn(5, 4)
    total = sum((n + 1) * layers[i](shared * frozen).tanh().sum() for n, i in enumerate((0, 1, 0)))
    total.backward()
    for mine, theirs in zip(found, [shared.grad, *(p.grad for p in layers.parameters())], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_parameter_that_a_piece_does_not_use_has_no_gradient() -> None:
    used, unused = nn.Linear(2, 1), nn.Linear(2, 1)
    piece = Piece(lambda x: (used(x).sum(),), (torch.ones(3, 2),), [*used.parameters(), *unused.parameters()])
    ((out,),) = compute([piece])
    out.backward()
    assert used.weight.grad.tolist() == [[3.0, 3.0]]
    assert unused.weight.grad is None


def test_a_parameter_that_is_given_twice_counts_once() -> None:
    layer = nn.Linear(2, 1)
    ((out,),) = compute([Piece(lambda x: (layer(x).sum(),), (torch.ones(3, 2),), [*layer.parameters()] * 2)])
    out.backward()
    assert layer.weight.grad.tolist() == [[3.0, 3.0]]


def test_nothing_is_kept_where_nothing_is_trained() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        ((out,),) = compute([Piece(lambda x: (layer(x),), (torch.ones(1, 2),), layer.parameters())])
    assert not out.requires_grad


@pytest.mark.parametrize("number", [1, 2])
def test_rows_are_computed_in_even_pieces(number: int) -> None:
    cores.use(number)
    sizes: list[int] = []
    x, y = torch.arange(10.0)[:, None].requires_grad_(), torch.arange(10.0)

    def product(a: Tensor, b: Tensor) -> Tensor:
        sizes.append(len(a))
        return a[:, 0] * b

    out = rows(product, 4, x, y)
    out.sum().backward()
    assert sorted(sizes) == [3, 3, 4]
    assert out.tolist() == [float(n * n) for n in range(10)]
    assert x.grad[:, 0].tolist() == y.tolist()
    assert [len(a) for (a,) in split(4, torch.zeros(0, 1))] == [0]
