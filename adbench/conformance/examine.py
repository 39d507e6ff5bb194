"""Examining a method: every check in order, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adbench.conformance.bench import Bench
from adbench.conformance.checks import CHECKS
from adbench.conformance.subject import Subject
from adbench.errors import AdbenchError
from adbench.method import Method


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check: `passed`, `failed`, or `not run` after a failed gate."""

    check: str
    outcome: str
    expected: str
    seen: str = ""
    look: str = ""

    def __str__(self) -> str:
        return f"{self.check}: expected {self.expected}; saw {self.seen}. Look at {self.look}."


def examine(method: str | type[Method[Any]], words: Mapping[str, Any], bench: Bench) -> list[CheckResult]:
    """Run every check on a method, by name or class, with `words` such as {"epochs": 2} for its parameters.

    Raises AdbenchError where there is no such method or it cannot be imported, and for words that it refuses.
    """
    subject, shut, findings = Subject(method, words, bench), False, []
    bench.restore()  # after what an earlier method may have done to a backbone
    if words and (refused := _refusal(Subject(method, {}, bench), subject)):
        raise refused
    for check in CHECKS:
        if shut:
            findings.append(CheckResult(check.name, "not run", check.expected))
            continue
        try:
            seen = check.run(subject)
        except (Exception, SystemExit) as error:  # a stranger's method may raise anything
            seen = subject.said(error)
        if seen is None:
            findings.append(CheckResult(check.name, "passed", check.expected))
        else:
            findings.append(CheckResult(check.name, "failed", check.expected, seen, subject.where(*check.look)))
            shut = check.gate
    return findings


def _refusal(plain: Subject, subject: Subject) -> AdbenchError | None:
    """Return the error with which a method refuses words, where it takes its own defaults."""
    for name in ("params", "capability"):
        try:
            getattr(plain, name)
        except (Exception, SystemExit):
            return None  # the checks will say so
        try:
            getattr(subject, name)
        except AdbenchError as error:
            return error
        except (Exception, SystemExit):
            return None
    return None
