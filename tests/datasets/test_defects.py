"""The user's own images in MVTec AD's layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adbench.data.fingerprint import fingerprint, hash_items
from adbench.data.items import count, decide_masks
from adbench.errors import DataError
from tests.datasets.sets import facts_of, index, noise, read


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Two defects whose images have the same names, with masks."""
    root = tmp_path / "part"
    for i in range(3):
        noise(root / "train" / "good" / f"{i:03d}.png", i)
        noise(root / "test" / "good" / f"{i:03d}.png", 10 + i)
        for number, defect in enumerate(("dent", "stain")):
            noise(root / "test" / defect / f"{i:03d}.png", 20 + 10 * number + i)
            noise(root / "ground_truth" / defect / f"{i:03d}_mask.png", 0)
    return root


def test_every_folder_of_test_but_the_normal_one_is_a_defect_with_masks(part: Path) -> None:
    items, notes = read(part)
    assert notes == []
    assert [count(items, split) for split in ("train", "valid", "test")] == [(3, 0), (0, 0), (3, 6)]
    stain = next(item for item in items if item.id == "test/abnormal/stain/001.png")
    assert (stain.subgroup, stain.mask) == ("stain", (part / "ground_truth" / "stain" / "001_mask.png",))
    assert decide_masks(facts_of(), items).masks is True


def test_it_has_the_content_of_a_category_of_mvtec(part: Path, tmp_path: Path, cache: Path) -> None:
    items, _ = read(part)
    part.rename(tmp_path / "tile")
    same = index(tmp_path, "mvtec", category="tile")
    again, _ = read(tmp_path / "tile")
    prints = {fingerprint(each, hash_items(each, cache, "x")) for each in (same, again)}
    assert len(prints) == 1
    assert [i.id for i in again] == [i.id for i in items]


def test_masks_may_have_the_name_of_their_image_or_be_missing(part: Path) -> None:
    for path in (part / "ground_truth").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("_mask", "")))
    assert all(item.mask for item in read(part)[0] if item.label)
    shutil.rmtree(part / "ground_truth")
    items, _ = read(part)
    assert count(items, "test") == (3, 6)
    assert decide_masks(facts_of(), items).masks is False


def test_chosen_defects_and_what_is_left_out(part: Path) -> None:
    items, notes = read(part, abnormal_folders=["Dent"])
    assert count(items, "test") == (3, 3)
    assert {item.subgroup for item in items if item.label} == {"dent"}
    assert notes == [f"{part / 'test' / 'stain'} with 3 images left out."]
    shutil.rmtree(part / "ground_truth")
    assert count(read(part, abnormal_folders=["dent", "stain"])[0], "test") == (3, 6)
    with pytest.raises(DataError, match=r"names dint, which is no folder of .*test: did you mean 'dent'"):
        read(part, abnormal_folders=["dint"])


def test_masks_that_fit_nothing_are_an_error_and_single_ones_are_named(part: Path) -> None:
    masks = sorted((part / "ground_truth" / "dent").iterdir())
    shutil.copy(masks[0], masks[0].with_name("999_mask.png"))
    noise(part / "ground_truth" / "scratch" / "000_mask.png", 0)
    (note,) = read(part)[1]
    assert note.startswith("2 files in ground_truth/ have the name of no abnormal image, and no use")
    for path in (part / "ground_truth").rglob("*.png"):
        path.rename(path.with_name("9" + path.name))
    with pytest.raises(DataError, match=r"ground_truth holds 8 files, none of which has the name of an abnormal image"):
        read(part)
    items, _ = read(part, masks=False)
    assert count(items, "test") == (3, 6)


@pytest.mark.parametrize("name", ["gt", "ground truth"])
def test_masks_in_a_folder_of_another_name_are_offered(part: Path, name: str) -> None:
    (part / "ground_truth").rename(part / name)
    with pytest.raises(
        DataError, match=rf"holds {name}/ with 6 images, .*Read: .*mask_folders=\[masks,.*{name}"
    ) as caught:
        read(part)
    assert "Splits are called" not in str(caught.value)
    items, notes = read(part, mask_folders=[name])
    assert (all(item.mask for item in items if item.label), notes) == (True, [])


def test_defects_in_train_are_read_and_other_folders_there_are_refused(part: Path) -> None:
    shutil.copytree(part / "test" / "dent", part / "train" / "dent")
    assert count(read(part)[0], "train") == (3, 3)
    shutil.copytree(part / "test" / "good", part / "train" / "unlabelled")
    with pytest.raises(DataError, match=r"train holds unlabelled/ with 3 images.*Leave out: dataset.ignored_folders="):
        read(part)
    items, notes = read(part, ignored_folders=["unlabelled"])
    assert (count(items, "train"), notes) == ((3, 3), [])


def test_a_folder_of_test_may_be_ignored(part: Path) -> None:
    items, notes = read(part, ignored_folders=["stain"])
    assert count(items, "test") == (3, 3)
    assert notes == []


def test_abnormal_folders_of_the_usual_names_are_read_as_before(tmp_path: Path) -> None:
    for split in ("train", "test"):
        noise(tmp_path / split / "normal" / "a.png", 1)
        noise(tmp_path / split / "abnormal" / "b.png", 2)
    items, _ = read(tmp_path)
    assert sorted(item.id for item in items if item.split == "test") == ["test/abnormal/b.png", "test/normal/a.png"]
    noise(tmp_path / "test" / "unlabelled" / "c.png", 3)
    with pytest.raises(DataError, match="unlabelled/ with 1 image, which is no class folder"):
        read(tmp_path)


def test_a_category_that_mvtec_does_not_have_names_the_way(adbench, part: Path) -> None:
    answer = adbench("run", "method=clip", "dataset=mvtec", "dataset.category=part", f"data_root={part.parent}")
    assert answer.code == 2
    assert "are read by dataset=folder" in answer.err
