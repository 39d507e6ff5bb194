"""Datasets that the tests of this folder open, and the pictures that they lie in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from adbench.config import layers
from adbench.data.items import DatasetConfig, Item
from adbench.datasets.layout import Layout
from adbench.plugins import registry


def facts_of(name: str = "folder", **changes: object) -> DatasetConfig:
    """The dataset's configuration with some keys changed."""
    facts: DatasetConfig = layers.section(DatasetConfig, "dataset", name)
    for key, value in changes.items():
        setattr(facts, key, value)
    return facts


def opened(name: str = "folder", **changes: object) -> Layout:
    dataset: Layout = registry.find("dataset", name).load()(name, facts_of(name, **changes))
    return dataset


def index(root: Path, name: str = "folder", **changes: object) -> list[Item]:
    return opened(name, **changes).index(root)


def read(root: Path, name: str = "folder", **changes: object) -> tuple[list[Item], list[str]]:
    """The items, and the notes on what was left out."""
    dataset = opened(name, **changes)
    return dataset.index(root), dataset.notes


def grey(path: Path, value: int = 0, size: int = 8) -> Path:
    """Draw a grey square, whose file differs with `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), value, np.uint8)).save(path)
    return path


def noise(path: Path, seed: int, size: int = 16) -> Path:
    """Draw noise, which differs with `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 200, (size, size), dtype=np.uint8)).save(path)
    return path


def fill(root: Path, *names: str) -> None:
    """Draw a picture of its own under each name."""
    for seed, name in enumerate(names):
        noise(root / name, seed)
