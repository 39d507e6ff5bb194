"""`adbench new-method`: a package with a method that works, to be changed into one's own."""

from __future__ import annotations

import keyword
import re
import shutil
import uuid
from importlib.resources import files
from pathlib import Path

from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.files import unwritable

# Where each file of adbench/skeleton goes; `my_method` becomes the name.
PLACES = {
    "package.toml": "pyproject.toml",
    "readme.md": "README.md",
    "method.txt": "adbench_my_method/method.py",
    "config.yaml": "adbench_my_method/adbench_configs/method/my_method.yaml",
    "contract.txt": "tests/test_my_method.py",
}
INIT = '"""my_method for adbench."""\n\nfrom .method import MyMethod\n\n__all__ = ["MyMethod"]\n'


def class_name(name: str) -> str:
    """Return the class of a method called `name`.

    >>> class_name("nearest_patch2")
    'NearestPatch2'
    """
    return "".join(part.capitalize() for part in name.split("_"))


def new_method(name: str, into: Path) -> Path:
    """Write the folder `into/name` and return it; it is either whole or not there.

    Raises AdbenchError for a name that cannot be one, or is taken, and where the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise AdbenchError(
            f"{name!r} cannot be the name of a method: small letters, digits and single underscores, beginning with a "
            "letter, as in nearest_patch."
        )
    known = registry.entries("method")
    if name in known:
        raise AdbenchError(f"{name!r} is taken: {known[name].package} registers that method. Choose another name.")
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise AdbenchError(f"{folder} exists already. Choose another name, or another place with --into DIR.")
    unfinished = into / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        for path, text in texts(name).items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.rename(folder)
    except OSError as error:
        raise unwritable(folder, error, "place with --into DIR") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def texts(name: str) -> dict[str, str]:
    """Return the files of a new method's package, by path."""
    skeleton = files("adbench.commands.skeleton")
    raw = {place: (skeleton / file).read_text(encoding="utf-8") for file, place in PLACES.items()}
    raw["adbench_my_method/__init__.py"] = INIT
    return {_named(path, name): _named(text, name) for path, text in raw.items()}


def _named(text: str, name: str) -> str:
    return text.replace("my_method", name).replace("MyMethod", class_name(name))
