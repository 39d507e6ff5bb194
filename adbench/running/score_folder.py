"""The folder of one `adbench score`: it appears with all of its files, and what others put there stays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from adbench.errors import AdbenchError
from adbench.exports.results import RESULTS, files_of
from adbench.system.files import check_lease, replacing, scratch, unwritable

INSTEAD = "folder with out=DIR"
LAST = ("index.html", "scores.csv", RESULTS)  # they say that all is there


def resolved(out: Path) -> Path:
    """Return the folder itself where `out` is a link to one."""
    try:
        return out.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise unwritable(out, error if isinstance(error, OSError) else OSError(str(error)), INSTEAD) from error


def check_folder(out: Path, force: bool) -> None:
    """Raise AdbenchError where results may not be written to `out`: it is no folder, or holds files without `force`."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise AdbenchError(f"cannot write {out}: it is no folder. Choose another {INSTEAD}.")
    if out.is_mount():
        raise AdbenchError(f"out={out} is the top of a disk. Choose a folder on it: out={out / 'scores'}")
    try:
        held = sorted(path.name for path in out.iterdir())
    except OSError as error:
        raise unwritable(out, error, INSTEAD) from error
    if held and not force:
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        raise AdbenchError(
            f"out={out} is there already, with {held[0]}{more}. Choose another {INSTEAD}, or replace its results with "
            "force=true, which leaves files of others where they are."
        )


@contextlib.contextmanager
def folder_for(out: Path, force: bool) -> Iterator[Path]:
    """Yield a temporary folder whose files are in `out` when the block ends; where it fails, nothing has changed.

    A folder `out` that is new, or with `force` holds results alone, comes into its place as a whole. Into one that
    holds other files too, or that a shell stands in, files are moved one by one, the tables last.
    """
    there = os.path.lexists(out)
    ours = _ours(out) if there else set()
    others = [path.name for path in out.iterdir() if path.name not in ours] if there else []
    if others or out in (here := _here(), *here.parents):
        with scratch(out, INSTEAD) as new:
            yield new
            check_lease(new, out)
            with writing(out):
                out.mkdir(exist_ok=True)
                for name in [*LAST, *sorted(ours - set(LAST))]:
                    (out / name).unlink(missing_ok=True)
                for file in sorted(new.iterdir(), key=lambda file: (file.name in LAST, file.name == RESULTS)):
                    file.replace(out / file.name)
    elif force and there:
        with replacing(out, INSTEAD) as new:
            yield new
    else:
        with _new_parents(out), scratch(out, INSTEAD) as new:
            yield new
            check_lease(new, out)
            with writing(out):
                new.rename(out)  # fails where another process has put its results there meanwhile


@contextlib.contextmanager
def _new_parents(out: Path) -> Iterator[None]:
    """Remove the folders above `out` that are made in the block, where nothing has come into them."""
    new = [place for place in out.parents if not place.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in new:
                place.rmdir()


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn an OSError into the sentence on a folder that can't be written."""
    try:
        yield
    except OSError as error:
        raise unwritable(out, error, INSTEAD) from error


def _ours(out: Path) -> set[str]:
    """Return the names of files in a folder that results.json says were written by `adbench score`."""
    try:
        named = files_of((out / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        named = set(LAST)
    return {name for name in named if (out / name).is_file() and not (out / name).is_symlink()}


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return Path("/")
