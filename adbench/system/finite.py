"""Losses have to be finite. On a CPU each is looked at where it is computed; on an accelerator many are read at once.

Reading one number from an accelerator waits until everything that it was given is computed. There a training collects
the terms of its losses, and reads them every `EVERY` steps and at the end of each epoch. A loss that is not finite then
ends the run some steps later, and its error still names the step and the term.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor

from adbench.errors import LossError

EVERY = 50  # steps


class Collected:
    """The losses of the steps since the last reading; `place`: where the training stands, in words."""

    def __init__(self) -> None:
        self.place = ""
        self.steps = 0
        self._kept: list[tuple[str, tuple[str, ...], Tensor]] = []

    @property
    def due(self) -> bool:
        """Whether `EVERY` steps were begun since the last reading."""
        return self.steps >= EVERY

    def begin_step(self, place: str) -> None:
        """Say which step the losses that follow belong to."""
        self.place, self.steps = place, self.steps + 1

    def add(self, names: Sequence[str], terms: Tensor, total: Tensor) -> None:
        """Keep terms (n,) and their sum, which stay on their device."""
        self._kept.append((self.place, tuple(names), torch.cat([terms.detach(), total.detach().reshape(1)])))

    def read(self) -> None:
        """Look at all that was kept, in its order, and drop it; raises LossError for the first that is not finite."""
        kept, self._kept, self.steps = self._kept, [], 0
        if not kept:
            return
        values = iter(torch.cat([numbers for _, _, numbers in kept]).tolist())
        for place, names, _ in kept:
            terms, total = [next(values) for _ in names], next(values)
            if not math.isfinite(total):
                raise loss_error(names, terms, place)


_current: ContextVar[Collected | None] = ContextVar("losses", default=None)


def collected() -> Collected | None:
    """Return what collects the losses of the training that runs here; None where each is looked at alone."""
    return _current.get()


@contextlib.contextmanager
def collecting(device: torch.device) -> Iterator[None]:
    """Collect the losses that are computed in the block, if `device` is an accelerator."""
    token = _current.set(None if device.type == "cpu" else Collected())
    try:
        yield
    finally:
        _current.reset(token)


def check(names: Sequence[str], terms: Tensor, total: Tensor) -> None:
    """Look at the terms (n,) of a loss and their sum, or collect them; raises LossError as `Collected.read` does."""
    if (later := collected()) is not None:
        later.add(names, terms, total)
    elif not torch.isfinite(total):
        raise loss_error(names, terms.tolist())


def loss_error(names: Sequence[str], terms: Sequence[float], place: str = "") -> LossError:
    """Return the error of a loss whose terms, or their sum in fp32, are not finite.

    >>> str(loss_error(["focal", "dice"], [math.nan, 1.0]))
    'the loss is not finite: focal is nan. Try precision=32-true or a smaller learning rate.'
    """
    pairs = list(zip(names, terms, strict=True))
    bad = [f"{name} is {value}" for name, value in pairs if not math.isfinite(value)]
    summed = " + ".join(f"{value:g} ({name})" for name, value in pairs)
    return LossError(", ".join(bad) or f"{summed} overflows", place)
