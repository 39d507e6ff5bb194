"""Text files as people save them: UTF-8 with or without a byte order mark, Excel's UTF-16, Windows-1252."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path
from typing import NamedTuple

MOST = 2**28  # bytes; the largest table of a published set, CheXpert's, has a tenth of this
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Text(NamedTuple):
    """The content of a text file without byte order mark, and the encoding it was read as."""

    content: str
    encoding: str


def read_text(path: Path) -> Text:
    """Read a text file in UTF-8, UTF-16 or Windows-1252.

    Raises OSError where it can't be opened, and ValueError, saying why in a phrase, where it is no text: a pipe or
    device, more than 256 MiB, or bytes that none of the encodings has.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if status.st_size > MOST:
        raise ValueError(f"it has {status.st_size} bytes, and at most {MOST} are read")
    data = path.read_bytes()
    for encoding in _encodings(data):
        try:
            content = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in content:
            break
        return Text(content, encoding)
    raise ValueError("it is text in none of UTF-8, UTF-16 and Windows-1252")


def _encodings(data: bytes) -> tuple[str, ...]:
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return (encoding,)
    start = data[:2000]
    # Half of the bytes of UTF-16 text in Latin letters are zero.
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if start[first::2].count(0) > 0.4 * len(start) / 2:
            return (encoding,)
    return ("utf-8", "windows-1252")
