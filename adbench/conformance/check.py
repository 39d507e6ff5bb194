"""What a check is, and the list of all checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adbench.conformance.subject import Subject


@dataclass(frozen=True)
class Check:
    """One thing that a method must keep. `look`: the methods of its class where a failure is mended.

    After a `gate` that fails the later checks are meaningless and aren't run.
    """

    name: str
    expected: str
    look: tuple[str, ...]
    gate: bool
    run: Callable[[Subject], str | None]


CHECKS: list[Check] = []


def check(
    name: str, expected: str, *look: str, gate: bool = False
) -> Callable[[Callable[[Subject], str | None]], Callable[[Subject], str | None]]:
    """Register a check."""

    def register(run: Callable[[Subject], str | None]) -> Callable[[Subject], str | None]:
        CHECKS.append(Check(name, expected, look, gate, run))
        return run

    return register
