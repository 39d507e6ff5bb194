"""Whether a fit takes random numbers that its seed decides."""

from __future__ import annotations

import contextlib
import pickle
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from adbench.method import Method


def global_states() -> tuple[bytes, ...]:
    """Return the states of the global generators of torch, NumPy and Python."""
    return (
        torch.get_rng_state().numpy().tobytes(),
        pickle.dumps(np.random.get_state()),  # noqa: NPY002
        pickle.dumps(random.getstate()),
    )


@dataclass
class Watched:
    """What a fit asked for: `self.generator`, and the global generators' states before (as built) and after it."""

    asked: bool = False
    before: tuple[bytes, ...] = field(default=())
    after: tuple[bytes, ...] = field(default=())

    def ends(self, seeded: tuple[bytes, ...]) -> None:
        """Keep the states at the end of a fit that began with `seeded`."""
        self.before, self.after = seeded, global_states()


@contextlib.contextmanager
def watched() -> Iterator[Watched]:
    """Notice within the block whether a method asks for `self.generator`."""
    seen, plain = Watched(), Method.generator

    def generator(self: Method[Any], purpose: str) -> torch.Generator:
        seen.asked = True
        return plain(self, purpose)

    Method.generator = generator  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Method.generator = plain  # type: ignore[method-assign]


def drew(one: Watched, two: Watched) -> bool:
    """Whether two fits, of two seeds, drew from a global generator and left it in states of their own.

    A fit that sets a seed itself leaves the same state, whatever the seed of the cell.
    """
    pairs = zip(one.before, one.after, two.before, two.after, strict=True)
    return any(a != b and c != d and b != d for a, b, c, d in pairs)
