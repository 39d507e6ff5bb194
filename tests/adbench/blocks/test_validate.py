from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from adbench.blocks.validate import at_least, choices, odd, positive, shares, some_of
from adbench.errors import AdbenchError

WORDS = ("vision", "text")


@pytest.mark.parametrize(
    ("check", "good", "bad", "said"),
    [
        (lambda p: choices(p, key=WORDS), ["vision", "text"], ["audio", ""], "choose from vision, text"),
        (lambda p: some_of(p, key=WORDS), [["text"], ["text", "vision"]], [[], ["text", "a"]], "some of vision, text"),
        (lambda p: shares(p, "key"), [0, 0.5, 1], [-0.1, 1.1, float("nan")], "a share from 0 to 1"),
        (lambda p: positive(p, "key"), [1e-9, 3], [0, -1, float("nan")], "a number above 0"),
        (lambda p: at_least(p, 2, "key"), [2, 2.5], [1, 0, float("nan")], "at least 2"),
        (lambda p: odd(p, "key"), [1, 3], [0, 2, -1], "an odd number"),
    ],
    ids=["choices", "some_of", "shares", "positive", "at_least", "odd"],
)
def test_what_is_and_what_is_not_possible(check: Callable[[object], None], good: list, bad: list, said: str) -> None:
    for value in good:
        check(SimpleNamespace(key=value))
    for value in bad:
        shown = str(value).replace(" ", "").replace("'", "").replace("[", r"\[").replace("]", r"\]")
        with pytest.raises(AdbenchError, match=rf"^method\.key={shown} is not possible: .*{said}"):
            check(SimpleNamespace(key=value))
