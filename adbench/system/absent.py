"""Imports without what a library takes along where it is installed, and that costs seconds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, DistributionFinder
from importlib.metadata import DistributionFinder as Finder
from types import ModuleType


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Let the imports of the block find none of these packages; those that are imported already stay.

    The library then does what it does on a machine without them.
    """
    hidden = [name for name in packages if name not in sys.modules]
    finder = _Hidden(hidden)
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import fails
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def stand_in(name: str, **contents: object) -> Iterator[None]:
    """Let the imports of the block find a module of these contents in place of another, unless it is imported already.

    For a library that looks at a module when it is imported, and uses it later or never.
    """
    module = ModuleType(name)
    vars(module).update(contents)
    used = sys.modules.setdefault(name, module)
    try:
        yield
    finally:
        if used is module:
            del sys.modules[name]


@contextlib.contextmanager
def lean_torchmetrics() -> Iterator[None]:
    """Let torchmetrics be imported without what it takes along, which costs seconds: transformers and scipy.signal."""
    with without("transformers"), stand_in("scipy.signal", hamming=None):  # its hamming is all that is looked at
        yield


class _Hidden(DistributionFinder):
    """Says of some packages that version 0 is installed, which is below all that a library could ask for."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def find_spec(self, *_: object) -> None:
        """Leave all modules to the finders behind."""

    def find_distributions(self, context: Finder.Context = DistributionFinder.Context()) -> Iterable[Distribution]:  # noqa: B008
        """Return the version 0 of a hidden package."""
        return [_Nothing()] if context.name in self.names else []


class _Nothing(Distribution):
    def read_text(self, filename: str) -> str | None:
        return "Version: 0\n" if filename == "METADATA" else None

    def locate_file(self, path: object) -> None:  # type: ignore[override]
        """Return nothing: there are no files."""
