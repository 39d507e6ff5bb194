"""Names of methods, datasets and backbones, known without importing them.

Built-in methods are registered by the very same entry points (`adbench.methods`, `adbench.datasets`,
`adbench.configs`) that a stranger's package uses.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from adbench.errors import AdbenchError, did_you_mean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Kind = Literal["method", "dataset", "backbone"]


@dataclass(frozen=True)
class Entry:
    """One registered name: where it lives (`module:attribute`) and which distribution brought it."""

    name: str
    target: str
    package: str

    def load(self) -> Any:
        """Import the module and return the registered object."""
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise AdbenchError(
                f"{self.name!r} is registered by {self.package} as {self.target}, which cannot be imported: {error}. "
                f"Mend or uninstall that package."
            ) from error


@functools.cache
def entries(kind: Kind) -> Mapping[str, Entry]:
    """All registered methods or datasets by name, frozen; two packages with one name are an error."""
    return _collect(kind, entry_points(group=f"adbench.{kind}s"))


def _collect(kind: str, points: Any) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for point in points:
        entry = _entry(point)
        other = found.get(entry.name)
        if other is not None and other != entry:
            raise AdbenchError(
                f"two packages register the {kind} {entry.name!r}: {other.package} ({other.target}) and "
                f"{entry.package} ({entry.target}). Uninstall one of them, or rename one entry point."
            )
        found[entry.name] = entry
    return MappingProxyType(dict(sorted(found.items())))


def _entry(point: EntryPoint) -> Entry:
    return Entry(point.name, point.value, point.dist.name if point.dist else "an unnamed package")


def find(kind: Kind, name: str) -> Entry:
    """Return the entry called `name`; unknown names raise with the nearest ones."""
    known = entries(kind)
    if name not in known:
        raise AdbenchError(
            f"unknown {kind} {name!r}: {did_you_mean(name, known)}. `adbench list {kind}s` shows them with a line each."
        )
    return known[name]


@functools.cache
def config_folders() -> tuple[Traversable, ...]:
    """The YAML folders of every package in the entry-point group `adbench.configs`."""
    return tuple(resources.files(point.value) for point in entry_points(group="adbench.configs"))


def config_files(kind: Kind) -> dict[str, Traversable]:
    """All `<kind>/<name>.yaml` files by name."""
    found: dict[str, Traversable] = {}
    for folder in config_folders():
        for file in (folder / kind).iterdir() if (folder / kind).is_dir() else ():
            name, dot, ending = file.name.rpartition(".")
            if dot and ending == "yaml":
                if name in found and str(found[name]) != str(file):
                    raise AdbenchError(f"two packages ship {kind}/{file.name}: {found[name]} and {file}. Rename one.")
                found[name] = file
    return dict(sorted(found.items()))
