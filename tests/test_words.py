"""Words that are no terms of the field: what a newcomer would have to guess."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("adbench", "methods", "datasets", "configs", "docs", "tools")
BANNED = re.compile(
    r"\b(told|beside|anew|stillborn|epitaph|crew|mend|heard|carry out|on whose word|has no say)\b", re.I
)
# A parameter's name is part of the key of its records.
ALLOWED = {"methods/crossmodal/method.py": {"beside"}, "methods/crossmodal/README.md": {"beside"}}


@pytest.mark.parametrize("place", PLACES)
def test_code_and_pages_use_the_words_of_the_field(place: str) -> None:
    found = []
    for path in sorted((ROOT / place).rglob("*")):
        if path.suffix in (".py", ".md", ".yaml", ".html", ".js", ".txt", ".toml") and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT).as_posix()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                words = {match.group().lower() for match in BANNED.finditer(line)}
                found += [f"{name}:{number}: {word}" for word in sorted(words - ALLOWED.get(name, set()))]
    assert not found, "\n".join(found)
