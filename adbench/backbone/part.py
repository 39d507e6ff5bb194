"""The rows of one part of the features, such as block 3, in segments on disk that several processes share."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from torch import Tensor

from adbench.backbone.segment import Place, Segment
from adbench.system.files import INDEX, alone, damaged, discard, unwritable


class Part:
    """The rows of one part (any shape and type) by the hashes of their images, in `folder`.

    fits: whether a row of a shape can be what is kept here. Threads and processes may read and add at the same time. A
    segment that somebody removes is forgotten; what does not hold is removed with a warning, to be made again.
    """

    def __init__(self, folder: Path, fits: Callable[[tuple[int, ...]], bool]) -> None:
        self.folder, self.fits = folder, fits
        self._segments: dict[str, Segment] = {}  # by the names of their indices, oldest first
        self._places: dict[bytes, tuple[Segment, Place]] = {}
        self._lock, self._writing = threading.RLock(), threading.Lock()

    def read(self, keys: Collection[bytes]) -> dict[bytes, Tensor]:
        """Return the rows that are there, each a copy."""
        with self._lock:
            if not self._places.keys() >= set(keys):
                self._look()
            wanted: dict[Segment, dict[bytes, Place]] = {}
            for key in keys:
                if key in self._places:
                    segment, place = self._places[key]
                    wanted.setdefault(segment, {})[key] = place
        found: dict[bytes, Tensor] = {}
        for segment, places in wanted.items():
            found |= self._read(segment, places)
        return found

    def _read(self, segment: Segment, places: Mapping[bytes, Place]) -> dict[bytes, Tensor]:
        try:
            values = segment.read(list(places.values()))
        except FileNotFoundError:
            self._drop(segment)
            return {}
        except (OSError, ValueError) as error:
            self._discard(segment, f"{type(error).__name__}: {error}")
            return {}
        with contextlib.suppress(OSError):  # a cache that somebody else owns, or just removed
            os.utime(segment.data)
        rows = dict(zip(places, values, strict=True))
        if wrong := {key: places[key] for key, value in rows.items() if value is None}:
            self._forget(segment, wrong)
        return {key: value for key, value in rows.items() if value is not None}

    def add(self, rows: Mapping[bytes, Tensor]) -> None:
        """Append rows of equal type and shape; raises AdbenchError where they can't be written."""
        left = list(rows.items())
        with self._writing, alone(self.folder / "rows"):
            with self._lock:
                self._look()
            self._remove_halves()
            while left:
                segment = self._growing(left[0][1])
                some, rest = left[: segment.room], left[segment.room :]
                try:
                    segment.append(dict(some))
                except FileNotFoundError:  # removed just now
                    self._drop(segment)
                    continue
                except OSError as error:
                    raise unwritable(segment.data, error) from error
                left = rest
                with self._lock:
                    self._look()

    def _growing(self, row: Tensor) -> Segment:
        """Return the newest segment in which there is room for rows such as this one."""
        with self._lock:
            for segment in reversed(self._segments.values()):
                if (segment.dtype, segment.shape) == (row.dtype, tuple(row.shape)) and segment.room > 0:
                    return segment
        try:
            made = Segment.create(self.folder, row.dtype, tuple(row.shape))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        with self._lock:
            self._segments[made.index.name] = made
        return made

    def _look(self) -> None:
        """Look for segments and rows that were added, and for segments that were removed."""
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(INDEX))
        except OSError:
            names = []
        for segment in [segment for name, segment in self._segments.items() if name not in names]:
            self._drop(segment)
        for name in names:
            found = self._segments.get(name) or self._opened(self.folder / name)
            if found is not None:
                self._segments[name] = found
                try:
                    self._places |= {key: (found, place) for key, place in found.news()}
                except FileNotFoundError:  # removed just now
                    self._drop(found)
                except OSError as error:
                    self._discard(found, f"{type(error).__name__}: {error}")

    def _opened(self, index: Path) -> Segment | None:
        try:
            segment = Segment.open(index)
            if self.fits(segment.shape):
                return segment
            why = f"it holds {segment.dtype} of shape {segment.shape}"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
        discard(index, why)
        return None

    def _forget(self, segment: Segment, places: Mapping[bytes, Place]) -> None:
        """Remove the entries of rows that don't hold, unless another process has just done so."""
        try:
            with self._writing, alone(self.folder / "rows"):
                count = segment.forget(list(places.values()))
        except FileNotFoundError:
            count = 0
        except OSError as error:
            count = len(places)
            self._discard(segment, str(error))
        if count:
            first = min(place.row for place in places.values())
            damaged(segment.data, f"row {first} has another checksum" + f", and {count - 1} more" * (count > 1))
        with self._lock:
            for key, place in places.items():
                if self._places.get(key) == (segment, place):
                    del self._places[key]

    def _discard(self, segment: Segment, why: str) -> None:
        discard(segment.data, why)
        with contextlib.suppress(OSError):
            segment.index.unlink()
        self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        with self._lock:
            self._segments.pop(segment.index.name, None)
            self._places = {key: found for key, found in self._places.items() if found[0] is not segment}

    def _remove_halves(self) -> None:
        """Remove data without an index, and indices without data, which killed processes left: under the lock."""
        names = set(os.listdir(self.folder))
        for name in names:
            other = name.removesuffix(INDEX) if name.endswith(INDEX) else name + INDEX
            if name.removesuffix(INDEX).endswith(".rows") and other not in names:
                with contextlib.suppress(OSError):
                    (self.folder / name).unlink()
