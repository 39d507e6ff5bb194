from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import arrays
from adbench.data.fingerprint import fingerprint, hash_items
from adbench.data.items import DatasetConfig, Item, count
from adbench.data.splits import of_split
from adbench.errors import DataError
from tests.datasets.sets import facts_of, grey, opened, read


def index(root: Path, name: str = "brainmri", **changes: object) -> tuple[list[Item], DatasetConfig]:
    dataset = opened(name, **changes)
    return dataset.index(root), dataset.config


def as_archive(root: Path) -> None:
    """Masks in `label`, and a train split without the `img` level."""
    brain = root / "Brain"
    for split in ("valid", "test"):
        (brain / split / "Ungood" / "anomaly_mask").rename(brain / split / "Ungood" / "label")
        for folder in ("good", "Ungood"):
            for path in (brain / split / folder / "img").iterdir():
                path.rename(brain / split / folder / path.name)
            (brain / split / folder / "img").rmdir()


def as_mvfa(root: Path) -> None:
    (root / "Brain").rename(root / "Brain_AD")


def as_drive(root: Path) -> None:
    """BraTS2021_slice below Brain_AD, with masks of normal images too, `val`, and letter case as it comes."""
    (root / "Brain_AD").mkdir()
    (root / "Brain").rename(root / "Brain_AD" / "BraTS2021_Slice")
    base = root / "Brain_AD" / "BraTS2021_Slice"
    (base / "valid").rename(base / "Val")
    for split in ("Val", "test"):
        (base / split / "Ungood").rename(base / split / "ungood")
        (base / split / "ungood" / "anomaly_mask").rename(base / split / "ungood" / "Label")
        shutil.copytree(base / split / "good" / "img", base / split / "good" / "label")


def as_turned(root: Path) -> None:
    """The class folders below img/ and label/, two folders down."""
    base = root / "Brain" / "Train" / "slices"
    base.mkdir(parents=True)
    for split in ("valid", "test"):
        (root / "Brain" / split).rename(base / f"{split}_old")
        for new, old in (
            ("img/good", "good/img"),
            ("img/Ungood", "Ungood/img"),
            ("label/Ungood", "Ungood/anomaly_mask"),
        ):
            (base / split / new).parent.mkdir(parents=True, exist_ok=True)
            (base / f"{split}_old" / old).rename(base / split / new)
        shutil.rmtree(base / f"{split}_old")


@pytest.mark.parametrize("change", [lambda _: None, as_archive, as_mvfa, as_drive, as_turned])
def test_every_layout_gives_the_same_items_and_fingerprint(tiny: Path, cache: Path, change) -> None:
    before, _ = index(tiny)
    first = fingerprint(before, hash_items(before, cache, "brainmri"))
    change(tiny)
    after, _ = index(tiny)
    assert [i.id for i in after] == [i.id for i in before]
    assert all(i.mask is not None for i in after if i.label)
    assert fingerprint(after, hash_items(after, cache, "brainmri")) == first


def test_splits_classes_and_patients(tiny: Path) -> None:
    items, _ = index(tiny)
    assert [count(items, split) for split in ("train", "valid", "test")] == [(0, 0), (6, 6), (5, 5)]
    assert {i.patient for i in items if i.split == "valid"} == {"00000", "00001", "00010", "00011"}


@pytest.mark.parametrize(
    ("name", "stem", "patient"),
    [
        ("brainmri", "01388_60", "01388"),
        ("liverct", "4_487", "4"),
        ("resc", "9_28", "9"),
        ("oct17", "CNV-6294785-1", "6294785"),
        ("oct17", "0003_2", "0003"),
        ("chestxray", "Lung_Opacity_000fe35a-2649-43d4-b027-e67796d412e0", None),
        ("his", "1015", None),
    ],
)
def test_patients_come_from_real_file_names(tmp_path: Path, name: str, stem: str, patient: str | None) -> None:
    root = tmp_path / facts_of(name).folders[0]
    for split in ("valid", "test"):
        for folder in ("good", "Ungood"):
            grey(root / split / folder / f"{stem}.png")
    items, _ = index(tmp_path, name, masks=False)
    assert {i.patient for i in items} == {patient}


@pytest.mark.parametrize(("name", "alias"), [("resc", "RESC"), ("chestxray", "Chest-RSNA"), ("oct17", "OCT2017_AD")])
def test_folder_aliases(tiny: Path, name: str, alias: str) -> None:
    (tiny / "Brain").rename(tiny / alias)
    assert len(index(tiny, name, masks=False)[0]) == 22
    assert len(index(tiny / alias, name, masks=False)[0]) == 22, "the folder itself may be given"


