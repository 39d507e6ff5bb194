"""What docs/serve.md says of prompts that are edited in place is what the methods allow."""

from __future__ import annotations

import re
from pathlib import Path

from adbench.config.layers import standalone
from adbench.plugins import registry
from adbench.serve.prompts import MOST_LETTERS, MOST_PHRASES

DOCS = (Path(__file__).parents[3] / "docs" / "serve.md").read_text().partition("## Prompts and support")[2]


def test_the_docs_list_what_each_method_lets_be_edited() -> None:
    allowed: dict[str, set[str]] = {}
    for name in standalone():
        if not (entry := registry.entries("method")[name]).foreign:
            for key in entry.load().editable:
                allowed.setdefault(key, set()).add(name)
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| ([^|]+) \|$", DOCS, re.M)
    assert {key: set(re.findall(r"`(\w+)`", names)) for key, names in rows} == allowed
    assert f"At most {MOST_PHRASES} phrases of {MOST_LETTERS} letters" in DOCS
