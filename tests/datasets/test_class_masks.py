"""Where the masks of class folders may lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.items import Item
from adbench.errors import DataError
from tests.datasets.sets import fill, read


def masks_of(items: list[Item], root: Path) -> dict[str, list[str]]:
    """The masks of each abnormal image."""
    return {
        item.path.relative_to(root).as_posix(): [mask.relative_to(root).as_posix() for mask in item.mask_files]
        for item in items
        if item.label
    }


@pytest.mark.parametrize("mask", ["masks/b.png", "masks/abnormal/b_mask.png", "Ground_Truth/b.png"])
def test_masks_next_to_images_are_read(tmp_path: Path, mask: str) -> None:
    fill(tmp_path, "images/normal/a.png", "images/abnormal/b.png", mask)
    items, notes = read(tmp_path)
    assert masks_of(items, tmp_path) == {"images/abnormal/b.png": [mask]}
    assert notes == []
    assert masks_of(read(tmp_path, masks=False)[0], tmp_path) == {"images/abnormal/b.png": []}
    assert masks_of(read(tmp_path / "images")[0], tmp_path) == {"images/abnormal/b.png": []}


def test_what_else_lies_next_to_images_is_noted_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "images/normal/a.png", "images/abnormal/b.png", "overview.png")
    (tmp_path / "labels.csv").touch()
    assert read(tmp_path)[1] == [
        f"1 image in {tmp_path.name}/ lies in no class folder and is left out: for example overview.png.",
        f"1 other file in {tmp_path.name}/ is not read: labels.csv.",
    ]
    monkeypatch.chdir(tmp_path)
    assert read(Path())[1][1] == f"1 other file in {tmp_path.name}/ is not read: labels.csv."
    fill(tmp_path, "more/abnormal/c.png")
    says = r"holds more/ with 1 image, .*Next to images/ only masks are read: move .*dataset\.ignored_folders=\[more\]"
    with pytest.raises(DataError, match=says):
        read(tmp_path)
    assert len(read(tmp_path, ignored_folders=["more"])[0]) == 2
    fill(tmp_path, "labels/b.png")
    with pytest.raises(DataError, match=r"Read: dataset\.mask_folders=\[.*,labels\].*ignored_folders=\[more,labels\]"):
        read(tmp_path, ignored_folders=["more"])
    items, _ = read(tmp_path, ignored_folders=["more"], mask_folders=["labels"])
    assert masks_of(items, tmp_path) == {"images/abnormal/b.png": ["labels/b.png"]}


def test_a_folder_of_another_name_may_lie_next_to_other_datasets(tmp_path: Path) -> None:
    fill(tmp_path, "knee/normal/a.png", "knee/abnormal/b.png", "masks/b.png", "hip/normal/a.png")
    items, notes = read(tmp_path, folders=["knee"])
    assert masks_of(items, tmp_path) == {"knee/abnormal/b.png": []}
    assert notes == [f"{tmp_path / 'masks'} lies next to knee/ and is not read: its masks are looked for in knee/."]


@pytest.mark.parametrize("images", ["", "images/"])
def test_masks_that_are_sorted_by_split(tmp_path: Path, images: str) -> None:
    for split in ("train", "val"):
        fill(tmp_path, *(f"{images}{split}/{name}.png" for name in ("normal/a", "abnormal/b")))
    fill(tmp_path, "masks/train/b.png", "masks/Valid/abnormal/b_mask.png", "masks/test/b.png")
    items, notes = read(tmp_path)
    assert masks_of(items, tmp_path) == {
        f"{images}train/abnormal/b.png": ["masks/train/b.png"],
        f"{images}val/abnormal/b.png": ["masks/Valid/abnormal/b_mask.png"],
    }
    assert notes == ["1 file in masks/test/ has no use: there is no such split."]
    fill(tmp_path, "masks/b.png")
    with pytest.raises(DataError, match=r"masks lies next to (train|images)/, where .*or into masks/train/ and so on"):
        read(tmp_path)


@pytest.mark.parametrize("masks", ["ground_truth", "ground_truth/test"])
def test_masks_of_defects_next_to_images(tmp_path: Path, masks: str) -> None:
    fill(tmp_path, *(f"images/{name}/0.png" for name in ("train/good", "test/good", "test/crack")))
    fill(tmp_path, f"{masks}/crack/0_mask.png")
    items, notes = read(tmp_path)
    assert masks_of(items, tmp_path) == {"images/test/crack/0.png": [f"{masks}/crack/0_mask.png"]}
    assert [item.subgroup for item in items if item.label] == ["crack"]
    assert notes == []


@pytest.mark.parametrize(
    ("images", "mask"),
    [
        (("normal/a.png", "abnormal/b.png"), "masks/Abnormal/b.png"),
        (("normal/a.png", "ABNORMAL/b.png"), "masks/abnormal/b_mask.png"),
        (("train/good/a.png", "test/good/a.png", "test/crack/b.png"), "ground_truth/Crack/b_mask.png"),
        (("normal/a.png", "abnormal/b.png"), "masks/Normal/a.png"),
    ],
)
def test_folders_of_masks_in_another_letter_case(tmp_path: Path, images: tuple[str, ...], mask: str) -> None:
    fill(tmp_path, *images, mask, "masks/b.png" if "Normal" in mask else mask)
    items, notes = read(tmp_path)
    assert [tmp_path / mask] in [list(item.mask_files) for item in items]
    assert notes == []


def test_folders_of_masks_that_differ_in_letter_case_alone_are_noted(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png", "abnormal/c.png", "masks/abnormal/b.png", "masks/Abnormal/c.png")
    items, notes = read(tmp_path)
    assert sorted(masks_of(items, tmp_path).values()) == [["masks/Abnormal/c.png"], ["masks/abnormal/b.png"]]
    assert notes == ["masks/ holds Abnormal/ and abnormal/, which differ only in letter case, and both are read."]
    fill(tmp_path, "masks/Abnormal/b.png")
    with pytest.raises(DataError, match=r"b\.png has 2 masks, .*masks/.bnormal/b\.png and .*masks/.bnormal/b\.png"):
        read(tmp_path)


def test_masks_among_normal_images_are_read_and_checked(adbench, tmp_path: Path) -> None:
    root = tmp_path / "set"
    fill(root, *(f"{kind}/p{n}/{name}.png" for kind in ("normal", "abnormal") for n in range(3) for name in "ab"))
    for kind in ("normal", "abnormal"):
        for path in sorted((root / kind).glob("*/b.png")):
            lesion = np.zeros((16, 16), dtype=np.uint8)
            lesion[3:6, 3:6] = 255 if kind == "abnormal" else 0
            Image.fromarray(lesion).save(path.with_name("label.png"))
            path.unlink()
    words = ("data", "check", "folder", f"data_root={root}", "--json")
    assert adbench(*words).code == 0
    items, notes = read(root)
    assert {len(item.mask_files) for item in items} == {1}
    assert notes[1] == (
        "3 files in normal/ have the name of a mask of another image there, and are read as their masks, which must be "
        "empty where masks are used: for example label.png."
    )
    Image.fromarray(lesion + 255 * np.eye(16, dtype=np.uint8)).save(root / "normal" / "p0" / "label.png")
    answer = adbench(*words)
    assert "mask-of-normal" in answer.out
    answer = adbench("run", "method=clip", "dataset=folder", f"data_root={root}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 3
    assert "normal/p0/a.png has a mask" in answer.err
    assert {len(item.mask_files) for item in read(root, masks=False)[0]} == {0}


def test_masks_of_a_split_without_abnormal_images_are_those_of_normal_ones(tmp_path: Path) -> None:
    fill(tmp_path, "train/normal/a.png", "train/masks/a.png", "train/masks/z.png")
    fill(tmp_path, "test/normal/a.png", "test/abnormal/b.png")
    items, notes = read(tmp_path)
    assert [mask for item in items for mask in item.mask_files] == [tmp_path / "train" / "masks" / "a.png"]
    assert notes == ["1 file in masks/ has no use: there is no abnormal image in train/."]
