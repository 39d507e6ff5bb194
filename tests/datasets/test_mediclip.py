"""MediCLIP's layout and the owners' folders of its three sets, from files written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import arrays
from adbench.data.fingerprint import hash_items
from adbench.data.items import count
from adbench.errors import DataError
from tests.datasets.sets import facts_of, grey, index, read


def samples(root: Path, split: str, *rows: object) -> None:
    file = root / "samples" / f"{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    """MediCLIP's BUSI: two normal images to train on, one of each kind to test on."""
    root = tmp_path / "busi"
    for i, name in enumerate(["train/normal/normal_0", "train/normal/normal_1", "test/normal/normal_2"]):
        grey(root / "images" / f"{name}.jpg", i)
    grey(root / "images/test/abnormal/benign_0.jpg", 100)
    grey(root / "images/test/ground_true/benign_mask_0.jpg", 255)
    samples(root, "train", *({"filename": f"train/normal/normal_{i}.jpg", "label": 0} for i in (0, 1)))
    bad = {"filename": "test/abnormal/benign_0.jpg", "label": 1, "mask": "test/ground_true/benign_mask_0.jpg"}
    samples(root, "test", {"filename": "test/normal/normal_2.jpg", "label": 0, "clsname": "normal"}, "", bad)
    return root


def test_samples_give_splits_labels_masks_and_subgroups(busi: Path) -> None:
    items = index(busi.parent, "busi")
    assert [(i.id, i.label, i.subgroup) for i in items] == [
        ("train/normal/normal_0.jpg", 0, "normal"),
        ("train/normal/normal_1.jpg", 0, "normal"),
        ("test/normal/normal_2.jpg", 0, "normal"),
        ("test/abnormal/benign_0.jpg", 1, "benign"),
    ]
    assert [i.mask for i in items[:3]] == [None] * 3
    assert items[3].mask == (busi / "images/test/ground_true/benign_mask_0.jpg",)
    assert index(busi, "busi", masks=False)[3].mask is None


GOOD = {"filename": "test/normal/normal_2.jpg", "label": 0}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([GOOD, '{"filename": "a.jpg", "label": 0'], r"test\.json line 2 is not a JSON object: .* at character 33"),
        (["[1, 2]"], r"test\.json line 1 is a JSON list; an object with filename, label"),
        ([{"filename": "a.jpg"}], r"line 1 has no 'label'; it needs filename, label and has filename"),
        ([GOOD | {"label": 2}], r"line 1: the label 2 is not possible; 0 is normal and 1 abnormal"),
        ([{"filename": "gone.jpg", "label": 0}], r"line 1: there is no file gone\.jpg in .*images"),
        ([{"filename": "../samples/train.json", "label": 0}], r"line 1: \.\./samples/train\.json climbs out of"),
        ([{"filename": "/etc/a.jpg", "label": 0}], r"line 1: /etc/a\.jpg is an absolute path"),
        ([GOOD, GOOD], r"line 2 names test/normal/normal_2\.jpg again, as .*line 1 did"),
        ([{"filename": "test/abnormal/benign_0.jpg", "label": 1}], r"line 1: the abnormal image has no 'mask'"),
        ([GOOD | {"label": 1, "mask": "gone.png"}], r"line 1: there is no file gone\.png"),
    ],
)
def test_bad_lines_are_named(busi: Path, rows: list[object], says: str) -> None:
    samples(busi, "test", *rows)
    with pytest.raises(DataError, match=says) as caught:
        index(busi, "busi")
    assert "\n" not in str(caught.value)


def test_a_missing_list_is_named(busi: Path) -> None:
    (busi / "samples" / "test.json").unlink()
    with pytest.raises(DataError, match=r"test\.json does not exist"):
        index(busi, "busi")


