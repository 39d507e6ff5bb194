"""The data doctor's look at copies: images of equal pixels, and test images that look like one that may be learnt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.data.doctor.facts import THUMB
from adbench.data.doctor.finding import Case, Finding, finding
from adbench.data.items import Item

NEAR = 0.995  # correlation of thumbnails beyond which two images are called nearly identical


def identical(case: Case) -> list[Finding]:
    """Find images of equal pixels, whatever file they are packed in: with two labels, across splits, within one."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in case.items:
        if case.images[item.path].content:
            groups[case.images[item.path].content].append(item)
    twice = sorted((group for group in groups.values() if len(group) > 1), key=lambda group: group[0].id)
    labels = [_equal(group) for group in twice if len({item.label for item in group}) > 1]
    leaks: list[str] = []
    shared: list[str] = []
    inside: list[str] = []
    for group in twice:
        splits = Counter(item.split for item in group)
        if len(splits) > 1:
            (leaks if "test" in splits else shared).append(_equal(group))
        if max(Counter((item.split, item.label) for item in group).values()) > 1:
            inside.append(_equal(group))
    return [
        finding("identical-labels", "error", "identical images with both labels", labels,
                 "One of the labels is wrong.",
                 "no image has both labels"),
        finding("identical-test", "error", "identical images in test and another split", leaks,
                 "A method learns from the very image that it is tested on. Remove one of each; a record counts in "
                 "`overlap` those that it used.", "no test image is in another split"),
        finding("identical-train-valid", "warning", "identical images in train and valid", shared,
                 "selection=valid would choose an epoch by images that were learnt.", "train and valid share no image"),
        finding("identical-within", "warning", "identical images within a split", inside,
                 "They count twice in figures and intervals, and a support of k images holds fewer.",
                 "no split holds an image twice"),
    ]  # fmt: skip


def alike(case: Case) -> list[Finding]:
    """Find test images whose thumbnail correlates beyond `NEAR` with one of train or valid, and whose pixels differ."""
    known = [item for item in case.items if case.images[item.path].thumb]
    rest = [item for item in known if item.split != "test"]
    learnt = {case.images[item.path].content for item in rest}
    test = [i for i in known if i.split == "test" and case.images[i.path].content not in learnt]
    near: list[tuple[float, str]] = []
    others = _thumbs(case, rest)
    for item, row in zip(test, _thumbs(case, test), strict=True) if rest else ():
        correlations = others @ row
        best = int(correlations.argmax())
        if correlations[best] > NEAR:
            near.append((float(correlations[best]), f"{rest[best].id} ~ {item.id} ({correlations[best]:.4f})"))
    bad = [text for _, text in sorted(near, key=lambda pair: (-pair[0], pair[1]))]
    why = (
        "Copies saved anew or resized? Then a method learns from what it is tested on. Neighbouring slices and "
        "parts photographed in one place look alike as well: look at the pairs."
    )
    return [finding("alike-test", "warning", "test images nearly identical to one in another split", bad, why,
                    "no test image is nearly identical to one in another split")]  # fmt: skip


def _thumbs(case: Case, items: Sequence[Item]) -> NDArray[np.float32]:
    """Return (N, THUMB * THUMB) thumbnails of mean 0 and length 1; those of one grey value are all 0."""
    thumbs = np.zeros((len(items), THUMB * THUMB), np.float32)
    for row, item in enumerate(items):
        thumbs[row] = np.frombuffer(bytes.fromhex(case.images[item.path].thumb), np.uint8)
    thumbs -= thumbs.mean(1, keepdims=True)
    length = np.linalg.norm(thumbs, axis=1, keepdims=True)
    return np.divide(thumbs, length, out=thumbs, where=length > 0)


def _equal(group: Iterable[Item]) -> str:
    return " = ".join(item.id for item in group)
