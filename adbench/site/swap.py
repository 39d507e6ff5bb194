"""A folder that is replaced as a whole, and only where it is a site."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from adbench.errors import AdbenchError
from adbench.record import HOST, SITE

PAGES = ("cells", "datasets", "pictures")
OWN = (SITE, *PAGES, "index.html", "style.css", "script.js", "leaderboard.csv", "leaderboard.json", "leaderboard.tex")


def check(folder: Path) -> None:
    """Raise AdbenchError where a site may not take the place of `folder`: it is a file, or holds anything else."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise AdbenchError(f"{folder} is no folder. Give --html a folder that is new, empty or a site of adbench.")
    if not folder.is_dir():
        return
    found = sorted(path.name for path in folder.iterdir())
    if found and SITE not in found:
        raise AdbenchError(
            f"{folder} is not a site of adbench: it holds {found[0]} and no {SITE}, and would be replaced as a whole. "
            "Give --html a folder that is new, empty or a site of adbench."
        )
    if strange := [name for name in found if name not in OWN]:
        raise AdbenchError(
            f"{folder} holds {strange[0]}, which is no part of the site and would be lost. Move it elsewhere, or give "
            "--html another folder."
        )


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `folder` when the block ends well, and vanishes otherwise."""
    check(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        new = folder.with_name(f".{folder.name}.{HOST}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")
        new.mkdir()
    except OSError as error:
        raise _unwritable(folder, error) from error
    old = new.with_suffix(".old")
    try:
        yield new
        check(folder)  # minutes may have passed
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        if old.exists() and not folder.exists():
            with contextlib.suppress(OSError):
                old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Mend what a killed build of this machine left: half a site goes, a site set aside comes back."""
    names = f".{glob.escape(folder.name)}.{HOST}.*"
    for path in (*folder.parent.glob(f"{names}.tmp"), *folder.parent.glob(f"{names}.old")):
        pid = path.name.split(".")[-3]
        if not Path("/proc/self").exists() or Path(f"/proc/{pid}").exists():
            continue
        if path.suffix == ".old" and not folder.exists():
            with contextlib.suppress(OSError):
                path.rename(folder)
        shutil.rmtree(path, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> AdbenchError:
    return AdbenchError(
        f"cannot write {folder}: {error.strerror or error}. Free some space or give --html another place."
    )
