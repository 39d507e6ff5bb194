"""The source on which a method's answers depend, as hashes: adbench's own, a plug-in's, and what is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import adbench
from adbench.plugins.blame import LIBRARIES
from adbench.plugins.registry import Entry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MOST_FILES, MOST_BYTES = 2000, 1 << 25  # of a plug-in; of a larger one nothing is remembered
INSTALLED = (".dist-info", ".egg-info", ".egg-link")  # the endings of what says name and version of a package
KEPT_APART = ("__pycache__", ".git")


class Source(NamedTuple):
    """A hash of some files' paths and contents, and when the newest of them changed, in ns since 1970."""

    hash: str
    newest: int


def of_harness() -> Source:
    """Return the source of adbench and its methods, with Python's version and those of all packages."""
    names = {name for folder in sys.path for name in _names(folder or ".") if name.endswith(INSTALLED)}
    found = _hashed([file for root in _own() for file in _files(root, (".py",))])
    assert found is not None
    return Source(_digest([sys.version, sys.platform, *sorted(names), found.hash]), found.newest)


def of_entry(entry: Entry) -> Source | None:
    """Return the source of a plug-in: its file, or all files of its package; None where it can't be found.

    Of a method that adbench brings there is nothing to add. Imports nothing.
    """
    if not entry.foreign:
        return Source("", 0)
    module = entry.target.rpartition(":")[0]
    if entry.file:
        return _hashed([module])
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])  # of a top-level name: nothing is imported
    except (ValueError, ImportError):  # a module without a spec, such as __main__, or somebody's finder
        return None
    if spec is None or (spec.submodule_search_locations is None and not spec.origin):
        return None
    roots = spec.submodule_search_locations
    return _hashed([str(spec.origin)] if roots is None else [file for root in roots for file in _files(root, ())])


def of_file(file: Traversable | None) -> Source | None:
    """Return the source of a method's YAML; None where it can't be read, or lies in an archive."""
    if file is None:
        return Source("", 0)
    return _hashed([str(file)]) if isinstance(file, Path) else None


def of_others(method_class: type[Any]) -> tuple[dict[str, str], int] | None:
    """Return the hashes of all other files that were imported, by path, and when the newest of them changed.

    These are files that no package brings, as next to a method's, and those of the classes that a method inherits from.
    Packages count by their versions. None where a file can't be read.
    """
    own = _own()
    packages = [folder for folder in sys.path if any(name.endswith(".dist-info") for name in _names(folder or "."))]
    apart = (*packages, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")))
    inherited = {base.__module__ for base in (*method_class.__mro__, *method_class.Params.__mro__)}
    inherited = {name for name in inherited if name.partition(".")[0] not in LIBRARIES | sys.stdlib_module_names}
    found: dict[str, str] = {}
    newest = 0
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if not isinstance(file, str) or name in ("__main__", "__mp_main__") or _within(file, own):
            continue
        if _within(file, apart) and name not in inherited:
            continue
        if len(found) == MOST_FILES or not os.path.isabs(file) or (source := _hashed([file])) is None:
            return None
        found[file], newest = source.hash, max(newest, source.newest)
    return found, newest


def unchanged(files: dict[str, str]) -> bool:
    """Whether files still have the hashes that `of_others` returned."""
    return all((found := _hashed([file])) is not None and found.hash == known for file, known in files.items())


def _own() -> tuple[str, ...]:
    """Return the folders of adbench and, of a checkout, of its methods."""
    spec = importlib.util.find_spec("adbench.methods")
    assert spec is not None
    return (*adbench.__path__, *(spec.submodule_search_locations or ()))


def _within(file: str, folders: Iterable[str]) -> bool:
    return any(file.startswith(f"{folder}{os.sep}") for folder in folders if folder)


def _hashed(files: Iterable[str]) -> Source | None:
    whole, newest, size = hashlib.sha256(), 0, 0
    files = sorted(files)
    if len(files) > MOST_FILES:
        return None
    for file in files:
        try:
            stat = os.stat(file)
            size += stat.st_size
            if size > MOST_BYTES:
                return None
            content = Path(file).read_bytes()
        except OSError:
            return None
        whole.update(f"{file!r} {len(content)} ".encode("utf-8", "surrogateescape"))
        whole.update(content)
        newest = max(newest, stat.st_mtime_ns, stat.st_ctime_ns)
    return Source(whole.hexdigest(), newest)


def _files(root: str, endings: tuple[str, ...]) -> list[str]:
    """Return the files below a folder, those of some endings alone where any are given."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in KEPT_APART]
        found += [f"{folder}/{name}" for name in names if not endings or name.endswith(endings)]
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # a zip file, or a folder that is no more
        return []


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()
