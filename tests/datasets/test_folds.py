"""Cross-validation over images without splits: every image is tested once, patients stay whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.data.indexed import dataset_config
from adbench.data.items import DatasetConfig, Item, count
from adbench.datasets.splits import fold_numbers, splits_of
from adbench.errors import AdbenchError, DataError


def rows(label: int, patients: list[str]) -> list[Item]:
    state = ("normal", "abnormal")[label]
    return [Item(f"test/{state}/{i:02d}.png", "test", label, Path("x"), None, p) for i, p in enumerate(patients)]


def config(folds: int | None, fold: int | None, seed: int = 0) -> DatasetConfig:
    return DatasetConfig("t", "o", support_split="train", folds=folds, fold=fold, split_seed=seed)


# 14 patients: p0 to p3 have images of both classes, the numbers of images differ.
ITEMS = rows(0, [f"p{i % 4}" for i in range(9)] + [f"n{i // 3}" for i in range(15)]) + rows(
    1, [f"p{i % 4}" for i in range(6)] + [f"a{i // 2}" for i in range(10)]
)


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (5, 0), (5, 1), (9, 3)])
def test_each_image_is_tested_once_and_each_patient_is_whole_in_every_fold(folds: int, seed: int) -> None:
    parts = [splits_of(ITEMS, config(folds, fold, seed)) for fold in range(folds)]
    tested = [item.id for part in parts for item in part if item.split == "test"]
    assert sorted(tested) == sorted(item.id for item in ITEMS)
    for part in parts:
        assert {item.split for item in part} == {"train", "test"}
        assert {item.id.partition("/")[0] for item in part if item.split == "train"} == {"train"}
        assert min(count(part, "test")) > 0
        assert len(part) == len(ITEMS)
        people = {split: {i.patient for i in part if i.split == split} for split in ("train", "test")}
        assert not people["train"] & people["test"]


def test_classes_are_spread_evenly() -> None:
    items = rows(0, [f"n{i}" for i in range(20)]) + rows(1, [f"a{i}" for i in range(10)])
    numbers = fold_numbers(items, 5, 0)
    for fold in range(5):
        labels = [item.label for item in items if numbers[item.id] == fold]
        assert (labels.count(0), labels.count(1)) == (4, 2)


def test_folds_depend_on_seed_and_patients_alone() -> None:
    first = fold_numbers(ITEMS, 3, 0)
    assert fold_numbers(ITEMS[::-1], 3, 0) == first
    assert fold_numbers(ITEMS, 3, 1) != first


def test_equal_files_without_a_patient_share_a_fold(tmp_path: Path) -> None:
    items = []
    for i in range(12):
        path = tmp_path / f"{i}.png"
        path.write_bytes(bytes([i // 3]) * 50)  # three copies each
        items.append(Item(f"test/{'abnormal' if i >= 6 else 'normal'}/{i}.png", "test", int(i >= 6), path))
    numbers = fold_numbers(items, 2, 0)
    for copy in range(4):
        assert len({numbers[item.id] for item in items[3 * copy : 3 * copy + 3]}) == 1
    with pytest.raises(DataError, match=r"folds=3 is more than the 2 patients with normal.*At most dataset\.folds=2"):
        fold_numbers(items, 3, 0)


def test_more_folds_than_patients_of_a_class_are_refused_even_with_many_images() -> None:
    items = rows(0, [f"n{i}" for i in range(20)]) + rows(1, ["a"] * 15)
    with pytest.raises(DataError, match=r"folds=2 is more than the 1 patient with abnormal .* no cross-validation"):
        fold_numbers(items, 2, 0)


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        (1, 0, "at least 2"),
        (5, 5, "the folds 0 to 4"),
        (5, -1, "the folds 0 to 4"),
    ],
)
def test_impossible_folds_are_named(folds: int | None, fold: int, message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        config(folds, fold)


def test_folds_exclude_shares_and_a_valid_support() -> None:
    with pytest.raises(AdbenchError, match="folds and dataset.split_shares exclude each other"):
        dataset_config("folder", {"folds": 5, "fold": 0, "split_shares": [0.5, 0, 0.5]})
    with pytest.raises(AdbenchError, match=r"support_split=valid has no images with dataset\.folds=5"):
        dataset_config("folder", {"folds": 5, "fold": 0, "support_split": "valid"})
    with pytest.raises(AdbenchError, match=r"give their number, as in dataset\.folds=5"):
        dataset_config("folder", {"fold": 0})
    with pytest.raises(AdbenchError, match=r"dataset\.folds has no effect on brainmri"):
        dataset_config("brainmri", {"folds": 5, "fold": 0})
    with pytest.raises(AdbenchError, match=r"dataset\.fold=0 to 4 names one"):
        splits_of(ITEMS, config(5, None))
