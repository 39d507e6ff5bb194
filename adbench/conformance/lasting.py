"""Checks of what a method leaves to the next cell of its process, and to the next images; they run last."""

from __future__ import annotations

import time
from functools import partial

from adbench.conformance import check as checking
from adbench.conformance.bench import LARGE
from adbench.conformance.check import Check
from adbench.conformance.subject import Subject, equal, gap

LASTING: list[Check] = []
check = partial(checking.check, LASTING)
MANY = 400  # images, as a small test split has
SECONDS = 0.3  # of the processor, after which it is not that many


@check("other fits", "scores that follow from the method's own support, whatever was fitted before", "prepare",
       "build_memory", "score")  # fmt: skip
def _other_fits(s: Subject) -> str | None:
    _ = s.scores  # the first fit of all
    if s.capability.support != "none":
        for scores, images in ((s.few, "other, fewer images"), (s.unmasked, "as many other images")):
            if equal(scores, s.scores):
                return f"the same scores after a fit on {images}: they come from an earlier fit, or from no image"
    if not equal(s.score(s.fitted, s.bench.images()), s.scores):
        return "other scores of a fitted method after others were fitted: something is kept in the class or its module"
    if s.capability.epochs and equal(s.looked_at, s.scores):
        return None  # one more fit of the first support, after those of the others
    if not equal(s.score(s.fit(), s.bench.images()), s.scores):
        return "other scores after a fit on the first support again: something of the fits in between is kept"
    return None


@check("settings", "settings of the process, its environment and torch's functions left as they were", "build",
       "prepare", "build_memory", "score")  # fmt: skip
def _settings(s: Subject) -> str | None:
    _ = s.scores
    return s.changed[0] if s.changed else None


@check("threads", "no thread that Python waits for, and no process, left by a fit or by `score`", "build", "prepare",
       "score")  # fmt: skip
def _threads(s: Subject) -> str | None:
    _ = s.scores
    left = s.strays()
    return f"{left[0]}, which is still running" if left else None


@check("many images", "the same scores after 400 images, or as many as take 0.3 s", "score")
def _many_images(s: Subject) -> str | None:
    before = s.score(s.fitted, s.bench.images())
    batch, until = s.large_batch(LARGE), time.process_time() + SECONDS
    for _ in range(MANY // LARGE + 1):
        if time.process_time() < until:
            s.score_batch(batch)
    apart = gap(before, s.score(s.fitted, s.bench.images()))
    return f"other scores than before, {apart:.3g} times what is tolerated: something adds up" if apart > 1 else None
