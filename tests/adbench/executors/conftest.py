"""The commands of docs/clusters.md."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "clusters.md"


@pytest.fixture
def page_commands() -> dict[str, list[list[str]]]:
    """The words of the page's commands by executor, the shortest command first."""
    lines = [line.split()[2:] for line in PAGE.read_text().splitlines() if line.strip().startswith("adbench run")]
    return {
        name: sorted([words for words in lines if f"executor={name}" in words], key=len) for name in ("ray", "slurm")
    }
