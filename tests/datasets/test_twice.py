"""Images that are there twice in class folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from adbench.errors import DataError
from tests.datasets.sets import fill, read


@pytest.fixture
def images(tmp_path: Path) -> Path:
    fill(tmp_path, "train/normal/a.png", "train/abnormal/b.png", "test/normal/c.png", "test/abnormal/d.png")
    return tmp_path


def notes_on(root: Path) -> list[str]:
    return read(root)[1]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_under_two_names_is_noted(images: Path, link) -> None:
    first = images / "train" / "normal" / "a.png"
    for number in (1, 2):
        link(first, images / "train" / "normal" / f"link{number}.png")
    assert notes_on(images) == [
        "2 images are the same file as another of the class, by a link, and count twice: for example "
        f"{first.with_name('link1.png')} and {first}."
    ]


def test_links_to_files_elsewhere_are_images_like_others(images: Path) -> None:
    store = images.parent / f"{images.name} store"
    store.mkdir()
    for path in sorted(images.rglob("*.png")):
        path.rename(store / path.name)
        path.symlink_to(store / path.name)
    assert notes_on(images) == []


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_in_both_classes_is_refused(images: Path, link) -> None:
    link(images / "test" / "normal" / "c.png", images / "test" / "abnormal" / "e.png")
    with pytest.raises(DataError, match=r"abnormal/e\.png and .*normal/c\.png are the same file, by a link: it can't"):
        notes_on(images)


def test_one_file_in_two_splits_is_noted(images: Path) -> None:
    (images / "train" / "normal" / "c.png").symlink_to(images / "test" / "normal" / "c.png")
    (note,) = notes_on(images)
    assert note.startswith("1 image is the same file as one of another split, by a link: for example ")


def test_names_that_differ_in_their_ending_alone_are_noted(images: Path) -> None:
    with Image.open(images / "train" / "normal" / "a.png") as image:
        image.save(images / "train" / "normal" / "a.JPG", format="JPEG")
    assert notes_on(images) == [
        "2 files in normal/ have the name of another but for the ending, and each is read as an image of its own: for "
        "example a.JPG and a.png."
    ]
