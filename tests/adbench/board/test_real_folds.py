"""Records of real runs over folds and splits of one's own images: they stand in one row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adbench as ad


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of each class, those of the ill brighter."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for kind, most in (("normal", 120), ("abnormal", 250)):
        (root / kind).mkdir()
        for number in range(12):
            Image.fromarray(rng.integers(0, most, (32, 32), dtype=np.uint8)).save(root / kind / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("words", "column"),
    [
        ({"dataset.folds": 2}, "folder (2 folds)"),
        ({"dataset.split_seed": [0, 1]}, "folder"),
    ],
)
def test_folds_and_splits_of_the_same_images_are_averaged(
    images: Path, tmp_path: Path, words: dict[str, object], column: str
) -> None:
    records = ad.run(
        method="patchcore", dataset="folder", data_root=images, shots=2, gallery=0, runs=tmp_path, overrides=words,
        eval_size=32,
    )  # fmt: skip
    assert isinstance(records, list)
    table = ad.leaderboard(tmp_path, intervals=False)
    (row,) = table[table["metric"] == "image_auroc"].to_dict("records")
    assert (row["dataset"], row["n"]) == (column, 2)
    assert row["mean"] == pytest.approx(100 * np.mean([record.metrics["image_auroc"] for record in records]))
