"""Fixtures: a cache of the tests' own, phantoms on disk, and the command line in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from adbench.backbone.build import build
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import BackboneConfig
from adbench.commands import cli
from adbench.config import layers
from adbench.system import cores

os.environ["WANDB_MODE"] = "disabled"
os.environ["OMP_NUM_THREADS"] = "1"  # what cores=auto takes: other tests run on the other cores
settings.register_profile("adbench", deadline=None)  # nothing here is timed
settings.load_profile("adbench")
torch.set_num_threads(1)  # as a cell does by default; two threads beside another process crawl


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a CUDA device where there is none."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' own cache folder, shared by all of them."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ADBENCH_CACHE")
    os.environ["ADBENCH_CACHE"] = str(folder)
    yield folder
    os.environ.pop("ADBENCH_CACHE")
    if before is not None:
        os.environ["ADBENCH_CACHE"] = before


@pytest.fixture
def one_core_afterwards() -> Iterator[None]:
    """Compute with one core again after a test that asked for more."""
    yield
    cores.use(1)


@dataclass(frozen=True)
class Answer:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


@pytest.fixture
def adbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call `adbench WORDS...` in this process."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["adbench", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return call


def backbone_facts(name: str = "phantom-clip", **changes: object) -> BackboneConfig:
    """Return the configuration of a backbone with some fields changed."""
    found: BackboneConfig = layers.section(BackboneConfig, "backbone", name)
    for key, value in changes.items():
        setattr(found, key, value)
    return found


@pytest.fixture(scope="session")
def facts() -> Callable[..., BackboneConfig]:
    return backbone_facts


@pytest.fixture(scope="session")
def random_clip() -> Backbone:
    """phantom-clip's architecture with random weights."""
    return build("phantom-clip", backbone_facts(weights="random"), 112)


@pytest.fixture(scope="session")
def noise() -> torch.Tensor:
    """Four images of uniform noise, (4, 3, 112, 112) in [0, 1]."""
    return torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A brainmri data set of 32 x 32 noise in the layout of BMAD's README: 6 + 6 valid, 5 + 5 test."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for split, count, first in (("valid", 6, 0), ("test", 5, 100)):
        for label, folder in enumerate(("good", "Ungood")):
            base = root / "Brain" / split / folder
            (base / "img").mkdir(parents=True)
            for i in range(count):
                name = f"{first + 10 * label + i // 3:05d}_{60 + i}.png"
                pixels = rng.integers(0, 120, (32, 32), dtype=np.uint8)
                if label:
                    mask = np.zeros((32, 32), np.uint8)
                    mask[8 + i : 16 + i, 10:18] = 255
                    pixels[mask > 0] = 250
                    (base / "anomaly_mask").mkdir(exist_ok=True)
                    Image.fromarray(mask).save(base / "anomaly_mask" / name)
                Image.fromarray(pixels).save(base / "img" / name)
    return root
