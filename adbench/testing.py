"""For the tests of a method: `check_method` runs adbench's conformance kit (docs/your-own-method.md)."""

from __future__ import annotations

import functools
from typing import Any

from adbench.conformance.bench import Bench, new_bench
from adbench.conformance.examine import CheckResult, examine
from adbench.conformance.subject import Subject
from adbench.method import Method

__all__ = ["Bench", "CheckResult", "Subject", "check_method", "examine", "new_bench"]


def check_method(name_or_class: str | type[Method[Any]], /, **params: Any) -> None:
    """Run every check of the conformance kit on a method, on phantoms, on the CPU.

    `name_or_class` is a registered name, `FILE.py:Class`, `package.module:Class`, or a subclass of `adbench.Method`.
    `params` replace parameters of the method, as `method.X=` does: fewer epochs make a test fast.

    Raises AssertionError with a line for each failed check: what was expected, what was seen, where to look. Raises
    AdbenchError where there is no such method or it cannot be imported.
    """
    __tracebackhide__ = True
    findings = examine(name_or_class, params, _bench())
    failed = [finding for finding in findings if finding.outcome == "failed"]
    if failed:
        name = name_or_class if isinstance(name_or_class, str) else name_or_class.__name__
        skipped = sum(finding.outcome == "not run" for finding in findings)
        lines = [f"{name} fails {len(failed)} of {len(findings)} checks ({skipped} not run)", *map(str, failed)]
        raise AssertionError("\n".join(lines))


@functools.cache
def _bench() -> Bench:
    return new_bench()
