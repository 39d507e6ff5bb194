"""Reading text files that a user names: a regular file of a possible size, or an OSError before a byte is read."""

from __future__ import annotations

import stat
from pathlib import Path

MOST_BYTES = 256 << 20  # of a table or list: a row for each of a million images


def read_text(file: Path, encoding: str = "utf-8", most: int = MOST_BYTES) -> str:
    """Return the text of a file; raises OSError, as for files that can't be read, where it is none or is too large.

    A device or pipe (/dev/zero) has no end, or waits for one forever.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")
    if status.st_size > most:
        raise OSError(f"it has {status.st_size} bytes, and at most {most} are read")
    return file.read_text(encoding)
