"""What every layout owes: its phantom on disk is read back by its own loader, and bad places are told apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.config import groups
from adbench.data import arrays
from adbench.data.decode import image_size
from adbench.data.fingerprint import fingerprint, hash_items
from adbench.data.items import Item, count, decide_masks
from adbench.datasets.layout import Layout
from adbench.errors import AdbenchError, DataError
from adbench.plugins import registry
from tests.datasets.sets import opened

# Normal and abnormal images in train, valid and test of a phantom of 12, 8 and 24 images.
COUNTS = {
    "brainmri_kaggle": [(12, 0), (0, 0), (12, 12)],
    "busi": [(12, 0), (0, 0), (12, 12)],
    "chexpert": [(12, 0), (0, 0), (12, 12)],
    "nihchest": [(6, 6), (0, 0), (12, 12)],
    "octdl": [(0, 0), (0, 0), (12, 12)],
    "adni": [(0, 0), (0, 0), (12, 12)],
    "folder": [(6, 6), (4, 4), (12, 12)],
    "mvtec": [(30, 0), (0, 0), (15, 15)],  # at least 2 + 2 in each of 15 categories
    "visa": [(24, 0), (0, 0), (12, 12)],
}
MASKED = ("busi", "folder", "mvtec", "visa")
SIZE = {"train": 12, "valid": 8, "test": 24}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Layout, Path, list[Item]]]:
    """Every phantom, drawn once."""
    found = {}
    for name in COUNTS:
        root = tmp_path_factory.mktemp(name)
        dataset = opened(name)
        dataset.draw_phantom(root, SIZE)
        found[name] = dataset, root, dataset.index(root)
    return found


def test_every_layout_is_here() -> None:
    bmad = set(groups.expand("dataset", "bmad"))  # test_bmad.py and test_phantoms.py
    layouts = {n for n, entry in registry.entries("dataset").items() if issubclass(entry.load(), Layout)} - bmad
    assert layouts == set(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_a_phantom_is_read_back_in_full(drawn, cache: Path, name: str) -> None:
    dataset, root, items = drawn[name]
    assert [count(items, split) for split in ("train", "valid", "test")] == COUNTS[name]
    assert dataset.is_phantom(root)
    assert dataset.index(dataset.folder(root)) == items, "the set's own folder may be given"
    ids = [item.id for item in items]
    assert len(set(ids)) == len(ids)
    assert all(item.id.startswith(f"{item.split}/{('normal', 'abnormal')[item.label]}/") for item in items)
    facts = decide_masks(dataset.config, items)
    assert bool(facts.masks) == (name in MASKED)
    hashes = hash_items(items, cache, name)
    few = [item for item in items if item.split == "test"][:: max(1, SIZE["test"] // 6)]
    pixels = arrays.images(few, hashes, cache, 32, "bicubic", False, name)
    assert pixels.std(axis=(1, 2, 3)).min() > 5, "an image that shows nothing"
    if facts.masks:
        masks = arrays.masks(few, hashes, cache, 64, facts, name)[0].reshape(len(few), -1)
        assert [bool(mask.any()) for mask in masks] == [bool(item.label) for item in few]
        assert masks.mean() < 0.3


@pytest.mark.parametrize("name", COUNTS)
def test_phantom_patients_are_in_one_split(drawn, name: str) -> None:
    splits: dict[str, set[str]] = {}
    for item in drawn[name][2]:
        if item.patient is not None:
            splits.setdefault(item.patient, set()).add(item.split)
    assert bool(splits) == (name in ("nihchest", "octdl", "adni", "folder"))
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.parametrize("name", COUNTS)
def test_masks_have_the_size_of_their_image(drawn, name: str) -> None:
    with_masks = [item for item in drawn[name][2] if item.mask]
    assert len(with_masks) == (sum(pair[1] for pair in COUNTS[name]) if name in MASKED else 0)
    assert all(image_size(mask) == image_size(item.path) for item in with_masks for mask in item.mask or ())


@pytest.mark.parametrize("name", ["octdl", "visa"])
def test_a_phantom_is_the_same_each_time_and_its_name_tells_its_size(drawn, tmp_path: Path, cache, name: str) -> None:
    dataset, _, items = drawn[name]
    dataset.draw_phantom(tmp_path, SIZE)
    again = dataset.index(tmp_path)
    assert fingerprint(again, hash_items(again, cache, name)) == fingerprint(items, hash_items(items, cache, name))
    assert dataset.phantom_version() != opened("mvtec", category="bottle").phantom_version()


def test_phantoms_of_one_family_are_other_patients(drawn) -> None:
    pictures = [
        Image.open(item.path).resize((32, 32)).tobytes()
        for name in ("chexpert", "nihchest", "brainmri_kaggle", "adni", "folder")
        for item in drawn[name][2]
    ]
    assert max(Counter(pictures).values()) == 1


@pytest.mark.parametrize("name", COUNTS)
def test_bad_places_say_what_was_expected_and_found(tmp_path: Path, name: str) -> None:
    dataset = opened(name)
    with pytest.raises(DataError, match=r"data_root=.*nowhere is not a folder\. The folder of"):
        dataset.index(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    with pytest.raises(DataError, match=r"does not contain .*expected .*found letters in"):
        dataset.index(tmp_path)
    (tmp_path / dataset.config.folders[0]).mkdir()
    with pytest.raises(DataError, match=rf"found nothing in .*{dataset.config.folders[0]}"):
        dataset.index(tmp_path)


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened("octdl")
    done = []

    def write(folder: Path, counts: dict[str, int]):
        (folder / "half").write_text("x")
        done.append(1)
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "write", write)
    with pytest.raises(KeyboardInterrupt):
        dataset.draw_phantom(tmp_path)
    assert done
    assert not list(tmp_path.iterdir())
    dataset = opened("octdl")
    dataset.draw_phantom(tmp_path, {"test": 2})
    with pytest.raises(AdbenchError, match="OCTDL already exists. Remove it"):
        dataset.draw_phantom(tmp_path, {"test": 2})


def test_phantoms_that_are_there_are_one_sentence(adbench, tmp_path: Path) -> None:
    words = ["data", "phantom", "--root", tmp_path, "--dataset", "octdl", "--train", "1", "--valid", "2", "--test", "2"]
    assert adbench(*words).code == 0
    again = adbench(*words)
    assert again.code == 2
    assert "OCTDL already exists. Remove it to draw it again" in again.err
    assert "space" not in again.err


def test_two_folders_of_one_set_are_ambiguous(drawn, tmp_path: Path) -> None:
    for folder in ("NIHChest", "CXR8"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Data_Entry_2017.csv").write_text("x")
    with pytest.raises(DataError, match="CXR8 and NIHChest"):
        opened("nihchest").index(tmp_path)


@pytest.mark.parametrize(("name", "totals"), [("mvtec", (3629, 467, 1258)), ("visa", (8659, 962, 1200))])
def test_counts_of_the_categories_add_up_to_the_published_totals(name: str, totals: tuple[int, int, int]) -> None:
    tables = [facts["expected"] for facts in opened(name).config.categories.values()]
    assert np.sum([t["train"] for t in tables], 0).tolist() == [totals[0], 0]
    assert np.sum([t["test"] for t in tables], 0).tolist() == [totals[1], totals[2]]
