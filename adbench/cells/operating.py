"""Held-out images for thresholds and probabilities: of the tested dataset, never learned from, never tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adbench.cells.cell import ELSEWHERE, Cell, TrainingSet, in_words
from adbench.cells.holdout import folds
from adbench.config import layers
from adbench.data.fingerprint import digest, file_hash
from adbench.data.indexed import IndexedDataset
from adbench.data.items import SUPPORT_SPLITS, DatasetConfig, Item
from adbench.data.support import draw_order
from adbench.errors import AdbenchError

MOST = 200  # images of a class: some hundred cost a run little, and more would hardly move a threshold
FEW = 20  # images of a class, or half as many patients, that other splits add to: a specificity of 0.95 needs as many


@dataclass(frozen=True)
class HeldOutItems:
    """Images that fix thresholds.

    split: where they are from, in words. of: how many there were to choose from.
    in_test: how many were left out because the test split has them, or their patients.
    why: why there are none, in a sentence, or "".
    """

    items: tuple[Item, ...]
    split: str
    of: int
    in_test: int
    why: str = ""


def held_out_of(cell: Cell) -> HeldOutItems:
    """Return the images that a cell scores before its test images; none, and why, where it scores none.

    With operating=support_cv there are none here: they are those of the support.
    """
    config = cell.config
    if config.operating == "none":
        return HeldOutItems((), "", 0, 0, "operating=none: no images were held out")
    if cell.capability.transductive:
        why = (
            f"{config.method_name} is transductive: a score depends on the images that are scored with it, so a "
            "threshold from other images does not hold for the test images"
        )
        return HeldOutItems((), "", 0, 0, why)
    if config.operating == "support_cv":
        return HeldOutItems((), in_words(list(cell.training_sets[0].splits), cell.target.name), 0, 0)
    return choose(cell.target, cell.training_sets)


def choose(
    target: IndexedDataset, sets: Sequence[TrainingSet], most: int = MOST, first: Sequence[str] | None = None
) -> HeldOutItems:
    """Choose at most `most` images of each class from the split that supports come from.

    Left out are the images of the support and its patients, and those of the test split and its patients; so are files
    of equal content. Where that leaves few images of a class (`FEW`), they are filled up from `support_fill` and from
    the other splits that are not tested: BMAD's train split has normal images that no few-shot method sees. The order
    is that of draw 0: it depends on ids and patients alone, and every patient gives one image before any gives a second
    one.
    """
    config = target.config
    first = (config.support_split, *config.support_fill) if first is None else first
    learned = [item for one in sets if one.dataset.name == target.name for item in one.support]
    content = {name: file_hash(whole) for name, whole in target.hashes.items()}
    people = {item.patient for item in learned} - {None}
    copies = {content[item.id] for item in learned}
    tested = target.split("test")
    test_people, test_copies = {item.patient for item in tested} - {None}, {content[item.id] for item in tested}
    in_test: set[str] = set()

    def left(split: str, label: int) -> list[Item]:
        found = []
        for item in target.items:
            if item.split != split or item.label != label:
                continue
            if item.patient in people or content[item.id] in copies:
                continue
            if item.patient in test_people or content[item.id] in test_copies:
                in_test.add(item.id)
                continue
            found.append(item)
        return found

    splits = dict.fromkeys((*first, *SUPPORT_SPLITS))
    used = [split for split in splits if any(item.split == split for item in target.items)]
    chosen: list[Item] = []
    of = 0
    for label in (0, 1):
        own: list[Item] = []
        for split in used:
            if _few(own):
                pool = left(split, label)
                own += draw_order(pool, 0)[: most - len(own)]
                of += len(pool)
        chosen += own
    where = in_words(used, target.name)
    if chosen:
        origins = in_words(list(dict.fromkeys(item.split for item in chosen)), target.name)
        return HeldOutItems(tuple(chosen), origins, of, len(in_test))
    also = f"; {len(in_test)} are of the test split or its patients" if in_test else ""
    why = f"no image of {where} is left without the support and its patients{also}"
    return HeldOutItems((), where, 0, len(in_test), why)


def _few(items: Sequence[Item]) -> bool:
    patients = {item.patient if item.patient is not None else item.id for item in items}
    return len(items) < FEW or len(patients) < FEW // 2


def operating_facts(
    operating: str, target: IndexedDataset, sets: Sequence[TrainingSet], transductive: bool, method: str
) -> dict[str, str]:
    """Return the facts that `operating=` adds to a cell: none where the record is the same without them.

    Held-out images are a fact where `dataset.support_split` or `support_fill` makes them others than the dataset's own.
    """
    if operating == "support_cv":
        return {"operating": operating, "held_out": digest(str(folds(sets, method, "operating").tolist()))}
    if operating == "valid":
        usual = layers.section(DatasetConfig, "dataset", target.name)
        own = (usual.support_split, *usual.support_fill)
        if transductive or own == (target.config.support_split, *target.config.support_fill):
            return {}
        ids = [item.id for item in choose(target, sets).items]
        same = ids == [item.id for item in choose(target, sets, first=own).items]
        return {} if same else {"held_out": digest("\n".join(ids))}
    differs = operating == "none" and not transductive and choose(target, sets).items
    return {"operating": operating} if differs else {}


def check_operating(operating: str, method: str, protocol: str, support: str, transductive: bool) -> None:
    """Raise AdbenchError where operating=support_cv has no support of the tested dataset to score."""
    if operating != "support_cv":
        return
    if support == "none":
        why = "it learns from no image"
    elif transductive:
        why = "it is transductive: its scores of other images hold for these alone"
    elif protocol in ELSEWHERE:
        why = f"protocol={protocol} learns from other datasets, whose scores give no threshold for the tested one"
    else:
        return
    raise AdbenchError(f"operating=support_cv is not possible for {method}: {why}. Use operating=valid or none.")
