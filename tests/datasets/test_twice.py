"""Images that are there twice in class folders."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.config import layers
from adbench.data.items import DatasetConfig
from adbench.errors import DataError
from adbench.plugins import registry


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, name in enumerate(("train/normal/a", "train/abnormal/b", "test/normal/c", "test/abnormal/d")):
        (tmp_path / name).parent.mkdir(parents=True)
        pixels = np.random.default_rng(seed).integers(0, 200, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def notes_on(root: Path) -> list[str]:
    config = layers.section(DatasetConfig, "dataset", "folder")
    dataset = registry.find("dataset", "folder").load()("folder", config)
    dataset.index(root)
    notes: list[str] = dataset.notes
    return notes


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
