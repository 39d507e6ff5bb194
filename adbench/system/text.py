"""Text for people: numbers with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular or the regular plural.

    >>> counted(1, "image"), counted(0, "cell"), counted(1200, "image")
    ('1 image', '0 cells', '1200 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
