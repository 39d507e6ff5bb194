"""The labelled images a method may learn from: numbered draws, nested in k, one patient after the other, or all."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adbench.data.fingerprint import digest
from adbench.data.items import CLASSES, Item
from adbench.errors import AdbenchError

KEYS = ("n-0", "a-0")  # of a support list


@dataclass(frozen=True)
class Manifest:
    """Which images a support holds. `source` is `draw:N` or the path of a list; `hash` covers ids and contents.

    `shots` is a number of images per class, or `full`.
    """

    source: str
    shots: int | str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    hash: str


def draw_order(items: Sequence[Item], draw: int) -> list[Item]:
    """Return the items of one class in the order in which draw number `draw` takes them.

    Patients are shuffled and deal one image each, round-robin. The order depends on ids, patients and `draw` alone,
    and the first k of it are the k shots, so 2 shots are among the 4 shots of the same draw.

    >>> row = lambda name, patient: Item(name, "valid", 0, Path(name), patient=patient)
    >>> rows = [row("a", "p"), row("b", "p"), row("c", "q")]
    >>> sorted(item.patient for item in draw_order(rows, draw=0)[:2])
    ['p', 'q']
    """
    if not items:
        return []
    rng = np.random.default_rng([draw, items[0].label, 0xAD])
    hands: dict[str, list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.id):
        hands[f"patient {item.patient}" if item.patient is not None else item.id].append(item)
    order = [hands[patient] for patient in sorted(hands)]
    order = [[hand[i] for i in rng.permutation(len(hand))] for hand in order]
    order = [order[i] for i in rng.permutation(len(order))]
    rounds = max(len(hand) for hand in order)
    return [hand[turn] for turn in range(rounds) for hand in order if turn < len(hand)]


@dataclass(frozen=True)
class FewShotSampler:
    """The few-shot sampler: `shots` images of each class in `classes` (0 normal, 1 abnormal), draw number `draw`.

    Draws are numbered, so that a paper can name one; nested in k (2 shots are among the 4 of the same draw); and one
    patient gives a second image only after every patient has given one. `shots="full"` takes every image, in the order
    of the draw. The normal images of a draw are the same whichever classes are asked for.

    >>> items = [Item(f"valid/{i}", "valid", i % 2, Path(f"{i}.png")) for i in range(10)]
    >>> few, more = FewShotSampler(shots=1)(items), FewShotSampler(shots=2)(items)
    >>> [item.label for item in more], set(few) < set(more)
    ([0, 0, 1, 1], True)
    """

    shots: int | str = 16
    draw: int = 0
    classes: tuple[int, ...] = (0, 1)

    def __call__(self, items: Sequence[Item], where: str = "the pool") -> list[Item]:
        """Choose from `items`, normal images first; AdbenchError, naming `where`, for more shots than images."""
        pools = [[item for item in items if item.label == label] for label in self.classes]
        have = " and ".join(f"{len(p)} {CLASSES[label]}" for p, label in zip(pools, self.classes, strict=True))
        if isinstance(self.shots, str):
            if not all(pools):
                raise AdbenchError(
                    f"shots={self.shots} takes every image of each class, and {where} has {have} images. "
                    "Another split: dataset.support_split=train or valid."
                )
        elif any(len(pool) < self.shots for pool in pools):
            raise AdbenchError(
                f"shots={self.shots} is more than there are: {where} has {have} images. "
                f"At most shots={min(map(len, pools))}."
            )
        count = None if isinstance(self.shots, str) else self.shots
        return [item for pool in pools for item in draw_order(pool, self.draw)[:count]]

    def manifest(self, chosen: Sequence[Item], hashes: dict[str, str]) -> Manifest:
        """Return which images were chosen, with a hash of their ids and contents."""
        return _manifest(chosen, hashes, self.shots, f"draw:{self.draw}")


def from_list(
    file: Path,
    items: Sequence[Item],
    hashes: dict[str, str],
    classes: Sequence[int],
    where: str,
    everything: Sequence[Item] = (),
) -> tuple[list[Item], Manifest]:
    """Read a support list in the published repositories' format: lines `n-0: a.png b.png` and `a-0: c.png d.png`.

    A name is that of a file, or as much of its path as tells it from others: `bottle/train/good/000.png`; one with
    blanks stands in quotes. `everything` are the images of all splits, for errors that say where a name is.
    """
    named = _read_list(file)
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.path.name].append(item)
    chosen: list[Item] = []
    for label in classes:
        key, kind = KEYS[label], CLASSES[label]
        if key not in named:
            raise AdbenchError(f"support={file} has no line `{key}: name name ...` with {kind} images.")
        number, names = named[key]
        for name in names:
            called = _called(name, by_name.get(name.rpartition("/")[2], []))
            meant = [item for item in called if item.label == label]
            if not meant:
                there = called or _called(name, everything)
                why = f"it is {CLASSES[there[0].label]}, in the {there[0].split} split" if there else "it isn't there"
                raise AdbenchError(
                    f"support={file}, line {number}, names {name}, which is no {kind} image of {where}: {why}."
                )
            if len(meant) > 1:
                raise AdbenchError(
                    f"support={file}, line {number}, names {name}, and {len(meant)} {kind} images of {where} are "
                    f"called so: {meant[0].path}, {meant[1].path}. Write as much of the path as tells them apart."
                )
            chosen.append(meant[0])
    ids = [item.id for item in chosen]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise AdbenchError(f"support={file} names {twice} twice.")
    shots = max(sum(item.label == label for item in chosen) for label in classes)
    return chosen, _manifest(chosen, hashes, shots, f"list:{file.name}")


def _read_list(file: Path) -> dict[str, tuple[int, list[str]]]:
    """Return by key of a list the number of its line and the names."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AdbenchError(f"support={file} cannot be read: {error}.") from error
    named: dict[str, tuple[int, list[str]]] = {}
    for number, line in enumerate(lines, 1):
        key, _, rest = (part.strip() for part in line.partition(":"))
        if not line.strip():
            continue
        if key not in KEYS:
            raise AdbenchError(
                f"support={file}, line {number}, begins with {key[:20]!r}. A line of normal images is "
                "`n-0: name name ...`, one of abnormal images `a-0: name name ...`."
            )
        if key in named:
            raise AdbenchError(
                f"support={file}, line {number}, begins with {key} as line {named[key][0]} does. Join them."
            )
        try:
            names = shlex.split(rest)
        except ValueError as error:
            raise AdbenchError(
                f"support={file}, line {number}: a quote isn't closed. Quote names with blanks or quotes: "
                '"normal (0).png".'
            ) from error
        if names:
            named[key] = number, names
    return named


def _called(name: str, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if f"/{item.path.as_posix()}".endswith(f"/{name}")]


def nothing() -> Manifest:
    """Return the manifest of a method that learns from no image."""
    return _manifest([], {}, 0, "none")


def _manifest(chosen: Sequence[Item], hashes: dict[str, str], shots: int | str, source: str) -> Manifest:
    normal, abnormal = (tuple(item.id for item in chosen if item.label == label) for label in (0, 1))
    # `full` is a cell of its own even where a number of shots happens to take every image.
    rows = [shots] if isinstance(shots, str) else []
    rows += [f"{item.label}\t{item.id}\t{hashes[item.id]}" for item in chosen]
    return Manifest(source, shots, normal, abnormal, digest("\n".join(rows)))
