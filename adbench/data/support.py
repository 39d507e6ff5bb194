"""Few-shot supports: numbered draws that are nested in k and spread over patients, and support lists."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adbench.config.given import plain
from adbench.data.fingerprint import digest
from adbench.data.frames import split_name
from adbench.data.items import CLASSES, Item
from adbench.data.text import read_text
from adbench.errors import AdbenchError

LIST_KEYS = ("n-0", "a-0")  # of the lines of a support list, by label
BLANK = " \t,;\ufeff"  # at the ends of a line: a spreadsheet fills up rows with separators
SEPARATOR = re.compile(r"(?<=\.\w{2})[,;]|(?<=\.\w{3})[,;]|(?<=\.\w{4})[,;]|(?<=\.\w{5})[,;]")  # after a file's ending


@dataclass(frozen=True)
class Manifest:
    """The images of a support.

    source: "draw:N", or "list:FILE", or "list:NAME" of lists that authors publish.
    shots: images per class, or "full".
    normal, abnormal: their ids.
    hash: over ids and contents.
    """

    source: str
    shots: int | str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    hash: str


class Named(NamedTuple):
    """The names of one class in a support list, and where they stand, for messages: "support=a.txt, line 2,"."""

    where: str
    names: list[str]


def draw_order(items: Sequence[Item], draw: int) -> list[Item]:
    """Return the items of one class in the order of draw number `draw`.

    Patients are shuffled and give one image each, in turns. The order depends on ids, patients and `draw` alone,
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

    Draws are numbered, so that a paper can name one, and nested: the images of 2 shots are among those of 4 shots of
    the same draw. A patient gives a second image only after every other patient has given one. `shots="full"` takes
    every image. The normal images of a draw do not depend on `classes`. Of a class with too few images all are taken,
    and the rest is drawn from further pools (`fill`), the first one first; draws stay nested.

    Raises AdbenchError for a value that is not possible.

    >>> items = [Item(f"valid/{i}", "valid", i % 2, Path(f"{i}.png")) for i in range(10)]
    >>> few, more = FewShotSampler(shots=1)(items), FewShotSampler(shots=2)(items)
    >>> [item.label for item in more], set(few) < set(more)
    ([0, 0, 1, 1], True)
    """

    shots: int | str = 16
    draw: int = 0
    classes: tuple[int, ...] = (0, 1)

    def __post_init__(self) -> None:
        """Check the values; numbers of NumPy are plain ones from here on."""
        for name in ("shots", "draw"):
            object.__setattr__(self, name, plain(name, getattr(self, name)))
        if self.shots != "full" and (not isinstance(self.shots, int) or self.shots < 0):
            raise AdbenchError(
                f"shots={self.shots} is not possible: give a number of images per class, as in 16, or `full` for all."
            )
        if not isinstance(self.draw, int) or self.draw < 0:
            raise AdbenchError(f"draw={self.draw} is not possible: give a number from 0.")
        if tuple(self.classes) not in ((0, 1), (0,), (1,), ()):
            raise AdbenchError(f"classes={self.classes} is not possible: (0, 1), (0,) and (1,) are, 0 being normal.")

    def __call__(
        self, items: Sequence[Item], where: str = "the pool", fill: Sequence[Sequence[Item]] = ()
    ) -> list[Item]:
        """Choose from `items`, normal images first; AdbenchError, naming `where`, for more shots than images.

        `fill`: pools that fill up a class of which `items` has fewer than `shots`, in order; not for `shots="full"`.
        """
        sources = [items, *fill] if isinstance(self.shots, int) else [items]
        pools = [[[i for i in part if i.label == label] for part in sources] for label in self.classes]
        counts = [sum(map(len, parts)) for parts in pools]
        have = " and ".join(f"{n} {CLASSES[label]}" for n, label in zip(counts, self.classes, strict=True))
        if isinstance(self.shots, str):
            if not all(counts):
                raise AdbenchError(
                    f"shots={self.shots} takes every image of each class, and {where} has {have} images. "
                    "Another split: dataset.support_split=train or valid."
                )
        elif any(n < self.shots for n in counts):
            raise AdbenchError(
                f"shots={self.shots} is more than there are: {where} has {have} images. At most shots={min(counts)}."
            )
        chosen: list[Item] = []
        for parts, n in zip(pools, counts, strict=True):
            needed = self.shots if isinstance(self.shots, int) else n
            for pool in parts:
                taken = draw_order(pool, self.draw)[:needed]
                needed -= len(taken)
                chosen += taken
        return chosen

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
    fill: Sequence[Sequence[Item]] = (),
) -> tuple[list[Item], Manifest]:
    """Read a support list in the format of the published repositories: `n-0: a.png b.png` and `a-0: c.png d.png`.

    A name is a file name, or the end of its path where names repeat, as in `bottle/train/good/000.png`; names with
    spaces are quoted. An image of a file that holds several is named as `sub-0.nii.gz#12`. `everything`: the images of
    all splits, for error messages that say where a name is. `fill`: further pools; a name that `items` doesn't hold is
    looked for in them, in order.

    Lists that were saved on Windows or in a spreadsheet are read too: in any encoding of `read_text`, with backslashes
    in paths, with commas, semicolons or tabs between names.
    """
    return from_names(_read_list(file), f"support={file}", file.name, items, hashes, classes, where, everything, fill)


def from_names(
    named: Mapping[str, Named],
    title: str,
    source: str,
    items: Sequence[Item],
    hashes: dict[str, str],
    classes: Sequence[int],
    where: str,
    everything: Sequence[Item] = (),
    fill: Sequence[Sequence[Item]] = (),
) -> tuple[list[Item], Manifest]:
    """Choose the images that a support list names by key, `n-0` or `a-0`; see `from_list`.

    title: the list in messages. source: its name in the manifest.
    """
    pools = [_by_name(pool) for pool in (items, *fill)]
    chosen: list[Item] = []
    for label in classes:
        key, kind = LIST_KEYS[label], CLASSES[label]
        if key not in named:
            raise AdbenchError(f"{title} has no line `{key}: name name ...` with {kind} images.")
        place, names = named[key]
        for name in names:
            last = name.rpartition("/")[2]
            found = [_called(name, pool.get(last) or pool.get(split_name(last)[0], [])) for pool in pools]
            called = [item for items in found for item in items]
            meant = next(filter(None, ([item for item in items if item.label == label] for items in found)), [])
            if not meant:
                there = called or _called(name, everything)
                why = f"it is {CLASSES[there[0].label]}, in the {there[0].split} split" if there else "it isn't there"
                raise AdbenchError(f"{place} names {name}, which is no {kind} image of {where}: {why}.")
            if len(meant) > 1 and len({item.path for item in meant}) == 1:
                raise AdbenchError(
                    f"{place} names {name}, which holds {len(meant)} {kind} images of {where}. "
                    f"Name one of them, as in {meant[0].image.name}"
                )
            if len(meant) > 1:
                raise AdbenchError(
                    f"{place} names {name}, and {len(meant)} {kind} images of {where} are "
                    f"called so: {meant[0].image}, {meant[1].image}. Write as much of the path as tells them apart."
                )
            chosen.append(meant[0])
    ids = [item.id for item in chosen]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise AdbenchError(f"{title} names {twice} twice.")
    shots = max(sum(item.label == label for item in chosen) for label in classes)
    return chosen, _manifest(chosen, hashes, shots, f"list:{source}")


def _read_list(file: Path) -> dict[str, Named]:
    """Return the names of a list by its keys."""
    try:
        lines = read_text(file).content.splitlines()
    except (OSError, ValueError) as error:
        raise AdbenchError(f"support={file} cannot be read: {error}.") from error
    named: dict[str, Named] = {}
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip(BLANK):
            continue
        key, _, rest = (part.strip(BLANK) for part in line.partition(":"))
        key = key.lower()
        if key not in LIST_KEYS:
            raise AdbenchError(
                f"support={file}, line {number}, begins with {key[:20]!r}. A line of normal images is "
                "`n-0: name name ...`, one of abnormal images `a-0: name name ...`."
            )
        if key in named:
            raise AdbenchError(
                f"support={file}, line {number}, begins with {key} as line {numbers[key]} does. Join them."
            )
        try:
            names = _names(rest)
        except ValueError as error:
            raise AdbenchError(
                f"support={file}, line {number}: a quote isn't closed. Quote names with blanks or quotes: "
                '"normal (0).png".'
            ) from error
        if names:
            named[key], numbers[key] = Named(f"support={file}, line {number},", names), number
    return named


def _by_name(items: Sequence[Item]) -> dict[str, list[Item]]:
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[item.path.name].append(item)
    return by_name


def _names(text: str) -> list[str]:
    r"""Split the names of a line; raises ValueError for a quote that isn't closed.

    >>> _names('img\\a.png, "b (1).png";./c.png,')
    ['img/a.png', 'b (1).png', 'c.png']
    """
    words = shlex.shlex(text.replace("\\ ", "\0"), posix=True)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    parts = (part for word in words for part in SEPARATOR.split(word))
    names = (part.replace("\0", " ").replace("\\", "/").removeprefix("./") for part in parts)
    return [name for name in names if name.strip(",;")]


def _called(name: str, items: Sequence[Item]) -> list[Item]:
    file, number = split_name(name)

    def meant(item: Item) -> bool:
        path = f"/{item.path.as_posix()}"
        one = item.frame is not None and item.frame.number == number
        return path.endswith(f"/{name}") or (one and path.endswith(f"/{file}"))

    return [item for item in items if meant(item)]


def nothing() -> Manifest:
    """Return the manifest of a method that learns from no image."""
    return _manifest([], {}, 0, "none")


def _manifest(chosen: Sequence[Item], hashes: dict[str, str], shots: int | str, source: str) -> Manifest:
    normal, abnormal = (tuple(item.id for item in chosen if item.label == label) for label in (0, 1))
    # `full` and a number of shots that takes every image are different cells.
    rows = [shots] if isinstance(shots, str) else []
    rows += [f"{item.label}\t{item.id}\t{hashes[item.id]}" for item in chosen]
    return Manifest(source, shots, normal, abnormal, digest("\n".join(rows)))