def test_busi_of_its_owner_joins_several_masks(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "Dataset_BUSI_with_GT"
    for number, name in enumerate(("normal", "benign", "malignant")):
        for i in (1, 2, 3, 4):
            grey(root / name / f"{name} ({i}).png", 10 * number + i)
            left = np.zeros((8, 8), np.uint8)
            left[2:4, 0:3] = 255 * (name != "normal")
            Image.fromarray(left).save(root / name / f"{name} ({i})_mask.png")
    right = np.zeros((8, 8), np.uint8)
    right[3:6, 6:8] = 130  # noisy, above the threshold
    right[7, 7] = 127  # not above it
    Image.fromarray(right).save(root / "malignant" / "malignant (2)_mask_1.png")

    items = index(tmp_path, "busi", split_shares=[0, 0, 1])
    assert [count(items, split) for split in ("train", "valid", "test")] == [(0, 0), (0, 0), (4, 8)]
    assert {i.subgroup for i in items if i.label} == {"benign", "malignant"}
    assert all(i.mask is None for i in items if not i.label), "a normal image has an empty mask file: not a lesion"
    double = next(i for i in items if i.id == "test/abnormal/malignant (2).png")
    assert [path.name for path in double.mask or ()] == ["malignant (2)_mask.png", "malignant (2)_mask_1.png"]
    facts = facts_of("busi")
    (mask,), _ = arrays.masks([double], hash_items([double], cache, "busi"), cache, 8, facts, "x")
    assert mask.sum() == 6 + 6
    assert mask[2, 0] == mask[5, 7] == 1
    assert mask[7, 7] == 0

    (root / "benign" / "benign (3)_mask.png").unlink()
    with pytest.raises(DataError, match=r"benign \(3\)\.png has no mask: expected benign \(3\)_mask\.\* next to it"):
        index(tmp_path, "busi")


def test_kaggle_brain_mri_of_its_owner_is_dealt_and_its_copies_left_aside(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for i in range(12):
        grey(root / "no" / f"N{i}.jpg", i)
        grey(root / "yes" / f"Y{i}.JPG", 100 + i)
        grey(root / "brain_tumor_dataset" / "no" / f"N{i}.jpg", i)
    items = index(root, "brainmri_kaggle")
    assert len(items) == 24
    assert [count(items, split) for split in ("train", "valid", "test")] == [(4, 4), (0, 0), (8, 8)]
    assert index(root, "brainmri_kaggle") == items


FINDINGS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)


def film(root: Path, split: str, patient: int, view: str, **values: str) -> str:
    path = f"{split}/patient{patient:05d}/study1/view1_{view.lower()}.jpg"
    grey(root / path, patient)
    columns = [values.get(name.replace(" ", "_"), "") for name in FINDINGS.split(",")]
    return ",".join([f"CheXpert-v1.0-small/{path}", view, *columns])


def test_chexpert_of_stanford_reads_frontal_films_of_either_class(tmp_path: Path) -> None:
    root = tmp_path / "CheXpert-v1.0"  # called otherwise than in its table
    header = f"Path,Frontal/Lateral,{FINDINGS}"
    train = [
        film(root, "train", 1, "Frontal", No_Finding="1.0"),
        film(root, "train", 2, "Lateral", No_Finding="1.0"),
        film(root, "train", 3, "Frontal", Edema="1.0", Pneumonia="-1.0", Fracture="1.0"),
        film(root, "train", 4, "Frontal", Edema="-1.0"),
        film(root, "train", 5, "Frontal", Support_Devices="1.0"),
        film(root, "train", 6, "Frontal", No_Finding="1.0", Edema="1.0"),
        film(root, "train", 7, "Frontal", No_Finding="1.0", Support_Devices="1.0"),
    ]
    valid = [film(root, "valid", 8, "Frontal", Cardiomegaly="1.0", No_Finding="0.0")]
    (root / "train.csv").write_text("\n".join([header, *train]) + "\n")
    (root / "valid.csv").write_text("\n".join([header, *valid]) + "\n")
    items = index(tmp_path, "chexpert")
    assert [(i.split, i.label, i.patient, i.subgroup) for i in items] == [
        ("train", 0, "patient00001", None),
        ("train", 1, "patient00003", "Edema|Fracture"),
        ("train", 0, "patient00007", None),
        ("test", 1, "patient00008", "Cardiomegaly"),
    ]
    assert items[1].id == "train/abnormal/patient00003/study1/view1_frontal.jpg"
    assert read(tmp_path, "chexpert")[1] == ["train.csv: 1 film from the side and 3 of neither class are left out."]
    (root / "valid.csv").write_text("\n".join([header, valid[0].replace(",1.0,", ",yes,")]) + "\n")
    with pytest.raises(DataError, match=r"valid\.csv row 2: Cardiomegaly is 'yes'; 1, 0, -1 and empty are possible"):
        index(tmp_path, "chexpert")
    (root / "valid.csv").write_text("Path,Frontal/Lateral,No Finding\nx,Frontal,1\n")
    with pytest.raises(DataError, match=r"valid\.csv has no column Enlarged Card.*Fracture; its columns are"):
        index(tmp_path, "chexpert")
