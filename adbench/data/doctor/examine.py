"""The data doctor: checks of a dataset on disk for errors that would make a result wrong or misleading."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from adbench.data.doctor.confounds import confounds
from adbench.data.doctor.copies import duplicates, near_duplicates
from adbench.data.doctor.finding import EXAMPLES, LEVELS, Finding, ScannedDataset, checked, relative
from adbench.data.doctor.masks import lesion_masks
from adbench.data.items import CLASSES, SPLITS, count
from adbench.data.listing import is_hidden


def examine(data: ScannedDataset) -> list[Finding]:
    """Return all findings, errors first; the order within a level is that of `CHECKS`."""
    findings = [finding for check in CHECKS for finding in check(data)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def layout(data: ScannedDataset) -> list[Finding]:
    """List the folders that hold the images and masks of each split and class."""
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for item in data.items:
        folders[f"{item.split} {CLASSES[item.label]}"][relative(item.path.parent, data.root)] += 1
        for mask in item.mask_files:
            folders["masks"][relative(mask.parent, data.root)] += 1
    where = []
    for name, numbers in folders.items():
        where += [f"{name}: {folder}/ ({number})" for folder, number in sorted(numbers.items())[:EXAMPLES]]
        if len(numbers) > EXAMPLES:
            where.append(f"{name}: {len(numbers) - EXAMPLES} more folders")
    return [Finding("layout", "ok", "layout", len(data.items), tuple(where))]


def counts(data: ScannedDataset) -> list[Finding]:
    """Compare the number of images of each split and class with the published ones."""
    differ, same, unknown = [], [], []
    for split in SPLITS:
        have, want = count(data.items, split), data.config.expected.get(split)
        if want is None:
            unknown += [f"{split} {have[0]} + {have[1]}"] if sum(have) else []
        elif tuple(want) == have:
            same.append(f"{split} {have[0]} + {have[1]}")
        else:
            differ.append(f"{split} {have[0]} + {have[1]}, published {want[0]} + {want[1]}")
    if data.phantom:
        what = "counts (phantoms: published counts don't apply)"
        return [Finding("counts", "ok", what, 0, tuple(differ + same + unknown))]
    why = "Figures can't be compared with published ones: images are missing or added, or the split differs."
    findings = [
        Finding("counts", "warning", "counts differ from the published ones", len(differ), tuple(differ), why),
        Finding("counts", "ok", "counts as published", len(same), tuple(same)),
        Finding("counts", "ok", "counts (none published)", len(unknown), tuple(unknown)),
    ]
    return [finding for finding in findings if finding.where]


def readable(data: ScannedDataset) -> list[Finding]:
    """List the images and masks that can't be decoded."""
    bad = [image.error for image in data.images.values() if image.error]
    bad += [mask.error for mask in data.masks.values() if mask.error]
    return [
        checked(
            "unreadable",
            "error",
            "unreadable files",
            bad,
            "A run stops at the first of them.",
            "every file is readable",
        )
    ]


def stray(data: ScannedDataset) -> list[Finding]:
    """List unused files in the folders of images and masks.

    Masks without an image and files of another type are a warning; images that the dataset leaves out are not.
    """
    used = {path for item in data.items for path in (item.path, *item.mask_files)}
    images: dict[Path, set[str]] = defaultdict(set)
    for item in data.items:
        images[item.path.parent].add(item.path.suffix.lower())
    odd: list[str] = []
    left = 0
    for folder in sorted({path.parent for path in used}):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = folder / entry.name
            if path in used or is_hidden(entry.name) or not entry.is_file():
                continue
            if path.suffix.lower() in images[folder]:
                left += 1
            else:
                odd.append(relative(path, data.root))
    why = "They are not read: a file of another type, or a mask without an image."
    findings = [checked("stray", "warning", "files that no image uses", odd, why, "no stray files")]
    return findings + ([Finding("left-out", "ok", "images that the dataset leaves out", left)] if left else [])


def blank(data: ScannedDataset) -> list[Finding]:
    """List the images that have a single grey value."""
    bad = [i.id for i in data.items if not data.images[i.image].error and data.images[i.image].spread == 0]
    why = "They show nothing, and a method gives all of them the same score."
    return [checked("blank", "warning", "blank images", bad, why, "no image is blank")]


def patients(data: ScannedDataset) -> list[Finding]:
    """Find patients with images in several splits, and images whose patient is unknown."""
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for item in data.items:
        if item.patient is not None:
            splits[item.patient][item.split] += 1
    leaks = [_spread(name, by) for name, by in sorted(splits.items()) if len(by) > 1 and "test" in by]
    shared = [_spread(name, by) for name, by in sorted(splits.items()) if len(by) > 1 and "test" not in by]
    unknown = [item.id for item in data.items if item.patient is None]
    known = ", ".join(
        f"{sum(s in by for by in splits.values())} in {s}" for s in SPLITS if any(i.split == s for i in data.items)
    )
    why = (
        "Patients shared by two splits can't be detected, and draws and intervals treat each image as its own patient."
    )
    findings = [
        checked("patient-test", "error", "patients in test and another split", leaks,
                 "Slices of one patient are near copies: test figures are too high.", f"patients: {known}"),
        checked("patient-train-valid", "warning", "patients in train and valid", shared,
                 "selection=valid would choose the epoch on patients of the training set.",
                 "train and valid share no patient"),
        checked("patient-unknown", "warning", "images whose patient is unknown", unknown, why,
                 "the patient of every image is known"),
    ]  # fmt: skip
    return [finding for finding in findings if splits or finding.check == "patient-unknown"]


def balance(data: ScannedDataset) -> list[Finding]:
    """Report the share of abnormal images in each split; the test split needs both classes."""
    shares = []
    for split in SPLITS:
        normal, abnormal = count(data.items, split)
        if normal + abnormal:
            shares.append(f"{split} {normal} + {abnormal}: {100 * abnormal / (normal + abnormal):.0f} % abnormal")
    test = count(data.items, "test")
    if not all(test):
        why = f"{test[0]} normal and {test[1]} abnormal: no metric can be computed; a run stops."
        return [Finding("balance", "error", "the test split lacks a class", 1, tuple(shares), why)]
    if max(test) > 9 * min(test):
        why = "Average precision, F1 and accuracy depend on it, AUROC doesn't. Few images give wide intervals."
        return [Finding("balance", "warning", "the test split has less than 10 % of a class", 1, tuple(shares), why)]
    return [Finding("balance", "ok", "class balance", len(data.items), tuple(shares))]


def shortcuts(data: ScannedDataset) -> list[Finding]:
    """Report how well slice position, size, colour and brightness alone separate the classes."""
    return [
        Finding(
            shortcut.check,
            "warning" if shortcut.strong else "ok",
            f"{shortcut.name} alone separates the classes" if shortcut.strong else shortcut.name,
            0,
            shortcut.figures,
            shortcut.why if shortcut.strong else "",
        )
        for shortcut in confounds(data.items, data.images)
    ]


CHECKS: tuple[Callable[[ScannedDataset], list[Finding]], ...] = (
    layout, counts, readable, lesion_masks, stray, blank, duplicates, near_duplicates, patients, balance, shortcuts,
)  # fmt: skip


def _spread(name: str, splits: Mapping[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{splits[split]} in {split}" for split in SPLITS if splits.get(split))
