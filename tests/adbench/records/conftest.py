"""Whole records of two quick cells, made once: one is left as it is, the other one is damaged by the tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import adbench as ad


@dataclass(frozen=True)
class Pair:
    """A folder with a good record, and the content and files of another one."""

    good: Path
    odd: Path
    content: dict[str, Any]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    made = []
    for method in ("clip", "patchcore"):
        runs = tmp_path_factory.mktemp(method)
        record = ad.run(method=method, shots=2 if method == "patchcore" else 0, gallery=1, runs=runs)
        assert isinstance(record, ad.Record)
        made.append(record)
    content = json.loads((made[1].path / "record.json").read_text())
    return Pair(made[0].path.parent, made[1].path, content)