def test_a_missing_empty_or_other_folder_says_what_was_expected_and_found(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_root=.*nowhere is not a folder"):
        index(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="in a folder called Brain or Brain_AD or .*; found nothing"):
        index(tmp_path / "empty")
    with pytest.raises(DataError, match="a folder called Liver or Liver_AD.*; found Brain"):
        index(tiny, "liverct")
    with pytest.raises(DataError, match=r"does not contain .*Liver.* found .* in .*Brain\."):
        index(tiny / "Brain", "liverct")  # all six look alike: the name tells
    shutil.rmtree(tiny / "Brain" / "test")
    with pytest.raises(DataError, match=r"found images in the splits \['valid'\]"):
        index(tiny)


def test_two_folders_of_one_set_are_ambiguous(tiny: Path) -> None:
    shutil.copytree(tiny / "Brain", tiny / "Brain_AD")
    with pytest.raises(DataError, match="Brain and Brain_AD"):
        index(tiny)


@pytest.mark.parametrize("name", [".", "..", "../../data/Brain"])
def test_the_folder_may_be_where_one_stands(tiny: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tiny / "Brain")
    assert len(index(Path(name))[0]) == 22


def test_the_archive_or_the_folder_in_it_may_be_given(tiny: Path) -> None:
    as_drive(tiny)
    for root in (tiny, tiny / "Brain_AD", tiny / "Brain_AD" / "BraTS2021_Slice"):
        assert len(index(root)[0]) == 22
    shutil.copytree(tiny / "Brain_AD" / "BraTS2021_Slice", tiny / "Brain_AD" / "again")
    with pytest.raises(DataError, match="Brain_AD holds BraTS2021_Slice and again, both of which are brainmri"):
        index(tiny / "Brain_AD")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("valid", "val", "/valid and .*/val both hold valid images"),
        ("test/good", "test/Good", "/Good and .*/good both hold good images"),
        ("test/good/img", "test/img/good", "test/good and .*test/img/good both hold test images of good"),
    ],
)
def test_a_split_or_class_in_two_folders_is_refused(tiny: Path, old: str, new: str, says: str) -> None:
    shutil.copytree(tiny / "Brain" / old, tiny / "Brain" / new)
    with pytest.raises(DataError, match=says):
        index(tiny)


def test_images_next_to_the_folder_of_images_are_named(tiny: Path) -> None:
    place = tiny / "Brain" / "test" / "good"
    shutil.copy(next((place / "img").iterdir()), place / "stray.png")
    items, notes = read(tiny, "brainmri")
    assert len(items) == 22
    assert notes == ["1 image in Brain/ is not read: 1 in test/good/, for example stray.png."]


def test_a_test_split_of_one_class_is_refused(tiny: Path) -> None:
    shutil.rmtree(tiny / "Brain" / "test" / "good")
    with pytest.raises(DataError, match="0 normal and 5 abnormal"):
        of_split(index(tiny)[0], "test", "brainmri", tiny)


def mask_of(root: Path) -> Path:
    return sorted((root / "Brain" / "test" / "Ungood" / "anomaly_mask").iterdir())[0]


def decode_masks(root: Path, cache: Path, **changes: object) -> np.ndarray:
    items, facts = index(root, **changes)
    test = of_split(items, "test", "brainmri", root)
    return arrays.masks(test, hash_items(items, cache, "brainmri"), cache, 16, facts, "test")[0]


def test_a_missing_mask_is_named(tiny: Path) -> None:
    mask_of(tiny).unlink()
    with pytest.raises(DataError, match=r"00110_60\.png has no mask.*dataset\.masks=false"):
        index(tiny)


@pytest.mark.parametrize("name", ["label/00110_60.png", "anomaly_mask/00110_60.bmp"])
def test_two_masks_of_one_image_are_an_error(tiny: Path, name: str) -> None:
    second = tiny / "Brain" / "test" / "Ungood" / name
    second.parent.mkdir(exist_ok=True)
    shutil.copy(mask_of(tiny), second)
    with pytest.raises(DataError, match=r"img/00110_60\.png has 2 masks, .*anomaly_mask.* and .*Keep one of them"):
        index(tiny)
    assert len(index(tiny, masks=False)[0]) == 22


def test_an_empty_mask_is_named_and_can_be_allowed(tiny: Path, cache: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(mask_of(tiny))
    with pytest.raises(DataError, match=r"00110_60\.png of an abnormal image is empty.*dataset\.empty_masks=allow"):
        decode_masks(tiny, cache)
    assert decode_masks(tiny, cache, empty_masks="allow")[5].sum() == 0


def test_a_mask_of_another_size_is_named(tiny: Path, cache: Path) -> None:
    Image.fromarray(np.full((32, 30), 255, np.uint8)).save(mask_of(tiny))
    with pytest.raises(DataError, match="is 30 x 32 pixels"):
        decode_masks(tiny, cache)


def test_masks_of_normal_images_are_empty_and_of_abnormal_ones_are_not(tiny: Path, cache: Path) -> None:
    masks = decode_masks(tiny, cache)
    assert masks.shape == (10, 16, 16)
    assert masks[:5].sum() == 0
    assert (masks[5:].reshape(5, -1).sum(1) > 0).all()
