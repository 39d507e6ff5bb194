"""The data doctor: what in a dataset on disk would make a result wrong, or only look good. Pure functions."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from adbench.data.doctor.confounds import confounds
from adbench.data.doctor.copies import alike, identical
from adbench.data.doctor.finding import EXAMPLES, LEVELS, Case, Finding, finding, mask_files, short
from adbench.data.doctor.masks import paired
from adbench.data.items import CLASSES, SPLITS, count


def examine(case: Case) -> list[Finding]:
    """Return all findings, errors first; the order within a level is that of `CHECKS`."""
    found = [one for check in CHECKS for one in check(case)]
    return sorted(found, key=lambda one: LEVELS.index(one.level))


def layout(case: Case) -> list[Finding]:
    """Name the folders in which the images and masks of each split and class were found."""
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for item in case.items:
        folders[f"{item.split} {CLASSES[item.label]}"][short(item.path.parent, case.root)] += 1
        for mask in mask_files(item):
            folders["masks"][short(mask.parent, case.root)] += 1
    where = []
    for name, held in folders.items():
        where += [f"{name}: {folder}/ ({number})" for folder, number in sorted(held.items())[:EXAMPLES]]
        if len(held) > EXAMPLES:
            where.append(f"{name}: {len(held) - EXAMPLES} more folders")
    return [Finding("layout", "ok", "layout", len(case.items), tuple(where))]


def counts(case: Case) -> list[Finding]:
    """Compare the number of images of each split and class with the published ones."""
    differ, same, unknown = [], [], []
    for split in SPLITS:
        have, want = count(case.items, split), case.config.expected.get(split)
        if want is None:
            unknown += [f"{split} {have[0]} + {have[1]}"] if sum(have) else []
        elif tuple(want) == have:
            same.append(f"{split} {have[0]} + {have[1]}")
        else:
            differ.append(f"{split} {have[0]} + {have[1]}, published {want[0]} + {want[1]}")
    if case.phantom:
        what = "counts (phantoms: published counts don't apply)"
        return [Finding("counts", "ok", what, 0, tuple(differ + same + unknown))]
    why = "Figures can't be compared with published ones: images are missing, added, or otherwise split."
    found = [
        Finding("counts", "warning", "counts differ from the published ones", len(differ), tuple(differ), why),
        Finding("counts", "ok", "counts as published", len(same), tuple(same)),
        Finding("counts", "ok", "counts (none published)", len(unknown), tuple(unknown)),
    ]
    return [one for one in found if one.where]


def readable(case: Case) -> list[Finding]:
    """Name the images and masks that can't be decoded."""
    bad = [image.error for image in case.images.values() if image.error]
    bad += [mask.error for mask in case.masks.values() if mask.error]
    return [
        finding(
            "unreadable",
            "error",
            "unreadable files",
            bad,
            "A run stops at the first of them.",
            "every file is readable",
        )
    ]


def stray(case: Case) -> list[Finding]:
    """Name files beside the images and masks that no item uses.

    Masks without an image, and files of a kind that isn't read, are told apart from images that the dataset leaves out.
    """
    used = {path for item in case.items for path in (item.path, *mask_files(item))}
    images: dict[Path, set[str]] = defaultdict(set)
    for item in case.items:
        images[item.path.parent].add(item.path.suffix.lower())
    odd: list[str] = []
    left = 0
    for folder in sorted({path.parent for path in used}):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = folder / entry.name
            if path in used or entry.name.startswith(".") or not entry.is_file():
                continue
            if path.suffix.lower() in images[folder]:
                left += 1
            else:
                odd.append(short(path, case.root))
    why = "They are not read: an image of an unknown kind, or a mask without its image."
    found = [finding("stray", "warning", "files that no image uses", odd, why, "every file beside the images is known")]
    return found + ([Finding("left-out", "ok", "images that the dataset leaves out", left)] if left else [])


def blank(case: Case) -> list[Finding]:
    """Name the images of one grey value."""
    bad = [i.id for i in case.items if not case.images[i.path].error and case.images[i.path].spread == 0]
    why = "They show nothing, and a method scores them all alike."
    return [finding("blank", "warning", "blank images", bad, why, "no image is blank")]


def patients(case: Case) -> list[Finding]:
    """Find patients with images in several splits, and images whose patient is unknown."""
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for item in case.items:
        if item.patient is not None:
            splits[item.patient][item.split] += 1
    leaks = [_spread(name, by) for name, by in sorted(splits.items()) if len(by) > 1 and "test" in by]
    shared = [_spread(name, by) for name, by in sorted(splits.items()) if len(by) > 1 and "test" not in by]
    unknown = [item.id for item in case.items if item.patient is None]
    known = ", ".join(
        f"{sum(s in by for by in splits.values())} in {s}" for s in SPLITS if any(i.split == s for i in case.items)
    )
    why = "Whether one patient is in two splits can't be seen, and draws and intervals take each image for a patient."
    found = [
        finding("patient-test", "error", "patients in test and another split", leaks,
                 "Slices of one patient are near copies: test figures are too high.", f"patients: {known}"),
        finding("patient-train-valid", "warning", "patients in train and valid", shared,
                 "selection=valid would choose an epoch by patients that were learnt.",
                 "train and valid share no patient"),
        finding("patient-unknown", "warning", "images whose patient is unknown", unknown, why,
                 "the patient of every image is known"),
    ]  # fmt: skip
    return [one for one in found if splits or one.check == "patient-unknown"]


def balance(case: Case) -> list[Finding]:
    """Report the share of abnormal images in each split; the test split needs both classes."""
    shares = []
    for split in SPLITS:
        normal, abnormal = count(case.items, split)
        if normal + abnormal:
            shares.append(f"{split} {normal} + {abnormal}: {100 * abnormal / (normal + abnormal):.0f} % abnormal")
    test = count(case.items, "test")
    if not all(test):
        why = f"{test[0]} normal and {test[1]} abnormal: no figure can be computed, a run stops."
        return [Finding("balance", "error", "the test split lacks a class", 1, tuple(shares), why)]
    if max(test) > 9 * min(test):
        why = "Average precision, F1 and accuracy depend on it; AUROC doesn't. Few images of a class: wide intervals."
        return [Finding("balance", "warning", "the test split has less than 10 % of a class", 1, tuple(shares), why)]
    return [Finding("balance", "ok", "class balance", len(case.items), tuple(shares))]


def shortcuts(case: Case) -> list[Finding]:
    """Report how well slice position, size, colour and brightness alone tell the classes apart."""
    return [
        Finding(
            found.check,
            "warning" if found.telling else "ok",
            f"{found.name} tells the classes apart" if found.telling else found.name,
            0,
            found.figures,
            found.why if found.telling else "",
        )
        for found in confounds(case.items, case.images)
    ]


CHECKS: tuple[Callable[[Case], list[Finding]], ...] = (
    layout, counts, readable, paired, stray, blank, identical, alike, patients, balance, shortcuts,
)  # fmt: skip


def _spread(name: str, splits: Mapping[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{splits[split]} in {split}" for split in SPLITS if splits.get(split))
