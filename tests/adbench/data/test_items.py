from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.data.fingerprint import digest, fingerprint, hash_items
from adbench.data.items import DatasetConfig, Item, check_ids, decide_masks
from adbench.data.splits import of_split
from adbench.errors import AdbenchError, DataError


def row(name: str, label: int, *masks: str) -> Item:
    return Item(name, "test", label, Path(f"{name}.png"), tuple(map(Path, masks)) or None)


def test_one_id_for_two_files_is_an_error() -> None:
    twice = [row("a", 0), Item("a", "train", 1, Path("other.png"))]
    with pytest.raises(DataError, match=r"a\.png and other\.png have the same id a;"):
        check_ids(twice)
    check_ids([row("a", 0), row("b", 0)])


def test_ids_are_checked_before_anything_is_hashed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the same id a"):
        hash_items([row("a", 0), row("a", 1)], tmp_path, "x")


def test_masks_are_settled_by_what_is_there() -> None:
    facts = DatasetConfig("t", "o", masks=None)
    assert decide_masks(facts, [row("a", 0), row("b", 1, "m")]).masks is True
    assert decide_masks(facts, [row("a", 0), row("b", 1)]).masks is False
    assert decide_masks(facts, [row("a", 0)]).masks is False
    with pytest.raises(DataError, match=r"1 of 2 abnormal images has no mask, as c\.png; b\.png has m\. .*masks=false"):
        decide_masks(facts, [row("b", 1, "m"), row("c", 1)])
    told = DatasetConfig("t", "o", masks=False)
    assert decide_masks(told, [row("b", 1, "m"), row("c", 1)]) is told


def test_every_mask_of_an_image_enters_the_fingerprint(tmp_path: Path) -> None:
    for name in ("image", "one", "two"):
        (tmp_path / name).write_text(name)
    item = Item("test/abnormal/a", "test", 1, tmp_path / "image", (tmp_path / "one", tmp_path / "two"))
    first = hash_items([item], tmp_path / "cache", "x")
    assert len(first[item.id]) == 3 * 64
    (tmp_path / "two").write_text("other")
    second = hash_items([item], tmp_path / "cache", "x")
    assert first[item.id][:128] == second[item.id][:128]
    assert fingerprint([item], first) != fingerprint([item], second)


def test_a_subgroup_enters_the_fingerprint_and_none_leaves_it_as_it_was() -> None:
    hashes = {"a": "content"}
    plain, kind, other = (replace(row("a", 1), subgroup=name) for name in (None, "mass", "nodule"))
    assert len({fingerprint([one], hashes) for one in (plain, kind, other)}) == 3
    assert fingerprint([plain], hashes) == digest(f"a {plain.split}\t1\t\tcontent")


@pytest.mark.parametrize(
    ("words", "name", "counts"),
    [
        (["dataset.category=metal_nut"], "metal nut", {"train": [220, 0], "test": [22, 93]}),
        ([], "object", {"train": [3629, 0], "test": [467, 1258]}),
        (["dataset.category=bottle", "dataset.object_name=jar"], "jar", {"train": [209, 0], "test": [20, 63]}),
    ],
)
def test_a_category_brings_its_words_and_counts(words: list[str], name: str, counts: dict[str, list[int]]) -> None:
    (run,) = config.parse(["dataset=mvtec", *words])
    facts: DatasetConfig = layers.section(DatasetConfig, "dataset", "mvtec", run.words("dataset"))
    assert (facts.object_name, facts.expected) == (name, counts)


def test_an_unknown_category_suggests_the_nearest() -> None:
    (run,) = config.parse(["dataset=mvtec", "dataset.category=bottel"])
    with pytest.raises(AdbenchError, match=r"category=bottel is no category of MVTec AD: did you mean 'bottle'"):
        layers.section(DatasetConfig, "dataset", "mvtec", run.words("dataset"))


def test_an_empty_split_of_a_set_that_is_dealt_names_the_shares() -> None:
    items = [row("a", 0), row("b", 1)]
    with pytest.raises(DataError, match=r"0 normal and 0 abnormal images in its train split.*Look into data\."):
        of_split(items, "train", "x", Path("data"), DatasetConfig("t", "o"))
    dealt = DatasetConfig("t", "o", split_shares=[0, 0, 1])
    with pytest.raises(DataError, match=r"dataset\.split_shares=\[0, 0, 1\]; try \[0\.5,0,0\.5\]"):
        of_split(items, "train", "x", Path("data"), dealt)
    assert of_split(items, "test", "x", Path("data"), dealt) == items


def test_a_class_of_one_patient_is_in_one_split_and_the_error_says_so() -> None:
    items = [replace(row("a", 0), patient="Eve"), row("b", 1), row("c", 1)]
    dealt = DatasetConfig("t", "o", split_shares=[0.5, 0, 0.5])
    with pytest.raises(DataError, match=r"in its train split.*All normal images are of one patient, 'Eve'"):
        of_split(items, "train", "x", Path("data"), dealt)


def test_a_split_that_no_id_names_enters_the_fingerprint() -> None:
    hashes = {"a": "content", "test/a": "content"}
    assert fingerprint([replace(row("a", 1), split="test")], hashes) != fingerprint(
        [replace(row("a", 1), split="train")], hashes
    )
    named = replace(row("test/a", 1), split="test")
    assert fingerprint([named], hashes) == digest("test/a\t1\t\tcontent")
