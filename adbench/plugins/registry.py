"""The registry: names of methods, datasets, backbones, groups and executors, known without importing them.

Built-in methods are registered by the same entry points (`adbench.methods`, `adbench.datasets`, `adbench.configs`)
that other packages use. A method may also be named by its import path, without an entry point: see locate.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from adbench.errors import AdbenchError, PluginError, did_you_mean
from adbench.plugins import locate
from adbench.plugins.remedy import remedy
from adbench.system.text import said

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Kind = Literal["method", "dataset", "backbone", "group", "executor", "support", "reproduce"]
OWN = "adbench-medical"  # the distribution whose methods are called built-in


@dataclass(frozen=True)
class Entry:
    """One name: where it lives (`module:attribute`) and which distribution brought it.

    Of a method that is named by where it is (`placed`), `package` is the module, or with `file` the path of the file.
    `clash` says which packages register the same name, where there are two.
    """

    name: str
    target: str
    package: str
    version: str = ""
    file: bool = False
    placed: bool = False
    clash: str = ""

    @property
    def registered(self) -> bool:
        """Whether an entry point brings it."""
        return not self.placed

    @property
    def foreign(self) -> bool:
        """Whether adbench itself does not bring it."""
        return self.package != OWN

    def load(self) -> Any:
        """Import the module and return the registered object."""
        if self.clash:
            raise PluginError(self.clash)
        module, _, attribute = self.target.rpartition(":")
        try:
            loaded: Any = locate.import_file(module) if self.file else import_module(module)
            for part in attribute.split("."):
                if not hasattr(loaded, part):
                    raise PluginError(self._lacks(_has(loaded, part)))
                loaded = getattr(loaded, part)
            return loaded
        except PluginError:
            raise
        except (Exception, SystemExit) as error:  # somebody else's module may raise anything
            if not self.registered:
                what_to_do = remedy(locate.ImportPath(module, attribute, self.file), error)
                raise PluginError(f"{self.target} cannot be imported: {said(error)}. {what_to_do}") from error
            raise PluginError(
                f"{self.name!r} is registered by {self.package} as {self.target}, which cannot be imported: "
                f"{said(error)}. Fix or uninstall that package."
            ) from error

    def _lacks(self, why: str) -> str:
        if not self.registered:
            return f"{self.target} is not possible: {why}."
        return f"{self.name!r} is registered by {self.package} as {self.target}: {why}. Fix or uninstall that package."

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


@functools.cache
def entries(kind: Kind) -> Mapping[str, Entry]:
    """All registered methods, datasets or executors by name, frozen.

    A name that two packages register stays, with its `clash`: who asks for that one gets an error.
    """
    known: dict[str, Entry] = {}
    for point in entry_points(group=f"adbench.{kind}s"):
        entry = _entry(point)
        other = known.setdefault(entry.name, entry)
        if other != entry and not other.clash:
            clash = (
                f"two packages register the {kind} {entry.name!r}: {other.package} ({other.target}) and "
                f"{entry.package} ({entry.target}). Uninstall one of them, or rename one entry point."
            )
            known[entry.name] = dataclasses.replace(other, clash=clash)
    return MappingProxyType(dict(sorted(known.items())))


def _entry(point: EntryPoint) -> Entry:
    package, version = _distribution(point)
    return Entry(point.name, point.value.partition("[")[0].strip(), package, version)  # without extras


def _distribution(point: EntryPoint) -> tuple[str, str]:
    """Return the name and version of the distribution that brings an entry point, whose metadata may be damaged."""
    try:
        assert point.dist is not None
        return point.dist.name or "an unnamed package", point.dist.version or ""
    except Exception:
        return "an unnamed package", ""


def _has(module: Any, wanted: str) -> str:
    """Say that a module or class lacks a name, and which classes of its own it has."""
    here = getattr(module, "__file__", None)
    called = Path(here).name if here else module.__name__
    types = {name: value for name, value in vars(module).items() if isinstance(value, type) and name[0] != "_"}
    own = [name for name, value in types.items() if value.__module__ == module.__name__]
    return f"{called} has no {wanted}; {'it has ' + ', '.join(own) if own else 'it defines no class'}"


def find(kind: Kind, name: str) -> Entry:
    """Return the entry called `name`; unknown names raise with the nearest ones, two of one name PluginError.

    A method may also be named by where it is: `my_method.py:MyMethod` or `my_package.module:MyMethod`.
    """
    if ":" in name or (kind == "method" and (name.endswith(".py") or "/" in name)):
        if kind != "method":
            raise AdbenchError(
                f"{kind}={name} is not possible: a {kind} comes in by an entry point in the group adbench.{kind}s. "
                f"`adbench list {kind}s` shows those there are."
            )
        path = locate.ImportPath.of(name)
        return Entry(path.attribute, str(path), path.module, file=path.file, placed=True)
    known = entries(kind)
    if name not in known:
        raise AdbenchError(
            f"unknown {kind} {name!r}: {did_you_mean(name, known)} `adbench list {kind}s` shows them with a line each."
        )
    if known[name].clash:
        raise PluginError(known[name].clash)
    return known[name]


@functools.cache
def _shipped() -> tuple[tuple[tuple[str, Traversable], ...], Mapping[str, str]]:
    """Return (distribution, YAML folder) of `adbench.configs`, adbench's own first, and why others cannot be read."""
    folders, broken = [], {}
    for point in sorted(entry_points(group="adbench.configs"), key=lambda point: _distribution(point)[0] != OWN):
        package, _ = _distribution(point)
        try:
            folders.append((package, resources.files(point.value)))
        except (Exception, SystemExit) as error:  # importing it runs somebody else's code
            broken[package] = f"its configurations {point.value} cannot be imported: {said(error)}"
    return tuple(folders), MappingProxyType(broken)


