"""`adbench check-method`: the checks as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from adbench.config.layers import read_value
from adbench.errors import AdbenchError
from adbench.plugins import locate, registry


def check_method(name: str, words: Sequence[str]) -> bool:
    """Examine a method, print a line for each check, and return whether all passed."""
    of_backbone = [word for word in words if word.startswith(("backbone=", "backbone."))]
    given = _params([word for word in words if word not in of_backbone])
    if ":" in name:
        name = str(locate.ImportPath.of(name))
    registry.find("method", name)
    # torch and Lightning take seconds to import: only after the words were checked.
    from adbench.conformance.bench import new_bench
    from adbench.conformance.examine import examine

    findings = examine(name, given, new_bench(words=of_backbone))
    plain = Console(highlight=False, soft_wrap=True)
    on = f", {' '.join(of_backbone)}" if of_backbone else ""
    plain.print(f"{name} on phantoms{on}", style="bold", markup=False)
    for finding in findings:
        plain.print(f"  {finding.check:<20}{finding.outcome:<9}{finding.expected}", markup=False)
    failed = [finding for finding in findings if finding.outcome == "failed"]
    for finding in failed:
        plain.print(f"\n{finding.check} failed", style="bold", markup=False)
        for title, text in (("expected", finding.expected), ("seen", finding.seen), ("look at", finding.look)):
            plain.print(f"  {title:<10}{text}", markup=False)
    passed = sum(finding.outcome == "passed" for finding in findings)
    plain.print(f"{passed} of {len(findings)} checks passed", markup=False)
    return not failed


def _params(words: Sequence[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.startswith("method.") or key == "method.":
            raise AdbenchError(f"{word!r} is not possible here: check-method takes method.X=VALUE, as method.epochs=2.")
        given[key.removeprefix("method.")] = read_value(text)
    return given
