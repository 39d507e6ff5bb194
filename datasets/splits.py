"""Splits for datasets without official ones: by patient, or by content where the patient is unknown."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from adbench.data.fingerprint import digest
from adbench.data.items import SPLITS, Item, check_shares
from adbench.errors import DataError


def deal(items: Sequence[Item], shares: Sequence[float] | None, seed: int) -> list[Item]:
    """Assign every item to a split; train, valid and test get about `shares` (three numbers, sum 1) of each class.

    Images of one patient stay together, and so do files of equal content whose patient is unknown. Groups with an
    abnormal image are assigned apart from the others, in the order of the SHA-256 of `seed` and the patient (or the
    smallest id), which depends neither on paths nor on the order of files. A group goes to the split in which its first
    image falls.
    """
    limits = _limits(shares)
    if limits[0] == limits[1] == 0:
        return sorted((_moved(item, 2) for item in items), key=lambda item: item.id)
    strata: dict[int, list[tuple[str, list[Item]]]] = {0: [], 1: []}
    for key, group in _groups(items).items():
        strata[max(item.label for item in group)].append((digest(f"{seed}\n{key}"), group))
    dealt: list[Item] = []
    for groups in strata.values():
        total, done = sum(len(group) for _, group in groups), 0
        for _, group in sorted(groups, key=lambda pair: pair[0]):
            position = done / total
            split = next(i for i, limit in enumerate(limits) if position < limit - 1e-9 or i == 2)
            dealt += [_moved(item, split) for item in group]
            done += len(group)
    return sorted(dealt, key=lambda item: item.id)


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
