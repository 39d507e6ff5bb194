"""What was tested on whom, and what the method had seen before: the facts of a record, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from adbench.board.samples import ScoredImages
from adbench.system.text import counted


class Split(NamedTuple):
    """Images of one split: as found here, and as published where that is known."""

    name: str
    normal: int
    abnormal: int
    published: str


def dataset_lines(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) about the dataset."""
    about = content["dataset"]
    yield "dataset", about["title"] or content["resolved"]["dataset"]
    if content["data"] == "phantom":
        yield "data", "phantoms: drawn by adbench, of no patient"
    shows = ", ".join(text for text in (about.get("modality"), about.get("organ")) if text)
    for name, text in (("shows", shows), ("source", about.get("source")), ("licence", about.get("licence")),
                       ("citation", about.get("citation"))):  # fmt: skip
        if text:
            yield name, str(text)
    published = {True: "the published set, image for image", False: "not the published set", None: "unknown"}
    yield "content", f"{published[about.get('published')]}; SHA-256 {about['fingerprint']}"


def patient_lines(test: ScoredImages) -> Iterator[tuple[str, str]]:
    """Yield (name, text) about the images and patients of the test split."""
    labels, groups = test.table["label"].to_numpy() == 1, test.groups
    yield "test images", f"{len(labels)}: {int(labels.sum())} abnormal, {int((~labels).sum())} normal"
    unknown = int(test.table["patient"].isna().sum())
    if unknown == len(labels):
        yield "patients", "unknown: each image counts as a patient of its own, so intervals may be too narrow"
        return
    each = np.bincount(groups)
    ill, well = (set(groups[labels == one].tolist()) for one in (True, False))
    yield (
        "patients",
        (
            f"{len(each)}: {len(ill - well)} with abnormal images alone, {len(well - ill)} with normal images alone, "
            f"{len(ill & well)} with both"
        ),
    )
    several = f"{each.min()} to {each.max()}, median {np.median(each):g}"
    yield "images per patient", several if each.min() < each.max() else f"{each.min()} each"
    if unknown:
        yield "unknown patients", f"{counted(unknown, 'image')}, each counted as a patient of its own"


def splits(content: dict[str, Any]) -> Iterator[Split]:
    """Yield the splits of the dataset; nothing of a record that doesn't know them."""
    expected = content["dataset"].get("expected") or {}
    for name, pair in (content["dataset"].get("counts") or {}).items():
        if pair:
            want = expected.get(name)
            yield Split(name, pair[0], pair[1], f"{want[0]} + {want[1]}" if want else "")


def left_out(content: dict[str, Any], images: int) -> str:
    """Say how many images of the test split were not tested; empty where all were."""
    pair = (content["dataset"].get("counts") or {}).get("test")
    missing = sum(pair) - images if pair else 0
    if missing <= 0:
        return ""
    return f"{counted(missing, 'image')} of the test split went into the support and were not tested."


def seen_lines(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text): what was learned from, what chose the epoch, and whether test images were among it."""
    support, shots = content["support"], content["support"]["shots"]
    if shots == 0:
        yield "learned from", "no image (zero-shot)"
    else:
        kinds = [f"{len(support[kind])} {kind}" for kind in ("normal", "abnormal") if support[kind]]
        yield (
            "support",
            f"{str(support['source']).replace(':', ' ')}, {shots} shots: {', '.join(kinds)}; {support['hash']}",
        )
    for one in content.get("seen") or []:
        use = {"support": "learned from", "selection": "chose the epoch"}.get(
            str(one.get("role")), str(one.get("role"))
        )
        yield use, f"{one.get('images')} images of {one.get('dataset')}, split {one.get('split')}"
    yield "epoch", {
        "last": "the last one", "valid": "chosen on held-out images of the valid split",
        "support_cv": "chosen by cross-validation within the support", "oracle": "chosen on the test split: a leak",
    }.get(content["selection"]["rule"], content["selection"]["rule"])  # fmt: skip
    leaked = content["overlap"]
    clean = "none: no image learned from or held out is a test image or, where patients are known, of a test patient"
    leak = f"a leak: {counted(leaked, 'image')} learned from or held out are in the test split, or of its patients"
    yield "overlap with the test split", leak if leaked else clean
