"""Held-out images for epoch selection: the rest of the support's split (selection=valid), or folds of the support."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adbench.cells.cell import FULL_SPLIT, Holdout, TrainingSet
from adbench.data.fingerprint import digest
from adbench.data.items import Item
from adbench.data.support import draw_order
from adbench.errors import AdbenchError

FOLDS = 4
INSTEAD = {"selection": "selection=last or fixed:N", "operating": "operating=valid or none"}


def holdouts_of(sets: Sequence[TrainingSet], protocol: str) -> tuple[Holdout, ...]:
    """Return for each training set the images of its pool that are neither in the support nor of its patients.

    The pool is the split that the support comes from, filled up as `left_over` says; where that is all of a normal
    train split, `support_split`.
    Raises AdbenchError where a class is missing there.
    """
    if not sets:
        raise AdbenchError(
            f"selection=valid needs labelled images, and protocol={protocol} takes none. Use selection=last or fixed:N."
        )
    return tuple(_holdout(one, protocol) for one in sets)


def _holdout(training: TrainingSet, protocol: str) -> Holdout:
    dataset = training.dataset
    split = dataset.config.support_split if protocol in FULL_SPLIT else training.split
    pool = [item for item in dataset.items if item.split == split]
    held = left_over(training, split)
    normal, abnormal = (sum(item.label == label for item in held) for label in (0, 1))
    if not (normal and abnormal):
        raise AdbenchError(
            f"selection=valid is not possible: of the {len(pool)} images in the {split} split of {dataset.name}, "
            f"{normal} normal and {abnormal} abnormal are left without the support and its patients. "
            "Use selection=last, fixed:N or support_cv, or fewer shots."
        )
    return Holdout(dataset, split, held)


def left_over(training: TrainingSet, split: str) -> tuple[Item, ...]:
    """Return the images of a split that are neither in a support nor of its patients.

    Where that leaves none of one class, and the split is the one that supports come from, `support_fill` gives as many
    as there are of the other class, in the order of draw 0 and under the same condition.
    """
    taken, patients = {item.id for item in training.support}, {item.patient for item in training.support} - {None}
    config = training.dataset.config

    def left(name: str) -> list[Item]:
        pool = (item for item in training.dataset.items if item.split == name)
        return [item for item in pool if item.id not in taken and item.patient not in patients]

    held = left(split)
    empty = [label for label in (0, 1) if not any(item.label == label for item in held)]
    if split != config.support_split or len(empty) != 1:
        return tuple(held)
    needed = len(held)
    for name in config.support_fill:
        if name != split and needed:
            more = draw_order([item for item in left(name) if item.label == empty[0]], 0)[:needed]
            needed -= len(more)
            held += more
    return tuple(held)


def folds(sets: Sequence[TrainingSet], method: str, key: str = "selection") -> NDArray[np.int64]:
    """Return the fold (N,) of each support image: each class is spread evenly, and a patient's images stay together.

    key: of the run, whose value is support_cv. Raises AdbenchError where the images outside a fold lack a class of the
    support: `method` couldn't learn from them.
    """
    people: list[tuple[str, str | None, str | None]] = []
    labels = []
    for one in sets:
        for item in one.support:
            people.append((one.dataset.name, item.patient, item.id if item.patient is None else None))
            labels.append(item.label)
    has: dict[tuple[str, str | None, str | None], list[int]] = {}
    for person, label in zip(people, labels, strict=True):
        has.setdefault(person, [0, 0])[label] += 1
    filled = np.zeros((2, FOLDS), dtype=np.int64)
    fold_of = {}
    # Patients of both classes first: they can't be parted later. Then the abnormal ones, as a draw counts them.
    for person in sorted(has, key=lambda one: (not all(has[one]), not has[one][1])):
        labels_of = [label for label in (0, 1) if has[person][label]]
        fold_of[person] = int(filled[labels_of].sum(0).argmin())
        filled[:, fold_of[person]] += has[person]
    left = filled.sum(1, keepdims=True) - filled[:, filled.any(0)]
    if not left[sorted(set(labels))].all():
        normal, abnormal = left[:, left.min(0).argmin()]
        raise AdbenchError(
            f"{key}=support_cv is not possible for {method}: of the {labels.count(0)} normal and {labels.count(1)} "
            f"abnormal images of its support, {normal} and {abnormal} are left to learn from where one fold, patients "
            f"kept together, is scored. Use {INSTEAD[key]}, or more shots."
        )
    return np.array([fold_of[person] for person in people])


def holdouts_hash(holdouts: Sequence[Holdout]) -> str:
    """Return one hash of the images that choose the epoch: datasets, ids, labels and contents."""
    rows = ((one.dataset, item) for one in holdouts for item in one.items)
    return digest("\n".join(f"{d.name}\t{item.id}\t{item.label}\t{d.hashes[item.id]}" for d, item in rows))
