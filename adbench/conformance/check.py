"""What a check is, and how a file of checks lists its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adbench.conformance.subject import Subject

Run = Callable[[Subject], str | None]


@dataclass(frozen=True)
class Check:
    """One thing that a method must keep. `look`: the methods of its class where a failure is mended.

    After a `gate` that fails the later checks are meaningless and aren't run.
    """

    name: str
    expected: str
    look: tuple[str, ...]
    gate: bool
    run: Run


def check(into: list[Check], name: str, expected: str, *look: str, gate: bool = False) -> Callable[[Run], Run]:
    """Add a check to the end of a list."""

    def register(run: Run) -> Run:
        into.append(Check(name, expected, look, gate, run))
        return run

    return register
