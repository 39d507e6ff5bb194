"""The phantoms in the cache: drawn once, and drawn again where a file is missing or has another content."""

from __future__ import annotations

import json
import os
from pathlib import Path

from adbench.data.fingerprint import hash_files
from adbench.data.items import PhantomDataset
from adbench.system.files import alone, damaged, replacing, write_atomically
from adbench.system.session import NotThereError


def drawn(drawer: PhantomDataset, name: str, cache: Path, offline: bool = False) -> Path:
    """Return the folder of a dataset's phantoms, drawing them unless they are there, whole.

    `offline`: raise NotThereError instead of drawing. Raises AdbenchError where the cache can't be written.
    """
    root = cache / "phantom" / drawer.phantom_version() / name
    if _is_whole(root, cache, offline):
        return root
    if offline:
        raise NotThereError(f"the phantoms of {name} are not drawn yet, or not whole")
    with alone(root):
        if not _is_whole(root, cache):
            if _list(root).is_file():
                damaged(root, "files are missing, or have another content")
            with replacing(root, "place with cache=DIR") as new:
                drawer.draw_phantom(new)
                content = json.dumps(_content(new, cache, keep=False), indent=0)  # its paths don't last
                write_atomically(_list(root), content.encode())  # first: without its list a folder counts as half drawn
    return root


def _is_whole(root: Path, cache: Path, offline: bool = False) -> bool:
    try:
        listed = json.loads(_list(root).read_bytes())
    except (OSError, ValueError):
        return False
    return root.is_dir() and listed == _content(root, cache, not offline)


def _list(root: Path) -> Path:
    return root.with_name(f"{root.name}.sha256.json")


def _content(root: Path, cache: Path, keep: bool) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder by its path there, hidden files left out; see `hash_files`."""
    files = [
        Path(folder, file)
        for folder, _, names in os.walk(root)
        for file in sorted(names)
        if not file.startswith(".") and os.path.isfile(os.path.join(folder, file))
    ]
    found = hash_files(files, cache / "hashes" / f"phantom-{root.name}.json", root.name, keep)
    return {str(path.relative_to(root)): str(row[0]) for path, row in sorted(found.rows.items())}
