"""`adbench new-method`: write a package with an example method, to be replaced by one's own."""

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

# The path of each template of commands/skeleton in the package; `my_method` becomes the name.
PLACES = {
    "package.toml": "pyproject.toml",
    "readme.md": "README.md",
    "method.txt": "adbench_my_method/method.py",
    "config.yaml": "adbench_my_method/adbench_configs/method/my_method.yaml",
    "contract.txt": "tests/test_my_method.py",
}
# Names that the example imports or defines: a class called so would hide one.
RESERVED = {
    "Architecture",
    "Batch",
    "Capability",
    "F",
    "Method",
    "Params",
    "Scores",
    "Support",
    "Tensor",
    "None",
    "True",
    "False",
}
INIT = '"""my_method for adbench."""\n\nfrom .method import MyMethod\n\n__all__ = ["MyMethod"]\n'


def default_class(name: str) -> str:
    """Return the class of a method called `name`.

    >>> default_class("nearest_patch2")
    'NearestPatch2'
    """
    return "".join(part.capitalize() for part in name.split("_"))


def new_method(name: str, into: Path, class_name: str | None = None) -> Path:
    """Write the folder `into/name` and return it; it is either whole or not there.

    `class_name` is the class, as a paper spells it; by default it follows from the name. Raises AdbenchError for a name
    or class that cannot be one, for a name that is taken, and where the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise AdbenchError(
            f"{name!r} cannot be the name of a method: small letters, digits and single underscores, beginning with a "
            "letter, as in nearest_patch."
        )
    spelling = default_class(name) if class_name is None else class_name
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", spelling) or spelling in RESERVED:
        raise AdbenchError(
            f"--class {spelling} cannot be the class of a method: letters, digits and underscores, beginning with a "
            f"capital, as in PaDiM, and none of {', '.join(sorted(RESERVED))}."
        )
    if name == "adbench":  # a folder of this name would hide the package where Python is started next to it
        raise AdbenchError("'adbench' is the package itself. Choose another name.")
    known = registry.entries("method")
    if name in known:
        raise AdbenchError(f"{name!r} is taken: {known[name].package} registers that method. Choose another name.")
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise AdbenchError(f"{folder} exists already. Choose another name, or another place with --into DIR.")
    unfinished = into / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        for path, text in texts(name, spelling).items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        unfinished.rename(folder)
    except OSError as error:
        raise unwritable(folder, error, "place with --into DIR") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def texts(name: str, class_name: str) -> dict[str, str]:
    """Return the files of a new method's package, by path."""
    skeleton = files("adbench.commands.skeleton")
    templates = {path: (skeleton / file).read_text(encoding="utf-8") for file, path in PLACES.items()}
    templates["adbench_my_method/__init__.py"] = INIT

    def named(text: str) -> str:
        return text.replace("my_method", name).replace("MyMethod", class_name)

    return {named(path): named(text) for path, text in templates.items()}