def config_folders() -> tuple[Traversable, ...]:
    """The YAML folders of every package in the entry-point group `adbench.configs`."""
    return tuple(folder for _, folder in _shipped()[0])


def config_files(kind: Kind) -> dict[str, Traversable]:
    """All `<kind>/<name>.yaml` files by name, of the packages in the group `adbench.configs`.

    Where several packages ship one name, the file is adbench's own, else the first; `shipped_file` says what is wrong.
    """
    return {name: files.get(OWN) or next(iter(files.values())) for name, files in shipped(kind).items()}


def shipped(kind: Kind) -> dict[str, dict[str, Traversable]]:
    """All those files by name, and by the distribution that ships them."""
    files: dict[str, dict[str, Traversable]] = {}
    for package, folder in _shipped()[0]:
        with contextlib.suppress(OSError):
            for file in (folder / kind).iterdir() if (folder / kind).is_dir() else ():
                name, dot, ending = file.name.rpartition(".")
                if dot and ending == "yaml":
                    files.setdefault(name, {})[package] = file
    return dict(sorted(files.items()))


def shipped_file(kind: Kind, name: str, package: str = OWN) -> Traversable | None:
    """Return `<kind>/<name>.yaml` of the package, else of the only other one that ships it; None where none does.

    Raises PluginError where two others ship it.
    """
    files = shipped(kind).get(name, {})
    if package in files or not files:
        return files.get(package)
    if len(files) > 1:
        (other, first), (another, second), *_ = files.items()
        raise PluginError(
            f"two packages ship {kind}/{name}.yaml: {other} ({first}) and {another} ({second}). Rename one."
        )
    return next(iter(files.values()))


def config_file(kind: Kind, name: str) -> Traversable | None:
    """Return the YAML of a method or dataset, or None: shipped in `adbench.configs`, or next to its class.

    Next to the class means `adbench_configs/<kind>/<name>.yaml` in the folder of its module or of a package around it.
    For a method that is registered nowhere, <name> is that of its class, in any case and with or without underscores.
    Raises PluginError where a package brings none that can be used, or two.
    """
    entry = find(kind, name)
    shipped = None if ":" in name else shipped_file(kind, name, entry.package)
    if not entry.foreign:
        return shipped
    broken = _shipped()[1].get(entry.package)
    if broken:
        raise PluginError(f"the {kind} {name!r} cannot be used: {entry.package} brings it, and {broken}.")
    nearby = locate.config_near(entry.target.rpartition(":")[0], entry.file, kind, entry.name, exact=":" not in name)
    if shipped is not None and nearby is not None and str(shipped) != str(nearby):
        raise PluginError(f"the {kind} {name!r} has two configurations: {shipped} and {nearby}. Remove one.")
    return shipped or nearby
