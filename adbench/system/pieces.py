"""Pieces: independent parts of a computation, forward and backward, on as many cores as there are.

torch runs a backward pass on a CPU in one thread. Here each piece keeps a graph of its own, and cores run the pieces'
backward passes side by side. Gradients are added up in the order of the pieces, whatever the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, grad

from adbench.system import cores


@dataclass
class Piece:
    """`function(*inputs)` returns a tuple of tensors; it may use `parameters`, and nothing else that is trained.

    A parameter that is given twice counts once.
    """

    function: Callable[..., tuple[Tensor, ...]]
    inputs: Sequence[Tensor]
    parameters: Iterable[Tensor] = ()
    leaves: list[Tensor] = field(default_factory=list, init=False)
    outputs: tuple[Tensor, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self.parameters = [p for p in dict.fromkeys(self.parameters) if p.requires_grad]

    @property
    def tensors(self) -> list[Tensor]:
        """The inputs and the parameters."""
        return [*self.inputs, *self.parameters]


def compute(pieces: Sequence[Piece]) -> list[tuple[Tensor, ...]]:
    """Return what each piece returns; gradients reach its inputs and parameters."""
    tensors = [tensor for piece in pieces for tensor in piece.tensors]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        return [piece.function(*piece.inputs) for piece in pieces]
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return list(cores.each(lambda piece: piece.function(*piece.inputs), pieces))
    flat = iter(_Compute.apply(pieces, *tensors))
    return [tuple(next(flat) for _ in piece.outputs) for piece in pieces]


def rows(function: Callable[..., Tensor], size: int, *inputs: Tensor) -> Tensor:
    """Return `function(*inputs)`, (N, ...), computed in the pieces of `split`, of each input (N, ...).

    The function uses nothing that is trained.
    """
    done = compute([Piece(lambda *some: (function(*some),), some) for some in split(size, *inputs)])
    return torch.cat([out for (out,) in done])


def split(size: int, *inputs: Tensor) -> list[tuple[Tensor, ...]]:
    """Split inputs (N, ...) into pieces of at most `size` rows, at least two, as even as possible.

    On an accelerator all are one piece.

    >>> [len(rows) for (rows,) in split(4, torch.zeros(10, 2))], [len(rows) for (rows,) in split(4, torch.zeros(3, 2))]
    ([4, 3, 3], [2, 1])
    """
    count = len(inputs[0])
    parts = max(1, min(count, max(2, -(-count // size)))) if inputs[0].device.type == "cpu" else 1
    return list(zip(*(tensor.tensor_split(parts) for tensor in inputs), strict=True))


class _Compute(Function):
    @staticmethod
    def forward(ctx: Any, pieces: Sequence[Piece], *_: Tensor) -> tuple[Tensor, ...]:
        def run(piece: Piece) -> None:
            with torch.enable_grad():
                piece.leaves = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in piece.inputs]
                piece.outputs = piece.function(*piece.leaves)

        for _done in cores.each(run, pieces):
            pass
        ctx.pieces = pieces
        return tuple(out.detach() for piece in pieces for out in piece.outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        given = iter(grads)
        work = [(piece, [next(given) for _ in piece.outputs]) for piece in ctx.pieces]
        ctx.pieces = ()
        return None, *(found for some in cores.each(_backward, work) for found in some)


def _backward(work: tuple[Piece, list[Tensor]]) -> list[Tensor | None]:
    piece, given = work
    asked = [tensor for tensor in [*piece.leaves, *piece.parameters] if tensor.requires_grad]
    ends = [(out, one) for out, one in zip(piece.outputs, given, strict=True) if out.requires_grad]
    found = iter(grad([out for out, _ in ends], asked, [one for _, one in ends], allow_unused=True) if ends else ())
    return [next(found, None) if tensor.requires_grad else None for tensor in [*piece.leaves, *piece.parameters]]
