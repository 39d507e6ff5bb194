import doctest
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
MODULES = ["arrays", "exact", "histogram", "image", "keys", "modules", "pixel", "regions", "table"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, tried = doctest.testmod(import_module(f"adbench.metrics.{name}"))
    assert tried
    assert not failed


def test_page():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 20
    assert not failed
