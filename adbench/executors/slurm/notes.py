"""Notes: files that say which Slurm job runs which cell, so that a later command finds the jobs again."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from adbench.system.files import alone, write_atomically
from adbench.system.text import warn


@dataclass(frozen=True)
class Note:
    """One submission: the name of its jobs, and the job's id of each cell by the cell's key, "" until it is known.

    `request` is the hash of what its jobs request, by `submit.request_of`; "" in the notes of an older adbench.
    """

    cells: dict[str, str]
    request: str = ""
    name: str = field(default_factory=lambda: f"adbench-{uuid.uuid4().hex[:12]}")


def lock(folder: Path) -> AbstractContextManager[object]:
    """Return the lock under which notes are read and written; a killed process loses it."""
    return alone(folder / "notes")


def write(folder: Path, note: Note) -> None:
    """Write a note; a note without cells is removed, and with the last note the files of the jobs."""
    file = folder / "notes" / f"{note.name}.json"
    if note.cells:
        write_atomically(file, json.dumps(asdict(note), indent=2).encode())
        return
    if file.is_dir() and not file.is_symlink():  # a damaged note
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    if not read(folder):
        shutil.rmtree(folder / "jobs", ignore_errors=True)


def read(folder: Path) -> list[Note]:
    """Return all notes. A damaged one names no jobs, like that of a command which was killed while it submitted."""
    files = sorted((folder / "notes").glob("*.json")) if (folder / "notes").is_dir() else []
    return [note for note in map(_read, files) if note is not None]


def _read(file: Path) -> Note | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        cells = content["cells"]
        if content["name"] == file.stem and cells and all(isinstance(id_, str) for id_ in cells.values()):
            return Note(cells, str(content.get("request", "")), file.stem)
        why = "it is no note"
    except FileNotFoundError:
        return None  # another command has just removed it
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = str(error)
    warn(f"{file} is damaged ({why}): its jobs are cancelled, and their cells submitted again.")
    return Note({"": ""}, name=file.stem)


def drop(folder: Path, key: str, job: str) -> None:
    """Remove a cell from the notes once the result of its job is known."""
    with lock(folder):
        for note in read(folder):
            if note.cells.get(key) == job:
                write(folder, replace(note, cells={k: v for k, v in note.cells.items() if k != key}))
    for path in (folder / "jobs").glob(f"{job}_*"):
        with contextlib.suppress(OSError):
            path.unlink()


def last_lines(folder: Path, job: str, lines: int = 20) -> list[str]:
    """Return the last lines that the process of a job wrote outside its cell's log."""
    text: list[str] = []
    for file in sorted((folder / "jobs").glob(f"{job}_*_log.*")):
        with contextlib.suppress(OSError):
            text += file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return text
