"""Every `>>>` in the packages runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import adbench


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(adbench.__path__, "adbench.")]
    for top in ("adbench.methods", "adbench.datasets"):
        package = importlib.import_module(top)
        names += [m.name for m in pkgutil.walk_packages(package.__path__, f"{top}.")]
    return sorted(name for name in names if not name.endswith("__main__"))


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples() -> None:
    found = [test for name in modules() for test in doctest.DocTestFinder().find(importlib.import_module(name))]
    assert sum(len(test.examples) for test in found) > 200
