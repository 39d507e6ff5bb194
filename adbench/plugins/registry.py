"""Names of methods, datasets and backbones, known without importing them.

Built-in methods are registered by the very same entry points (`adbench.methods`, `adbench.datasets`,
`adbench.configs`) that a stranger's package uses. A method that is registered nowhere names itself: see locate.py.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import locate

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Kind = Literal["method", "dataset", "backbone", "group", "executor"]
OWN = "adbench-medical"  # the distribution whose methods are called built-in; it has no other right


@dataclass(frozen=True)
class Entry:
    """One name: where it lives (`module:attribute`) and which distribution brought it.

    Of a method that is named by where it is, `package` is the module, or with `file` the path of the Python file.
    """

    name: str
    target: str
    package: str
    version: str = ""
    file: bool = False

    @property
    def registered(self) -> bool:
        """Whether an entry point brings it."""
        return self.package != self.target.rpartition(":")[0]

    @property
    def foreign(self) -> bool:
        """Whether adbench itself does not bring it."""
        return self.package != OWN

    def load(self) -> Any:
        """Import the module and return the registered object."""
        module, _, attribute = self.target.rpartition(":")
        try:
            found: Any = locate.import_file(module) if self.file else import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            return found
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything
            if not self.registered:
                raise AdbenchError(f"{self.target} cannot be imported: {reason(error)}. Mend it.") from error
            raise AdbenchError(
                f"{self.name!r} is registered by {self.package} as {self.target}, which cannot be imported: "
                f"{reason(error)}. Mend or uninstall that package."
            ) from error

    def source(self, loaded: Any) -> str | None:
        """Return what tells this method from others of its name: none for a built-in one.

        The distribution for a registered one, whose `version` speaks for its code; else the hash of the source file.
        """
        if not self.foreign:
            return None
        if not self.registered:
            return f"file:{locate.source_hash(loaded)}"
        return f"package:{self.package}"

    def source_hash(self, loaded: Any) -> str | None:
        """Return the hash of the file that defines a method of somebody's package, which its `source` doesn't have.

        None for every other method, and for one whose file can't be read, as of a compiled module.
        """
        if self.foreign and self.registered:
            with contextlib.suppress(AdbenchError):
                return locate.source_hash(loaded)
        return None


def reason(error: BaseException) -> str:
    """Return the class and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


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
    name, version = _distribution(point)
    return Entry(point.name, point.value, name, version)


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("an unnamed package", "")


def find(kind: Kind, name: str) -> Entry:
    """Return the entry called `name`; unknown names raise with the nearest ones.

    A method may also be named by where it is: `my_method.py:MyMethod` or `my_package.module:MyMethod`.
    """
    if ":" in name:
        if kind != "method":
            raise AdbenchError(
                f"{kind}={name} is not possible: a {kind} comes in by an entry point in the group adbench.{kind}s. "
                f"`adbench list {kind}s` shows those there are."
            )
        place = locate.Place.of(name)
        return Entry(place.attribute, str(place), place.module, file=place.file)
    known = entries(kind)
    if name not in known:
        raise AdbenchError(
            f"unknown {kind} {name!r}: {did_you_mean(name, known)}. `adbench list {kind}s` shows them with a line each."
        )
    return known[name]


@functools.cache
def _shipped() -> tuple[tuple[tuple[str, Traversable], ...], Mapping[str, str]]:
    """Return (distribution, YAML folder) for the entry points in `adbench.configs`, and why others cannot be read."""
    folders, broken = [], {}
    for point in entry_points(group="adbench.configs"):
        package, _ = _distribution(point)
        try:
            folders.append((package, resources.files(point.value)))
        except (Exception, SystemExit) as error:  # importing it runs a stranger's code
            broken[package] = f"its configurations {point.value} cannot be imported: {reason(error)}"
    return tuple(folders), MappingProxyType(broken)


def config_folders() -> tuple[Traversable, ...]:
    """The YAML folders of every package in the entry-point group `adbench.configs`."""
    return tuple(folder for _, folder in _shipped()[0])


def config_files(kind: Kind) -> dict[str, Traversable]:
    """All `<kind>/<name>.yaml` files by name, of the packages in the group `adbench.configs`."""
    return {name: file for name, (_, file) in shipped(kind).items()}


def shipped(kind: Kind) -> dict[str, tuple[str, Traversable]]:
    """The distribution and path of all those files by name."""
    found: dict[str, tuple[str, Traversable]] = {}
    for package, folder in _shipped()[0]:
        for file in (folder / kind).iterdir() if (folder / kind).is_dir() else ():
            name, dot, ending = file.name.rpartition(".")
            if dot and ending == "yaml":
                if name in found and str(found[name][1]) != str(file):
                    other, first = found[name]
                    raise AdbenchError(
                        f"two packages ship {kind}/{file.name}: {other} ({first}) and {package} ({file}). Rename one."
                    )
                found[name] = package, file
    return dict(sorted(found.items()))


def config_file(kind: Kind, name: str) -> Traversable | None:
    """Return the YAML of a method or dataset, or none: shipped in `adbench.configs`, or beside its class.

    Beside the class means `adbench_configs/<kind>/<name>.yaml` in the folder of its module or of a package around it.
    For a method that is registered nowhere, <name> is that of its class, in any case and with or without underscores.
    """
    entry = find(kind, name)
    shipped = None if ":" in name else config_files(kind).get(name)
    if not entry.foreign:
        return shipped
    broken = _shipped()[1].get(entry.package)
    if broken:
        raise AdbenchError(f"the {kind} {name!r} cannot be used: {entry.package} brings it, and {broken}.")
    beside = locate.beside(entry.target.rpartition(":")[0], entry.file, kind, entry.name, exact=":" not in name)
    if shipped is not None and beside is not None and str(shipped) != str(beside):
        raise AdbenchError(f"the {kind} {name!r} has two configurations: {shipped} and {beside}. Remove one.")
    return shipped or beside
