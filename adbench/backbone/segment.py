"""Segments of the feature cache: files of rows that only grow, each with an index of whose row is where.

A writer appends rows to `NAME.rows` and then their entries to `NAME.rows.index`. A row without an entry, an entry that
is not whole, and a row that does not match its checksum are never returned, so a writer may be killed at any moment. No
name is used twice. One process writes at a time, under a lock that the caller holds; reading needs none.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from adbench.system.files import INDEX, write_atomically

LARGEST = 2**28  # bytes of a segment, unless one row has more
HEAD = 128  # bytes of an index before its entries
KEY = 20  # bytes of the hash that names a row
ENTRY = struct.Struct(f"<{KEY}sIII")  # key, row, checksum of the row, checksum of these three
GONE = bytes(ENTRY.size)  # in place of the entry of a row that does not hold
TYPES = {str(dtype): dtype for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}


class Place(NamedTuple):
    """Where a row is: its number in the data, the number of its entry in the index, the checksum of its bytes."""

    row: int
    entry: int
    checksum: int


class Segment:
    """Rows of one type and shape in the file `data`, of which the first `rows` are known to have entries."""

    def __init__(self, data: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        self.data, self.index = data, data.with_name(data.name + INDEX)
        self.dtype, self.shape = dtype, shape
        self.size = dtype.itemsize * math.prod(shape)  # bytes of a row
        self.rows = self._entries = 0

    @classmethod
    def create(cls, folder: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Segment:
        """Make an empty segment; the names of later ones sort behind those of earlier ones."""
        made = cls(folder / f"{time.time_ns():016x}-{uuid.uuid4().hex[:8]}.rows", dtype, shape)
        made.data.touch(exist_ok=False)
        about = json.dumps({"dtype": str(dtype), "shape": shape}).encode().ljust(HEAD - 8)
        write_atomically(made.index, about + _sum(about))
        return made

    @classmethod
    def open(cls, index: Path) -> Segment:
        """Return the segment of an index; raises OSError, and ValueError for a header that is not whole."""
        with index.open("rb") as file:
            head = file.read(HEAD)
        if len(head) < HEAD or _sum(head[:-8]) != head[-8:]:
            raise ValueError("the header of its index is not whole")
        about = json.loads(head[:-8])
        return cls(index.with_name(index.name.removesuffix(INDEX)), TYPES[about["dtype"]], tuple(about["shape"]))

    @property
    def room(self) -> int:
        """How many rows can still be appended."""
        return max(1, LARGEST // self.size) - self.rows

    def news(self) -> list[tuple[bytes, Place]]:
        """Return keys and places of the rows that were appended since the last call, by any process."""
        size = self.index.stat().st_size
        if size < HEAD + (self._entries + 1) * ENTRY.size:
            return []
        with self.index.open("rb") as file:
            file.seek(HEAD + self._entries * ENTRY.size)
            content = file.read()
        found, first = [], self._entries
        for number in range(len(content) // ENTRY.size):
            if (entry := _read(content[number * ENTRY.size : (number + 1) * ENTRY.size])) is not None:
                key, row, checksum = entry
                found.append((key, Place(row, first + number, checksum)))
                # Entries behind the last whole one are looked at again: a writer may be in the middle of them.
                self._entries, self.rows = first + number + 1, max(self.rows, row + 1)
        return found

    def read(self, places: Sequence[Place]) -> list[Tensor | None]:
        """Return copies of rows, none for one that does not match its checksum; raises OSError.

        The file is mapped for the moment of the copy: a map that stayed would count as memory of the process, and keep
        the space of a removed segment.
        """
        with self.data.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return [None] * len(places)
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                return [self._row(view, place) for place in places]

    def _row(self, view: memoryview, place: Place) -> Tensor | None:
        content = bytearray(view[place.row * self.size : (place.row + 1) * self.size])
        if len(content) < self.size or zlib.crc32(content) != place.checksum:
            return None
        return torch.frombuffer(content, dtype=self.dtype).reshape(self.shape)

    def append(self, rows: Mapping[bytes, Tensor]) -> None:
        """Write rows and then their entries: under the lock, and after `news`. Raises OSError.

        What a killed writer left behind the last row and the last entry is overwritten.
        """
        contents = [row.contiguous().view(-1).view(torch.uint8).numpy().data for row in rows.values()]
        with self.data.open("r+b") as data, self.index.open("r+b") as index:
            data.seek(self.rows * self.size)
            for content in contents:
                data.write(content)
            data.flush()
            entries = (os.fstat(index.fileno()).st_size - HEAD) // ENTRY.size
            index.seek(HEAD + entries * ENTRY.size)
            places = zip(rows, range(self.rows, self.rows + len(rows)), map(zlib.crc32, contents), strict=True)
            index.write(b"".join(_entry(key, row, checksum) for key, row, checksum in places))

    def forget(self, places: Sequence[Place]) -> int:
        """Overwrite the entries of rows that don't hold: under the lock. Return how many were still there."""
        count = 0
        with self.index.open("r+b") as index:
            for place in places:
                index.seek(HEAD + place.entry * ENTRY.size)
                entry = _read(index.read(ENTRY.size))
                if entry is not None and entry[1:] == (place.row, place.checksum):
                    index.seek(HEAD + place.entry * ENTRY.size)
                    index.write(GONE)
                    count += 1
        return count


def _sum(content: bytes) -> bytes:
    return f"{zlib.crc32(content):08x}".encode()


def _entry(key: bytes, row: int, checksum: int) -> bytes:
    start = struct.pack(f"<{KEY}sII", key, row, checksum)
    return start + struct.pack("<I", zlib.crc32(start))


def _read(content: bytes) -> tuple[bytes, int, int] | None:
    if len(content) < ENTRY.size or content == GONE:
        return None
    key, row, checksum, own = ENTRY.unpack(content)
    return (key, row, checksum) if zlib.crc32(content[:-4]) == own else None
