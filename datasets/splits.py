"""Splits for datasets without official ones: by patient, or by content where the patient is unknown."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from adbench.data.fingerprint import digest
from adbench.data.items import CLASSES, SPLITS, DatasetConfig, Item, Split, check_shares
from adbench.errors import AdbenchError, DataError

SPLIT_NAMES: dict[str, Split] = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}  # of folders
TABLE_SPLITS: dict[str, Split] = {**SPLIT_NAMES, "training": "train", "validation": "valid", "testing": "test"}
SPLIT_KEYS = ("split_shares", "split_seed", "folds", "fold")  # have no effect on images that have splits


def deal(items: Sequence[Item], shares: Sequence[float] | None, seed: int) -> list[Item]:
    """Assign every item to a split; train, valid and test get about `shares` (three numbers, sum 1) of each class.

    Images of one patient stay together, and so do files of equal content whose patient is unknown. Groups with an
    abnormal image are assigned apart from the others, in the order of the SHA-256 of `seed` and the patient (or the
    smallest id), which depends neither on paths nor on the order of files. A group goes to the split in which its first
    image falls; where few groups would leave a split with a share empty, to that one.
    """
    limits = _limits(shares)
    if limits[0] == limits[1] == 0:
        return sorted((_moved(item, 2) for item in items), key=lambda item: item.id)
    strata: dict[int, list[tuple[str, list[Item]]]] = {0: [], 1: []}
    for key, group in _groups(items).items():
        strata[max(item.label for item in group)].append((digest(f"{seed}\n{key}"), group))
    dealt: list[Item] = []
    for groups in filter(None, strata.values()):
        ordered = [group for _, group in sorted(groups, key=lambda pair: pair[0])]
        for group, split in zip(ordered, _splits([len(group) for group in ordered], limits), strict=True):
            dealt += [_moved(item, split) for item in group]
    return sorted(dealt, key=lambda item: item.id)


def _splits(sizes: Sequence[int], limits: Sequence[float]) -> list[int]:
    """Return the split of each group: where its first image falls, and no split with a share empty if avoidable.

    >>> _splits([3, 7], (0.5, 0.5, 1.0)), _splits([1] * 4, (0.5, 0.5, 1.0))
    ([0, 2], [0, 0, 2, 2])
    """
    shared = [i for i, limit in enumerate(limits) if limit > (limits[i - 1] if i else 0) + 1e-9]
    # Of few groups, valid is the first to have none.
    empty = next((some for some in (shared, [0, 2]) if set(some) <= set(shared) and len(some) <= len(sizes)), [])
    total, found = sum(sizes), list[int]()
    for number, done in enumerate(itertools.accumulate(sizes[:-1], initial=0)):
        split = next(i for i, limit in enumerate(limits) if done / total < limit - 1e-9 or i == len(limits) - 1)
        if empty and (split > empty[0] or len(sizes) - number <= len(empty)):
            split = empty[0]
        empty = [i for i in empty if i != split]
        found.append(split)
    return found


def splits_of(items: Sequence[Item], config: DatasetConfig) -> list[Item]:
    """Split images without official splits as a dataset's configuration says: by `folds`, or by `split_shares`."""
    if config.folds is None:
        return deal(items, config.split_shares, config.split_seed)
    if config.fold is None:
        raise AdbenchError(
            f"dataset.folds={config.folds} makes {config.folds} splits: dataset.fold=0 to {config.folds - 1} names one."
        )
    numbers = fold_numbers(items, config.folds, config.split_seed)
    return sorted((_moved(i, 2 if numbers[i.id] == config.fold else 0) for i in items), key=lambda item: item.id)


def fold_numbers(items: Sequence[Item], folds: int, seed: int) -> dict[str, int]:
    """Return by id the fold (0 to `folds` - 1) of every image in a cross-validation; every fold has both classes.

    Images that `deal` keeps together have one fold. Patients with images of both classes are dealt first, then those
    with abnormal and those with normal images alone, each in the order of `deal`: a patient goes to the fold that has
    the fewest images of its classes so far, of equal ones the fold with the fewest images.

    Raises DataError where a class has fewer patients than there are folds.
    """
    groups = _groups(items)
    counts = [sum(any(item.label == label for item in group) for group in groups.values()) for label in (0, 1)]
    for have, kind in sorted(zip(counts, CLASSES, strict=True), key=lambda pair: pair[0]):  # the rarer sets the limit
        if have < folds:
            limit = f"At most dataset.folds={have}" if have > 1 else "There is no cross-validation of one"
            raise DataError(
                f"dataset.folds={folds} is more than the {have} {'patient' if have == 1 else 'patients'} with {kind} "
                f"images; files of equal content count as one. {limit}: each fold needs both classes."
            )
    filled = [[0, 0] for _ in range(folds)]
    numbers: dict[str, int] = {}
    labels = {key: sorted({item.label for item in group}) for key, group in groups.items()}
    for key in sorted(groups, key=lambda key: (-len(labels[key]), -labels[key][0], digest(f"{seed}\n{key}"))):
        group, own = groups[key], labels[key]
        fold = min(range(folds), key=lambda f: (sum(filled[f][label] for label in own), sum(filled[f]), f))
        for item in group:
            filled[fold][item.label] += 1
            numbers[item.id] = fold
    return numbers


def check_patients(items: Sequence[Item], where: Callable[[Item], str]) -> None:
    """Raise DataError where a patient is in two splits; `where` names the row or file of an item."""
    first: dict[str, Item] = {}
    for item in items:
        if item.patient is None:
            continue
        other = first.setdefault(item.patient, item)
        if other.split != item.split:
            raise DataError(
                f"{where(item)}: patient {item.patient} is in {item.split} here and in {other.split} by "
                f"{where(other)}. Give each patient one split, or accept it with dataset.allow_patient_overlap=true"
            )


def _moved(item: Item, split: int) -> Item:
    return replace(item, split=SPLITS[split], id=f"{SPLITS[split]}/{item.id.partition('/')[2]}")


def _limits(shares: Sequence[float] | None) -> tuple[float, float, float]:
    shares = [0.0, 0.0, 1.0] if shares is None else shares
    check_shares(shares)
    return shares[0], shares[0] + shares[1], 1.0


def _groups(items: Sequence[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    alone = []
    for item in items:
        if item.patient is not None:
            groups[f"patient {item.patient}"].append(item)
        else:
            alone.append(item)
    for group in _alike(alone, (_size, _sample, _content)) if alone else ():
        groups[min(item.id.partition("/")[2] for item in group)] = group
    return groups


def _alike(items: list[Item], tests: Sequence[Callable[[Path], object]]) -> Iterator[list[Item]]:
    """Yield groups of files with equal results in all tests; a file that is alone after one test skips the others."""
    if len(items) <= 1 or not tests:
        yield items
        return
    groups: dict[object, list[Item]] = defaultdict(list)
    for item in items:
        groups[tests[0](item.path)].append(item)
    for group in groups.values():
        yield from _alike(group, tests[1:])


def _size(path: Path) -> int:
    with _reading(path):
        return path.stat().st_size


def _sample(path: Path) -> bytes:
    # Uncompressed images all have the same size; different ones rarely agree in the middle of the file.
    with _reading(path), path.open("rb") as file:
        file.seek(path.stat().st_size // 2)
        return hashlib.sha256(file.read(4096)).digest()


def _content(path: Path) -> str:
    with _reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
