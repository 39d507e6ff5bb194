"""What mends a method's file or module that can't be imported because of where it lies."""

from __future__ import annotations

import shlex
from pathlib import Path

from adbench.plugins.locate import ImportPath


def remedy(place: ImportPath, error: BaseException) -> str:
    """Return in a sentence what to do about an error that importing a method's file or module raised.

    A file's folder is not put on Python's path: what lies there could hide other modules, as a `statistics.py` would
    hide Python's, and which file was imported would depend on the folder.
    """
    folder = Path(place.module).parent if place.file else Path.cwd()
    if place.file and isinstance(error, ImportError) and "relative import" in str(error):
        return _of_relative(place, folder)
    missing = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
    if not missing or not ((folder / f"{missing}.py").is_file() or (folder / missing).is_dir()):
        return "Fix it."
    if place.file:
        return (
            f"{missing} lies next to {Path(place.module).name}, and Python looks for modules on its path alone: "
            f"{_on_path(folder)}, or make a package of both: adbench new-method NAME"
        )
    if missing == place.module and (folder / f"{missing}.py").is_file():
        return f"It is a file of the current folder: method={missing}.py:{place.attribute}"
    if missing == place.module.partition(".")[0]:
        return f"{missing} lies in the current folder, and Python looks on its path alone: {_on_path(folder)}"
    return "Fix it."


def _of_relative(place: ImportPath, folder: Path) -> str:
    names = [Path(place.module).stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) > 1:
        inside = ImportPath(".".join(names), place.attribute, False)
        return (
            f"A file is imported alone; this one belongs to the package {names[0]}: {_on_path(folder)}, and give "
            f"method={inside}"
        )
    return (
        f"A file is imported alone, without a package around it: write `import x` in place of `from . import x` and "
        f"{_on_path(folder)}, or make a package: adbench new-method NAME"
    )


def _on_path(folder: Path) -> str:
    return f"set PYTHONPATH={shlex.quote(str(folder))}"
