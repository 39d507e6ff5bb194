"""A record that the tests of scoring share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adbench as ad


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test split of a BMAD set of 32 x 32 noise: two images a class, in test/good/img and test/Ungood/img."""
    root = tmp_path_factory.mktemp("small") / "Brain"
    rng = np.random.default_rng(3)
    for split in ("valid", "test"):
        for folder in ("good", "Ungood"):
            (root / split / folder / "img").mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
                name = f"{len(split) * 10 + number + (folder == 'good') * 5:05d}_60.png"
                Image.fromarray(pixels).save(root / split / folder / "img" / name)
                if folder == "Ungood":
                    (root / split / folder / "anomaly_mask").mkdir(exist_ok=True)
                    Image.fromarray((pixels > 200).astype(np.uint8) * 255).save(
                        root / split / folder / "anomaly_mask" / name
                    )
    return root


@pytest.fixture(scope="session")
def applied(small: Path, tmp_path_factory: pytest.TempPathFactory) -> ad.Record:
    """A record of `clip` on `small`, in batches of 2."""
    runs = tmp_path_factory.mktemp("runs")
    record = ad.run(method="clip", data_root=small.parent, gallery=0, batch_size=2, runs=runs)
    assert isinstance(record, ad.Record)
    return record
