"""Where frozen features are kept: on disk, in memory, or where a row is had sooner than by computing it again."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from adbench.backbone.chunks import Compute, machine, noise
from adbench.backbone.part import Part
from adbench.backbone.segment import KEY
from adbench.data.fingerprint import digest
from adbench.system.files import BY_KEYS, alone, scratch, write_atomically

DISK, MEMORY, AUTO = "disk", "memory", "auto"
HELD = 4 * 2**30  # bytes of features that one method holds in memory
TRIED = 8  # rows that are read to measure how long that takes
Fits = Callable[[str, tuple[int, ...]], bool]
_known: dict[str, bool] = {}


class Kept(Protocol):
    """Rows of features by the part that they are of and the hash of their image; threads may share it."""

    def read(self, part: str, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """Return the rows that are kept; nobody may change them."""

    def add(self, part: str, rows: Mapping[bytes, Tensor]) -> None:
        """Keep rows that were computed."""

    def alone(self, key: bytes) -> AbstractContextManager[object]:
        """Return a lock under which an image's rows are computed, where others would wait for them."""


class OnDisk:
    """Rows in `folder`, shared by all processes that use it; fits: whether a row of a part can have a shape."""

    def __init__(self, folder: Path, fits: Fits) -> None:
        self.folder, self.fits = folder, fits
        self._rows: dict[str, Part] = {}

    def read(self, part: str, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """Return the rows that are on disk, each a copy."""
        return self._of(part).read(keys)

    def add(self, part: str, rows: Mapping[bytes, Tensor]) -> None:
        """Write rows; raises AdbenchError where that is not possible."""
        self._of(part).add(rows)

    def alone(self, key: bytes) -> AbstractContextManager[object]:
        """Return a lock: of two processes that look at the same images the second finds them computed."""
        return alone(self.folder / key.hex())

    def _of(self, part: str) -> Part:
        made = Part(self.folder / f"rows-{part}", lambda shape: self.fits(part, shape))
        return self._rows.setdefault(part, made)  # of two threads the second takes what the first has made


class InMemory:
    """Rows in this process: the first ones, up to `most` bytes, for as long as this object lives.

    None makes room for another: where images are read in turn, each would leave before it is asked for again.
    """

    def __init__(self, most: int = HELD) -> None:
        self.left = most
        self._rows: dict[tuple[str, bytes], Tensor] = {}
        self._lock = threading.Lock()

    def read(self, part: str, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """Return the rows that are held."""
        return {key: self._rows[part, key] for key in keys if (part, key) in self._rows}

    def add(self, part: str, rows: Mapping[bytes, Tensor]) -> None:
        """Hold copies of rows while there is room."""
        with self._lock:
            for key, row in rows.items():
                size = row.numel() * row.element_size()
                if size <= self.left and (part, key) not in self._rows:
                    self._rows[part, key] = row.clone()
                    self.left -= size

    def alone(self, key: bytes) -> AbstractContextManager[object]:
        """Return no lock: nobody waits for an image."""
        return contextlib.nullcontext()


class Trial(NamedTuple):
    """How `auto` tries a backbone: with so many images of `side` pixels, which `compute` maps to features by part.

    name: of the backbone, its settings and the parts, for which the answer is remembered.
    """

    compute: Compute
    images: int
    side: int
    name: str


def keeping(where: str, folder: Path, fits: Fits, trial: Trial) -> Kept:
    """Return where features are kept; `where`: disk, memory, or auto, which is disk where reading beats computing."""
    if where == MEMORY or (where == AUTO and not reading_is_faster(folder, fits, trial)):
        return InMemory()
    return OnDisk(folder, fits)


def reading_is_faster(folder: Path, fits: Fits, trial: Trial) -> bool:
    """Whether an image's features are read from `folder` sooner than computed.

    Measured once: the answer is remembered in this process, and on this machine in `folder`.
    """
    known = f"{folder} {trial.name}"
    if known not in _known:
        file = folder / "reading" / f"{digest(f'{machine()} {trial.name}')[:16]}.json"
        seconds = _remembered(file)
        if seconds is None:
            made, computing = _computing(trial)
            seconds = {"computing": computing, "reading": _reading(made, fits, file)}
            write_atomically(file, json.dumps(seconds).encode())
        _known[known] = seconds["reading"] < seconds["computing"]
    return _known[known]


def _computing(trial: Trial) -> tuple[Mapping[str, Tensor], float]:
    """Return features of noise, and the seconds that one image took in the faster of two passes."""
    images, seconds = noise(trial.images, trial.side), []
    for _ in range(2):  # the first may load what computes
        began = time.perf_counter()
        made = trial.compute(images)
        seconds.append(time.perf_counter() - began)
    return made, min(seconds) / trial.images


def _reading(made: Mapping[str, Tensor], fits: Fits, file: Path) -> float:
    """Return the seconds in which one image's features are read from the disk itself, next to `file`."""
    keys = [bytes([number]) * KEY for number in range(TRIED)]
    with scratch(file, BY_KEYS) as folder:
        kept = OnDisk(folder, fits)
        for part, values in made.items():
            kept.add(part, {key: values[number % len(values)] for number, key in enumerate(keys)})
        for rows in folder.rglob("*.rows"):
            _leave_to_disk(rows)
        began = time.perf_counter()
        for part in made:
            kept.read(part, keys)
        return (time.perf_counter() - began) / TRIED


def _leave_to_disk(file: Path) -> None:
    """Write a file out and drop the system's copy of it in memory, where the system takes such advice."""
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _remembered(file: Path) -> dict[str, float] | None:
    try:
        seconds = json.loads(file.read_text())
        return {name: float(seconds[name]) for name in ("reading", "computing")}
    except (OSError, ValueError, TypeError, KeyError):
        return None
