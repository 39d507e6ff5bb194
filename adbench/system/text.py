"""Text for people: numbers with their nouns, warnings, and texts of strangers without control characters."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import unicodedata
from typing import Any

# C0 and C1 controls, line and paragraph separators, invisible and bidirectional marks, lone surrogates, tags.
CONTROLS = "\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
CONTROL = re.compile(f"[{CONTROLS}\U000e0000-\U000e007f]")
OF_LINES = re.compile(f"(?![\n\t])[{CONTROLS}\U000e0000-\U000e007f]")

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular or the regular plural.

    >>> counted(1, "image"), counted(0, "cell"), counted(1200, "image")
    ('1 image', '0 cells', '1200 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def folded(name: str) -> str:
    """Return the name of a file as it is compared where letter case, and how accents are written, may differ.

    >>> folded("Cafe\u0301.PNG") == folded("caf\u00e9.png")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()  # macOS writes an accented letter as two characters


def printable(text: str, lines: bool = False) -> str:
    r"""Return text that a terminal shows and doesn't obey: control characters are written as escapes.

    Those are ANSI escapes, line ends and tabs (kept with `lines`), marks that reverse or hide text, and lone
    surrogates, which no file can hold.

    >>> printable("a\x1b[31mb\r\u202ec")
    'a\\x1b[31mb\\r\\u202ec'
    """
    return (OF_LINES if lines else CONTROL).sub(lambda found: repr(found[0])[1:-1], text)


def inert(text: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would run as a formula: text that begins with = + - or @.

    >>> inert("=1+1"), inert("madclip"), inert("-0.5")
    ("'=1+1", 'madclip', '-0.5')
    """
    if not isinstance(text, str) or text[:1] not in tuple("=+-@\t\r") or NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters, the last of which says that there were more.

    >>> cut("abcdef", 4), cut("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shortened(name: str, most: int = 120) -> str:
    """Return the beginning of a name, at most so many bytes.

    >>> shortened("board.csv"), shortened("\u00e9\u00e9\u00e9", most=3)
    ('board.csv', '\u00e9')
    """
    return os.fsencode(name)[:most].decode(errors="ignore")


def brief(value: Any, most: int = 60) -> str:
    """Return a value of JSON in one short line, for a message.

    >>> brief("x" * 100, 8), brief([1, None])
    ('"xxxx…', '[1, null]')
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # an integer of too many digits; nested too deeply
        text = f"a {type(value).__name__}"
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 3]}…"


def said(error: BaseException, most: int = 300) -> str:
    r"""Return class and text of anybody's error in one line, which a terminal shows and doesn't obey.

    >>> said(ValueError("two\nlines")), said(KeyError())
    ('ValueError: two lines', 'KeyError')
    """
    name = printable(type(error).__name__)
    try:
        text = printable(" ".join(str(error)[: 10 * most].split()))
    except BaseException as other:  # even `__str__` may be somebody else's code
        return f"{name} (its text can't be read: {type(other).__name__})"
    return f"{name}: {cut(text, most)}" if text else name


def said_of(value: object) -> str:
    """Return a value of somebody else's class in one short line: what Python prints, else the class."""
    try:
        text = printable(" ".join(repr(value)[:1000].split()))
        return text if len(text) <= 120 else f"{text[:119]}…"
    except BaseException:  # `__repr__` may be anybody's
        return f"a {type(value).__name__}"


def warn(text: str) -> None:
    """Print a warning on standard error."""
    print(f"adbench: warning: {printable(text)}", file=sys.stderr, flush=True)


@functools.cache
def warn_once(text: str) -> None:
    """Print a warning on standard error, the first time that this process has it."""
    warn(text)
