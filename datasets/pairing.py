"""Lesion masks and their images, paired by name.

    a.jpg    a.png, or with one of the usual words a_mask.png, a-gt.png, a.bm.png, a_segmentation.png, mask_a.png
             a_mask.png, a_mask_1.png, a_mask_2.png: several masks, whose union is meant

The very name of the image wins over a name with a word. Case and endings may differ. Whatever else fits in two ways is
an error.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from adbench.data.listing import below, stem_of
from adbench.data.volumes import is_volume
from adbench.errors import DataError
from adbench.system.text import folded

WORD = r"(?:masks?|segs?|segmentations?|gts?|ground[_\- ]?truths?|bm|labels?|annos?|annotations?)"
NUMBER = r"(?:[_\-. ]?\d+)?"
ANY_WORD = re.compile(WORD, re.I)
BARE = re.compile(rf"(?!bm){WORD}{NUMBER}", re.I)  # mask.png next to image.png, in a folder of each patient
SUFFIXED = re.compile(rf"(?P<image>.+?)(?P<affix>[_\-. ]{WORD}){NUMBER}", re.I)
PREFIXED = re.compile(rf"(?P<affix>{WORD}[_\-. ])(?P<image>.+)", re.I)
INFIXED = re.compile(rf"(?P<image>.+?)(?P<affix>[_\-. ]{WORD})(?P<rest>[_\-. ].+)", re.I)
FOLDER = re.compile(rf"(?:[\w\-. ]+[_\-. ])?(?!bm){WORD}[_\-. ]?", re.I)  # bm may be bone marrow
SEPARATOR = re.compile(r"[_\-. ]")


@dataclass
class Pairs:
    """Masks by their image.

    masks: one or several mask files by image.
    unused: mask files that fit no image, or whose image has a mask of its very name, sorted.
    affix: what all masks add to their images' names, where that is none of the usual words.
    """

    masks: dict[Path, tuple[Path, ...]] = field(default_factory=dict)
    unused: list[Path] = field(default_factory=list)
    affix: str | None = None


def names_masks(folder: str) -> bool:
    """Whether a folder's name says that it holds masks.

    >>> [names_masks(name) for name in ("mask_", "labels", "lesion_masks", "GT", "scratch", "bad")]
    [True, True, True, True, False, False]
    """
    return FOLDER.fullmatch(folder) is not None


def pair_masks(masks: Iterable[Path], base: Path, images: Iterable[tuple[str, Path]]) -> Pairs:
    """Pair the masks below `base` with images; `images` has the path from `base` that a mask of the image shares.

    Raises DataError where a mask fits two images whose names differ only in ending or case, or an image has masks that
    fit in two ways.

    >>> images = [("p1/a.jpg", Path("x/p1/a.jpg")), ("b.jpg", Path("x/b.jpg"))]
    >>> masks = [Path("m/p1/a_mask.png"), Path("m/p1/a_mask_1.png"), Path("m/B.png"), Path("m/c.png")]
    >>> pairs = pair_masks(masks, Path("m"), images)
    >>> {image.name: [mask.name for mask in files] for image, files in pairs.masks.items()}
    {'a.jpg': ['a_mask.png', 'a_mask_1.png'], 'b.jpg': ['B.png']}
    >>> [mask.name for mask in pairs.unused]
    ['c.png']
    """
    known = _Names(images)
    names = {mask: stem_of(below(mask, base)) for mask in masks}
    pairs = Pairs()
    found: dict[Path, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for mask, name in names.items():
        hit = next(((image, affix) for affix, key in readings(name) if (image := known.find(key, mask))), None)
        if hit is None:
            pairs.unused.append(mask)
        else:
            found[hit[0]][hit[1]].append(mask)
    if not found:
        pairs.affix, common = _common_affix(names, known)
        for mask, image in common.items():
            found[image]["common"].append(mask)
            pairs.unused.remove(mask)
    for image, groups in found.items():
        pairs.masks[image] = tuple(_chosen(image, groups, names, pairs.unused))
    pairs.unused.sort()
    return pairs


def add_masks(masks: dict[Path, tuple[Path, ...]], more: Mapping[Path, tuple[Path, ...]]) -> None:
    """Add masks by image to others; raises DataError for an image that has masks in both."""
    for image, files in more.items():
        if image in masks:
            raise _two_masks(image, masks[image][0], files[0])
        masks[image] = files


def masks_among(paths: Sequence[Path], base: Path) -> dict[Path, tuple[Path, ...]]:
    """Return the files that by their names are masks of others in the same folder, with the images of each.

    Such a name is that of an image with a usual word (`a_mask.png` of `a.jpg`); where no image has it, it belongs to
    the one image whose name it begins (`p1_mask.png` of `p1_scan.png`), or, if it is the word alone (`p1/mask.png`), to
    the one image of the folder. A mask volume may belong to several volumes, as those of one patient in BraTS.

    Raises DataError for a file that has the word of such masks but no image, or that fits several images.

    >>> found = masks_among([Path("x/a.jpg"), Path("x/a_seg.png"), Path("x/b.jpg")], Path("x"))
    >>> {mask.name: [image.name for image in images] for mask, images in found.items()}
    {'a_seg.png': ['a.jpg']}
    """
    if not any(ANY_WORD.search(path.name) for path in paths):
        return {}
    names = [(stem_of(below(path, base)), path) for path in paths]
    images = {folded(name): path for name, path in names}
    found: dict[Path, tuple[Path, ...]] = {}
    words: dict[str, Path] = {}
    orphans: list[tuple[str, str, Path]] = []  # the word, what the name of an image begins with, the file
    for name, path in names:
        named = [(affix, folded(key)) for affix, key in readings(name) if affix]
        hit = next(((affix, images[key]) for affix, key in named if key in images), None)
        folder, slash, last = name.rpartition("/")
        if hit is not None:
            words[hit[0]], found[path] = path, (hit[1],)
        elif BARE.fullmatch(last):
            orphans.append((last.lower(), folded(folder + slash), path))
        elif named:
            orphans.append((*named[0], path))
    no_images = {path for _, _, path in orphans} | set(found)
    others = {folded(name): path for name, path in names if path not in no_images}
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in others:
        by_folder[name.rpartition("/")[0]].append(name)
    for affix, start, path in orphans:
        family = [others[name] for name in by_folder[start.rpartition("/")[0]] if _begins(name, start)]
        if len(family) > 1 and not all(map(is_volume, (path, *family))):
            raise DataError(
                f"{path} has the name of a mask, and fits {len(family)} images, such as {family[0].name} and "
                f"{family[1].name}. Name it like its image, as in {stem_of(family[0].name)}_mask{path.suffix}, or move "
                "it elsewhere."
            )
        if family:
            found[path] = tuple(family)
        elif affix in words:
            raise DataError(
                f"{path} has the name of a mask, like {words[affix].name}, but its image is missing. Restore the "
                "image, or remove the mask."
            )
    return found


def _begins(name: str, start: str) -> bool:
    """Whether a name begins with that of a mask without its word, both in lower case; all do where that is a folder."""
    if not start or start.endswith("/"):
        return name.startswith(start)
    return name.startswith(start) and SEPARATOR.match(name[len(start) :]) is not None


def readings(name: str) -> Iterator[tuple[str, str]]:
    """Yield what a mask's name may mean: the affix, and the name of the image without it; the likeliest first.

    >>> list(readings("p1/a_mask_1"))
    [('', 'p1/a_mask_1'), ('_mask', 'p1/a'), ('_mask', 'p1/a_1')]
    """
    yield "", name
    folder, slash, last = name.rpartition("/")
    if not ANY_WORD.search(last):
        return
    for pattern in (SUFFIXED, PREFIXED, INFIXED):
        match = pattern.fullmatch(last)
        if match:
            rest = match.groupdict().get("rest") or ""
            yield match["affix"].lower(), f"{folder}{slash}{match['image']}{rest}"


def meant(name: str) -> list[str]:
    """Return the names of images, folded and without ending, that a mask's name may mean.

    >>> meant("p1/A_mask.png")
    ['p1/a_mask', 'p1/a']
    """
    return [folded(key) for _, key in readings(stem_of(name))]


def _two_masks(image: Path, first: Path, second: Path) -> DataError:
    return DataError(f"the image {image} has 2 masks, {first} and {second}. Keep one of them.")


class _Names:
    """Images by their names: with and without ending, as written and in lower case."""

    def __init__(self, images: Iterable[tuple[str, Path]]) -> None:
        self.exact: dict[str, list[Path]] = {}
        for name, image in images:
            for key in (name, stem_of(name)):
                self.exact.setdefault(key, []).append(image)

    @cached_property
    def folded(self) -> dict[str, list[Path]]:
        """The images by their names in lower case."""
        found: dict[str, list[Path]] = {}
        for key, images in self.exact.items():
            found.setdefault(folded(key), []).extend(images)
        return found

    def find(self, key: str, mask: Path) -> Path | None:
        """Return the image that a name means, or None; raises DataError where it means two."""
        found = self.exact.get(key) or self.folded.get(folded(key), [])
        if len(found) > 1 and len(set(found)) > 1:
            first, second = sorted(set(found))[:2]
            raise DataError(
                f"the mask {mask} fits two images, {first} and {second}. Give the images different names, and each a "
                "mask of its own. Without masks: dataset.masks=false"
            )
        return found[0] if found else None


def _chosen(image: Path, groups: Mapping[str, list[Path]], names: Mapping[Path, str], unused: list[Path]) -> list[Path]:
    """Return the masks of an image among those that fit, by affix; its very name wins, and the rest is `unused`."""
    chosen = next(iter(groups.values()))
    if "" in groups:
        chosen = groups[""]
        unused += [mask for affix, masks in groups.items() if affix for mask in masks]
    elif len(groups) > 1:
        first, second = (masks[0] for masks in list(groups.values())[:2])
        raise _two_masks(image, first, second)
    seen: dict[str, Path] = {}
    for mask in chosen:
        other = seen.setdefault("" if "" in groups else folded(names[mask]), mask)
        if other is not mask:
            raise _two_masks(image, other, mask)
    return chosen


def _common_affix(names: Mapping[Path, str], known: _Names) -> tuple[str | None, dict[Path, Path]]:
    """Return what all masks add to the name of an image, before or after it, and the image of each; (None, {}) if none.

    It needs two masks: the name of a single one may begin with that of an image by accident.
    """
    for before in (False, True):
        found: dict[Path, Path] = {}
        affixes: set[str] = set()
        for mask, name in names.items():
            hit = _split(mask, name, before, known)
            if hit is None:
                break
            affix, found[mask] = hit
            affixes.add(affix)
        if len(found) == len(names) > 1 and len(affixes) == 1:
            return affixes.pop(), found
    return None, {}


def _split(mask: Path, name: str, before: bool, known: _Names) -> tuple[str, Path] | None:
    """Split a mask's name at a separator into an image's name and an affix that has a letter."""
    folder, slash, last = name.rpartition("/")
    places = [match.start() for match in SEPARATOR.finditer(last)]
    for place in places if before else reversed(places):
        affix, rest = (last[: place + 1], last[place + 1 :]) if before else (last[place:], last[:place])
        image = known.find(f"{folder}{slash}{rest}", mask)
        if image is not None:
            affix = affix if before else re.sub(rf"{NUMBER}$", "", affix)
            return (affix.lower(), image) if any(character.isalpha() for character in affix) else None
    return None
