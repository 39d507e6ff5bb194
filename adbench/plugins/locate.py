"""Import paths: `FILE.py:Class` or `package.module:Class` to a method's code, the hash of its source, and its YAML."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from adbench.errors import AdbenchError

CONFIGS = "adbench_configs"


@dataclass(frozen=True)
class ImportPath:
    """A class in a file (`module` is then its absolute path) or in an importable module.

    >>> ImportPath.of("my_package.module:MyMethod")
    ImportPath(module='my_package.module', attribute='MyMethod', file=False)
    """

    module: str
    attribute: str
    file: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    @classmethod
    def of(cls, text: str) -> ImportPath:
        """Read `FILE.py:Class` or `package.module:Class`; a relative path is taken from the current folder."""
        module, _, attribute = text.rpartition(":")
        file = module.endswith(".py") or "/" in module or "\\" in module
        dotted = all(part.isidentifier() for part in module.split("."))
        if not attribute.isidentifier() or not (file or dotted):
            raise AdbenchError(
                f"method={text} names no class. Write method=FILE.py:Class, as in ./my_method.py:MyMethod, or "
                "method=package.module:Class."
            )
        if not file:
            return cls(module, attribute, False)
        path = Path(module).expanduser().absolute()
        if path.suffix != ".py" or not path.is_file():
            raise AdbenchError(f"method={text} is not possible: {path} is not there, or no Python file.")
        return cls(str(path.resolve()), attribute, True)


def import_file(path: str) -> ModuleType:
    """Import a Python file under a name of its own, made of its path and content: an edited file is another module."""
    content = Path(path).read_bytes()
    name = "adbench_file_" + hashlib.sha256(path.encode() + b"\0" + content).hexdigest()[:16]
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        # These bytes, not a cached compilation of older ones.
        exec(compile(content, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    vars(module)["__source_hash__"] = hashlib.sha256(content).hexdigest()[:16]
    return module


@functools.cache
def source_hash(loaded: Any) -> str:
    """Return the SHA-256, 16 hexadecimal digits, of the file that defines a class, as it was imported."""
    module = sys.modules.get(loaded.__module__)
    known = getattr(module, "__source_hash__", None)
    if known is not None:
        return str(known)
    try:
        return hashlib.sha256(Path(source_file(loaded) or "").read_bytes()).hexdigest()[:16]
    except OSError as error:
        name = loaded.__qualname__
        if loaded.__module__ == "__main__" and not hasattr(module, "__file__"):
            file = f"{name.lower()}.py"
            raise AdbenchError(
                f"{name} is defined in a notebook or at Python's prompt, and the hash of a method's file names the "
                f"cell. Write it into a file, as a notebook's cell does that begins with %%writefile {file}, and give "
                f"method={file}:{name}."
            ) from error
        raise AdbenchError(
            f"the source of {loaded!r} cannot be read, and its hash names the cell. Register it by an entry point in "
            "the group adbench.methods instead."
        ) from error


def source_file(defined: Any) -> str | None:
    """Return the Python file that defines a class or function; None where there is none, as in a notebook."""
    try:
        return inspect.getsourcefile(defined)
    except (OSError, TypeError):  # OSError: a class of __main__ where that is no file
        return None


def config_near(module: str, file: bool, kind: str, name: str, exact: bool) -> Path | None:
    """Return `adbench_configs/<kind>/<name>.yaml` in the folder of a module or file, or of a package around it.

    Not `exact`: case and underscores of the name don't matter. Imports nothing.
    """
    for folder in [Path(module).parent] if file else _folders(module):
        for path in sorted((folder / CONFIGS / kind).glob("*.yaml")):
            if path.stem == name or (not exact and _plain(path.stem) == _plain(name)):
                return path
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _folders(module: str) -> list[Path]:
    """Return the folders of a dotted module and of the packages around it, the innermost first."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name: nothing is imported
    except ValueError:  # a module without a spec, such as __main__
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [Path(spec.origin).parent] if spec.origin else []
    around: list[Path] = []
    for root in map(Path, spec.submodule_search_locations):
        folders = [root.joinpath(*rest[:depth]) for depth in range(len(rest) + 1)]
        around += [folder for folder in reversed(folders) if folder.is_dir()]
    return around
