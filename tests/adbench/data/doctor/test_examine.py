"""Checks of counts and class balance."""

from __future__ import annotations

from pathlib import Path

from adbench.data.doctor import examine
from adbench.data.items import Item


def test_published_counts(scanned) -> None:
    items = [Item(f"test/normal/{i}.png", "test", i % 2, Path(f"{i}.png")) for i in range(6)]
    same = examine.counts(scanned(items, {}, {}, expected={"test": [3, 3], "valid": None}))
    assert [(f.level, f.where) for f in same] == [("ok", ("test 3 + 3",))]
    other = examine.counts(scanned(items, {}, {}, expected={"test": [3, 4], "train": [2, 0]}))
    assert [(f.level, f.where) for f in other] == [
        ("warning", ("train 0 + 0, published 2 + 0", "test 3 + 3, published 3 + 4"))
    ]


def test_a_test_split_of_one_in_ten_is_a_warning(scanned) -> None:
    def level(normal: int, abnormal: int) -> str:
        labels = [0] * normal + [1] * abnormal
        items = [Item(f"{i}", "test", label, Path(f"{i}")) for i, label in enumerate(labels)]
        return examine.balance(scanned(items, {}, {}))[0].level

    assert (level(9, 1), level(10, 1), level(1, 10), level(0, 5)) == ("ok", "warning", "warning", "error")
