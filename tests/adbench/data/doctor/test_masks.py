"""Checks of lesion masks."""

from __future__ import annotations

from pathlib import Path

from adbench.data.doctor import masks
from adbench.data.doctor.measure import ImageStats, MaskStats
from adbench.data.items import Item


def test_several_mask_files_are_one_union(scanned, of) -> None:
    path, first, second = Path("a/x.png"), Path("m/x.png"), Path("m/x_1.png")
    images = {path: ImageStats(4, 4, "L", False, 9, 1, "c")}
    stats = {first: MaskStats(4, 4, 1, 0, 0.0, 0.0), second: MaskStats(4, 4, 2, 255, 0.2, 0.0)}
    for mask, level in (((first, second), "ok"), ((first,), "error")):
        item = Item("test/abnormal/x.png", "test", 1, path, mask)
        assert of(masks.lesion_masks(scanned([item], images, stats)), "mask-empty").level == level
    healthy = Item("test/normal/x.png", "test", 0, path, (first, second))
    assert of(masks.lesion_masks(scanned([healthy], images, stats)), "mask-of-normal").where == ("test/normal/x.png",)


def test_every_abnormal_image_needs_a_mask_where_the_set_has_masks(scanned, of) -> None:
    path = Path("a/x.png")
    images = {path: ImageStats(4, 4, "L", False, 9, 1, "c")}
    item = Item("test/abnormal/x.png", "test", 1, path)
    assert of(masks.lesion_masks(scanned([item], images, {})), "mask-missing").level == "error"
    assert [f.check for f in masks.lesion_masks(scanned([item], images, {}, masks=False))] == ["masks"]
