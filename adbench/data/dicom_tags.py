"""Values of a DICOM header: numbers, texts and lookup tables. A damaged value is an error that names its tag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class UnreadableTagError(ValueError):
    """A value of the header that can't be used; the text begins with its name and tag."""


@dataclass(frozen=True)
class Table:
    """A lookup table: the stored value `first` becomes entries[0]; entries have `bits` bits."""

    first: int
    entries: NDArray[np.int64]
    bits: int

    def of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Look values up; those beyond an end get its entry."""
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def named(keyword: str) -> str:
    """Return an attribute's name and tag.

    >>> named("WindowWidth")
    'WindowWidth (0028,1051)'
    """
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def text(header: Dataset, keyword: str) -> str:
    """Return a code in capitals, "" where it is missing or empty."""
    found = value(header, keyword)
    shown = "" if found is None else str(found if isinstance(found, str) else found[0]).strip().upper()
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def number(header: Dataset, keyword: str) -> float | None:
    """Return a number, the first of several; None where it is missing or empty. Raises UnreadableTagError."""
    return next(iter(numbers(header, keyword)), None)


def integer(header: Dataset, keyword: str, default: int | None = None) -> int:
    """Return a whole number, or the default; raises UnreadableTagError where it is missing and there is none."""
    found = number(header, keyword)
    if found is None:
        if default is None:
            raise UnreadableTagError(f"{named(keyword)} is missing")
        return default
    return int(found)


def first_number(sources: Iterable[Dataset], keyword: str) -> float | None:
    """Return the first number that one of several data sets has, in their order; None where none has."""
    return next((found for source in sources if (found := number(source, keyword)) is not None), None)


def numbers(header: Dataset, keyword: str) -> list[float | None]:
    """Return all numbers of a value, None for an empty one among them. Raises UnreadableTagError."""
    found = value(header, keyword)
    several = [] if found is None else [found] if isinstance(found, (str, bytes, int, float)) else list(found)
    try:
        converted = [None if one in ("", None) else float(one) for one in several]
    except (TypeError, ValueError) as error:
        raise UnreadableTagError(f"{named(keyword)} is {str(found)[:40]!r}, which is no number") from error
    if not all(one is None or np.isfinite(one) for one in converted):
        raise UnreadableTagError(f"{named(keyword)} is {str(found)[:40]!r}, which is no number")
    return converted


def value(header: Dataset, keyword: str) -> Any:
    """Return a value of the header; None where it is missing or empty. pydicom converts it only now."""
    try:
        found = header.get(keyword)
    except Exception as error:  # whatever a damaged value raises
        raw = getattr(header.get_item(keyword), "value", b"")
        shown = raw.decode("latin-1").strip("\0 ") if isinstance(raw, bytes) else str(raw)
        raise UnreadableTagError(f"{named(keyword)} is {shown[:40]!r}, which can't be read") from error
    return None if found is None or (hasattr(found, "__len__") and len(found) == 0) else found


def items(sources: Iterable[Dataset], keyword: str) -> list[Dataset]:
    """Return the items of the sequences that several data sets have."""
    return [item for source in sources for item in value(source, keyword) or ()]


def lookup_table(item: Dataset, descriptor: str, data: str, header: Dataset) -> Table | None:
    """Read a lookup table of words, or of bytes where its length says so; None where it has no data.

    descriptor, data: the keywords of `item` that hold them. Raises UnreadableTagError.
    """
    content, described = value(item, data), value(item, descriptor)
    if content is None or described is None:
        return None
    little = header.file_meta.TransferSyntaxUID.is_little_endian
    word = "<u2" if little else ">u2"
    described = np.frombuffer(described, word) if isinstance(described, bytes) else described
    try:
        count, first, bits = (int(number) for number in described)
    except (TypeError, ValueError) as error:
        raise UnreadableTagError(f"{named(descriptor)} is {described}; three whole numbers are needed") from error
    count = count or 2**16
    if not 1 <= bits <= 16:
        raise UnreadableTagError(f"{named(descriptor)} has entries of {bits} bits; 1 to 16 are possible")
    if isinstance(content, bytes):
        packed = len(content) < 2 * count
        entries = np.frombuffer(content, np.uint8 if packed else word, len(content) if packed else len(content) // 2)
    else:
        entries = np.atleast_1d(np.asarray(content))
    if len(entries) < count:
        raise UnreadableTagError(f"{named(data)} holds {len(entries)} of {count} entries")
    if first >= 2**15 and integer(header, "PixelRepresentation", 0) == 1:
        first -= 2**16  # written as an unsigned number
    entries = entries[:count].astype(np.int64) & 0xFFFF
    return Table(first, entries, max(bits, int(entries.max()).bit_length()))
