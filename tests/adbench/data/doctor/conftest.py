"""Fixtures: datasets of hand-made measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data.doctor.finding import Finding, ScannedDataset
from adbench.data.doctor.measure import ImageStats, MaskStats
from adbench.data.items import DatasetConfig, Item


@pytest.fixture
def scanned() -> Callable[..., ScannedDataset]:
    """Make a dataset from hand-made measurements; `changes` are keys of its configuration."""

    def scanned(
        items: list[Item], images: dict[Path, ImageStats], mask_stats: dict[Path, MaskStats], **changes: object
    ) -> ScannedDataset:
        config = DatasetConfig("Some set", "object", **changes)  # type: ignore[arg-type]
        return ScannedDataset(Path(), items, config, images, mask_stats)

    return scanned


@pytest.fixture
def of() -> Callable[[list[Finding], str], Finding]:
    """Return the one finding of a check."""

    def of(findings: list[Finding], check: str) -> Finding:
        (finding,) = (finding for finding in findings if finding.check == check)
        return finding

    return of
