"""Files in the folder of a published set, or next to images that a table names, which are no image or mask of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.datasets.sets import grey, opened, read

SIZE = {"train": 6, "valid": 4, "test": 8}
PUBLISHED = ["brainmri", "chestxray", "mvtec", "visa", "busi", "brainmri_kaggle", "chexpert", "nihchest", "octdl"]


def draw(root: Path, name: str) -> Path:
    """Draw the phantom of a set; return its folder."""
    dataset = opened(name)
    dataset.draw_phantom(root, SIZE)
    return dataset.folder(root)


@pytest.mark.parametrize("name", PUBLISHED)
def test_whatever_is_no_image_of_a_published_set_is_named(tmp_path: Path, name: str) -> None:
    folder = draw(tmp_path, name)
    items, notes = read(tmp_path, name)
    assert notes == []
    home = items[0].path.parent
    grey(home / "older" / "scan.png")
    grey(folder / "more" / "another.bmp")
    (home / "picture.gif").write_bytes(b"GIF89a")
    grey(folder / "runs" / "0123" / "gallery" / "scan.png")
    (folder / "runs" / "0123" / "record.json").write_text("{}")
    again, (images, strange) = read(tmp_path, name)
    assert again == items
    older = (home / "older").relative_to(folder).as_posix()
    assert images.startswith(f"2 images in {folder.name}/ are not read: ")
    assert f"1 in {older}/" in images
    assert "1 in more/" in images
    assert strange.startswith("1 file among the images has no ending that is read: .gif (1), for example ")


@pytest.mark.parametrize(("name", "place"), [
    ("brainmri", "test/Ungood/anomaly_mask/gone.png"), ("mvtec", "bottle/ground_truth/bent/gone_mask.png"),
    ("visa", "candle/Data/Masks/Anomaly/gone.png"), ("busi", "images/test/ground_true/gone_mask_0.jpg"),
])  # fmt: skip
def test_masks_without_an_image_are_named(tmp_path: Path, name: str, place: str) -> None:
    folder = draw(tmp_path, name)
    grey(folder / place, 255)
    _, (note,) = read(tmp_path, name)
    where, _, file = place.rpartition("/")
    assert note == (
        f"1 mask in {folder.name}/ is not read, as no image has the name: 1 in {where}/, for example {file}."
    )
    assert read(tmp_path, name, masks=False)[1] == [], "no mask is read"


def test_masks_of_normal_images_are_no_loss(tmp_path: Path) -> None:
    folder = draw(tmp_path, "brainmri")
    shutil.copytree(folder / "test" / "good" / "img", folder / "test" / "good" / "label")
    assert read(tmp_path, "brainmri")[1] == []


def test_categories_that_are_not_asked_for_are_no_loss(tmp_path: Path) -> None:
    draw(tmp_path, "mvtec")
    assert read(tmp_path, "mvtec", category="bottle")[1] == []


def test_a_link_to_images_that_are_read_is_no_loss(tmp_path: Path) -> None:
    folder = draw(tmp_path, "brainmri")
    (folder / "copy").symlink_to(folder / "test" / "good")
    assert read(tmp_path, "brainmri")[1] == []


def test_volumes_are_read_by_another_dataset(tmp_path: Path) -> None:
    folder = draw(tmp_path, "brainmri")
    (folder / "test" / "good" / "img" / "scan.nii.gz").write_bytes(b"")
    _, (note,) = read(tmp_path, "brainmri")
    assert note.endswith("1 in test/good/img/, for example scan.nii.gz. dataset=folder reads volumes.")


def test_films_of_chexpert_and_volumes_of_adni_that_are_left_out_are_counted(tmp_path: Path) -> None:
    folder = draw(tmp_path / "adni", "adni")
    volume = next(folder.glob("*_S_*/*/*/I*"))
    shutil.copytree(volume, volume.with_name("I999"))
    _, (note,) = read(tmp_path / "adni", "adni")
    assert note == f"1 volume in {folder.name}/ without a row in the table is left out: for example I999."


def test_images_that_a_table_does_not_name_are_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d", "e"):
        grey(tmp_path / "scans" / f"{name}.png", ord(name))
    grey(tmp_path / "elsewhere" / "f.png")
    rows = ["path,label", "scans/a.png,normal", "scans/b.png,abnormal", "scans/c.png,normal", "scans/d.png,abnormal"]
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    _, notes = read(tmp_path, "folder", split_shares=[0, 0, 1])
    assert notes == [f"1 image in {tmp_path.name}/ is not read: 1 in scans/, for example e.png."]


def test_the_empty_mask_of_a_normal_image_in_medicips_lists_is_checked(tmp_path: Path) -> None:
    folder = draw(tmp_path, "busi")
    file = folder / "samples" / "test.json"
    first, *rest = file.read_text().splitlines()
    row = json.loads(first)
    assert row["label"] == 0
    grey(folder / "images" / "test" / "ground_true" / "own.png", 255)
    file.write_text("\n".join([json.dumps(row | {"mask": "test/ground_true/own.png"}), *rest]))
    items, _ = read(tmp_path, "busi")
    (one,) = (item for item in items if item.mask and not item.label)
    assert [path.name for path in one.mask or ()] == ["own.png"]


def test_what_a_set_does_not_need_may_be_damaged(tmp_path: Path) -> None:
    folder = draw(tmp_path, "brainmri")
    items, _ = read(tmp_path, "brainmri")
    (folder / "docs").mkdir()
    (folder / "docs" / "figure.png").symlink_to("gone.png")
    again, (note,) = read(tmp_path, "brainmri")
    assert again == items
    assert note.startswith(f"{folder} was not looked through for images that are not read: ")
    assert "a link to gone.png, which does not exist" in note


def test_the_table_itself_and_texts_are_no_loss(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        grey(tmp_path / f"{name}.png", ord(name))
        (tmp_path / f"{name}.txt").write_text("about it")
    rows = ["path,label", "a.png,normal", "b.png,abnormal", "c.png,normal", "d.png,abnormal"]
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    assert read(tmp_path, "folder", split_shares=[0, 0, 1])[1] == []
