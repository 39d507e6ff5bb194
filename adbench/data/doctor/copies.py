"""Checks for copies: images with equal pixels, and test images nearly identical to one in another split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.data.doctor.finding import Finding, ScannedDataset, checked
from adbench.data.doctor.measure import THUMB
from adbench.data.items import Item

NEAR = 0.995  # two images with a higher correlation of their thumbnails count as nearly identical


def duplicates(data: ScannedDataset) -> list[Finding]:
    """Find images with equal pixels in any file format: with two labels, across splits, within a split."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in data.items:
        if data.images[item.image].content:
            groups[data.images[item.image].content].append(item)
    twice = sorted((group for group in groups.values() if len(group) > 1), key=lambda group: group[0].id)
    labels = [_equal(group) for group in twice if len({item.label for item in group}) > 1]
    leaks: list[str] = []
    shared: list[str] = []
    within: list[str] = []
    for group in twice:
        splits = Counter(item.split for item in group)
        if len(splits) > 1:
            (leaks if "test" in splits else shared).append(_equal(group))
        if max(Counter((item.split, item.label) for item in group).values()) > 1:
            within.append(_equal(group))
    return [
        checked("identical-labels", "error", "identical images with both labels", labels,
                 "One of the labels is wrong.",
                 "no image has both labels"),
        checked("identical-test", "error", "identical images in test and another split", leaks,
                 "A method may train on a test image. Remove one of each; a record counts in `overlap` those that "
                 "it used.", "no test image is in another split"),
        checked("identical-train-valid", "warning", "identical images in train and valid", shared,
                 "selection=valid would choose the epoch on training images.", "train and valid share no image"),
        checked("identical-within", "warning", "identical images within a split", within,
                 "They count twice in figures and intervals, and a support may hold the same image twice.",
                 "no split holds an image twice"),
    ]  # fmt: skip


def near_duplicates(data: ScannedDataset) -> list[Finding]:
    """Find test images whose thumbnail correlates above `NEAR` with one of train or valid, and whose pixels differ."""
    known = [item for item in data.items if data.images[item.image].thumb]
    rest = [item for item in known if item.split != "test"]
    contents = {data.images[item.image].content for item in rest}
    test = [i for i in known if i.split == "test" and data.images[i.image].content not in contents]
    near: list[tuple[float, str]] = []
    others = _thumbs(data, rest)
    for item, row in zip(test, _thumbs(data, test), strict=True) if rest else ():
        correlations = others @ row
        best = int(correlations.argmax())
        if correlations[best] > NEAR:
            near.append((float(correlations[best]), f"{rest[best].id} ~ {item.id} ({correlations[best]:.4f})"))
    bad = [text for _, text in sorted(near, key=lambda pair: (-pair[0], pair[1]))]
    why = (
        "If they are re-saved or resized copies, a method may train on a test image. Neighbouring slices and objects "
        "photographed in one place look alike too: look at the pairs."
    )
    return [checked("alike-test", "warning", "test images nearly identical to one in another split", bad, why,
                    "no test image is nearly identical to one in another split")]  # fmt: skip


def _thumbs(data: ScannedDataset, items: Sequence[Item]) -> NDArray[np.float32]:
    """Return (N, THUMB * THUMB) thumbnails with mean 0 and length 1; a uniform one is all 0."""
    thumbs = np.zeros((len(items), THUMB * THUMB), np.float32)
    for row, item in enumerate(items):
        thumbs[row] = np.frombuffer(bytes.fromhex(data.images[item.image].thumb), np.uint8)
    thumbs -= thumbs.mean(1, keepdims=True)
    length = np.linalg.norm(thumbs, axis=1, keepdims=True)
    return np.divide(thumbs, length, out=thumbs, where=length > 0)


def _equal(group: Iterable[Item]) -> str:
    return " = ".join(item.id for item in group)
