"""Checks for copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adbench.data.doctor import copies
from adbench.data.doctor.measure import ImageStats
from adbench.data.items import Item


def test_copies_are_distinguished_from_images_that_only_resemble_each_other(scanned) -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(40, 200, 256)

    def look(pixels: object, content: str) -> ImageStats:
        return ImageStats(16, 16, "L", False, 9, 1, content, np.array(pixels, np.uint8).tobytes().hex())

    learnt = Item("valid/normal/a.png", "valid", 0, Path("a"))
    looks = {
        "darker": look(base // 2, "d"), "other": look(rng.integers(40, 200, 256), "o"), "same": look(base, "a"),
        "blank": look([7] * 256, "b"), "noisy": look(base + rng.integers(-30, 30, 256), "n"),
    }  # fmt: skip
    tests = [Item(f"test/normal/{name}.png", "test", 0, Path(name)) for name in looks]
    images = {Path("a"): look(base, "a")} | {Path(name): one for name, one in looks.items()}
    (found,) = copies.near_duplicates(scanned([learnt, *tests], images, {}))
    assert found.where == ("valid/normal/a.png ~ test/normal/darker.png (0.9999)",), "equal pixels are another finding"
    assert copies.near_duplicates(scanned(tests, images, {}))[0].level == "ok"
