"""Every `>>>` in the packages runs."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import adbench

NEEDS_ANOMALIB = ("methods.anomalib.trainer",)  # which is an extra outside `dev`


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(adbench.__path__, "adbench.")]
    for top in ("adbench.methods", "adbench.datasets"):
        package = importlib.import_module(top)
        names += [m.name for m in pkgutil.walk_packages(package.__path__, f"{top}.")]
    absent = () if importlib.util.find_spec("anomalib") else NEEDS_ANOMALIB
    return sorted(name for name in names if not name.endswith(("__main__", *absent)))


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    found = [test for name in modules() for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in found) > 200
