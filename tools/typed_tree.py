"""Lay the four packages out as they are installed, by links, so that mypy sees `adbench.methods` and its like.

Usage: python tools/typed_tree.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OTHERS = ("methods", "datasets", "configs")  # at the top of the repository; installed inside adbench


def lay_out(folder: Path) -> None:
    """Make a new `folder/adbench`: links to the content of adbench/ and to the other three packages."""
    tree = folder / "adbench"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for path in [*(ROOT / "adbench").iterdir(), *(ROOT / name for name in OTHERS)]:
        if path.name != "__pycache__":
            (tree / path.name).symlink_to(path, target_is_directory=path.is_dir())
    scripts = folder / "tools"
    scripts.unlink(missing_ok=True)
    scripts.symlink_to(ROOT / "tools", target_is_directory=True)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
