"""The cross-dataset targets from files written by hand: NIH ChestX-ray14, OCTDL, ADNI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adbench.data import arrays
from adbench.data.decode import read_image
from adbench.data.fingerprint import hash_items
from adbench.data.items import count
from adbench.datasets.adni import middle_slice
from adbench.errors import DataError
from tests.datasets.sets import grey, index


@pytest.fixture
def nih(tmp_path: Path) -> Path:
    root = tmp_path / "NIHChest"
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID"]
    for i, findings in enumerate(["No Finding", "Mass|Nodule", "No Finding", "Hernia"]):
        grey(root / f"images_{1 + i % 2:03d}" / "images" / f"0000000{i}_000.png", i)
        rows.append(f"0000000{i}_000.png,{findings},0,{i // 2}")
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    (root / "train_val_list.txt").write_text("00000000_000.png\n00000001_000.png\n")
    (root / "test_list.txt").write_text("00000002_000.png\n00000003_000.png")
    return root


def test_nih_follows_the_official_lists(nih: Path) -> None:
    assert [(i.id, i.label, i.patient, i.subgroup) for i in index(nih.parent, "nihchest")] == [
        ("train/normal/00000000_000.png", 0, "0", "No Finding"),
        ("train/abnormal/00000001_000.png", 1, "0", "Mass|Nodule"),
        ("test/normal/00000002_000.png", 0, "1", "No Finding"),
        ("test/abnormal/00000003_000.png", 1, "1", "Hernia"),
    ]


def test_findings_of_nih_may_be_written_otherwise_but_not_left_out(nih: Path) -> None:
    table = nih / "Data_Entry_2017_v2020.csv"
    text = table.read_text()
    table.write_text(text.replace("No Finding", "no finding "))
    assert [(i.label, i.subgroup) for i in index(nih.parent, "nihchest")][::2] == [(0, "No Finding")] * 2
    for findings in ("", "Mass|", "No Finding|Mass"):
        table.write_text(text.replace("Mass|Nodule", findings))
        with pytest.raises(DataError, match=r"row 3: the findings '.*' of 00000001_000\.png are not possible"):
            index(nih.parent, "nihchest")


def test_bad_input_of_nih_is_named(nih: Path) -> None:
    lists = nih / "test_list.txt"
    for text, says in (
        ("00000009_000.png\n", r"test_list\.txt line 1 names 00000009_000\.png, which has no row in .*v2020\.csv"),
        (
            "00000002_000.png\n00000000_000.png\n",
            r"test_list\.txt line 2 names 00000000_000\.png again, as .* line 1",
        ),
    ):
        lists.write_text(text)
        with pytest.raises(DataError, match=says):
            index(nih, "nihchest")
    lists.write_text("00000003_000.png\n")
    (nih / "images_002" / "images" / "00000003_000.png").unlink()
    with pytest.raises(DataError, match=r"which is in no images folder; 3 images are there.*dataset=folder"):
        index(nih, "nihchest")
    lists.unlink()
    with pytest.raises(DataError, match=r"test_list\.txt does not exist; the official split"):
        index(nih, "nihchest")
    table = nih / "Data_Entry_2017_v2020.csv"
    table.write_text(table.read_text() + "00000000_000.png,Mass,0,0\n")
    with pytest.raises(DataError, match=r"v2020\.csv row 6 names 00000000_000\.png again, as row 2 did"):
        index(nih, "nihchest")


@pytest.fixture
def octdl(tmp_path: Path) -> Path:
    root = tmp_path / "OCTDL"
    rows = ["file_name,disease,subcategory,condition,patient_id,eye"]
    for patient in range(8):
        disease = "NO" if patient < 4 else "RVO"
        for n in (1, 2):
            name = f"{disease.lower()}_{patient}_{n}"
            grey(root / disease / f"{name}.jpg", 10 * patient + n)
            rows.append(f"{name},{disease},,,{patient},OD")
    (root / "OCTDL_labels.csv").write_text("\n".join(rows) + "\n")
    return root


def test_octdl_is_one_test_split_unless_shares_are_asked_for(octdl: Path) -> None:
    items = index(octdl.parent, "octdl")
    assert [count(items, split) for split in ("train", "valid", "test")] == [(0, 0), (0, 0), (8, 8)]
    assert {i.subgroup for i in items if i.label} == {"RVO"}
    dealt = index(octdl, "octdl", split_shares=[0.5, 0, 0.5])
    assert [count(dealt, split) for split in ("train", "valid", "test")] == [(4, 4), (0, 0), (4, 4)]
    trained = {i.patient for i in dealt if i.split == "train"}
    assert not trained & {i.patient for i in dealt if i.split == "test"}


def test_bad_input_of_octdl_is_named(octdl: Path) -> None:
    table = octdl / "OCTDL_labels.csv"
    before = table.read_text()
    table.write_text(before.replace("no_0_1,NO", "no_0_1,AMD"))
    with pytest.raises(DataError, match=r"OCTDL_labels\.csv row 2 says AMD of .*no_0_1\.jpg, which is in NO/"):
        index(octdl, "octdl")
    table.write_text(before.replace("no_0_1,NO", "no_0_1,FLU"))
    with pytest.raises(DataError, match=r"row 2: unknown disease 'FLU'\. Allowed: AMD"):
        index(octdl, "octdl")
    table.write_text(before + "no_0_1,NO,,,0,OD\n")
    with pytest.raises(DataError, match=r"row 18 names no_0_1 again, as row 2 did"):
        index(octdl, "octdl")
    table.write_text(before.replace("no_0_1,NO,,,0,OD\n", ""))
    with pytest.raises(DataError, match=r"no_0_1\.jpg has no row in .*OCTDL_labels\.csv; its patient is unknown"):
        index(octdl, "octdl")


@pytest.fixture
def adni(tmp_path: Path) -> Path:
    root = tmp_path / "ADNI"
    rows = ['"Image Data ID","Subject","Group","Sex"']
    for n, group in enumerate(["CN", "AD", "MCI"]):
        subject = f"002_S_000{n}"
        for number in (2, 10, 9, 1, 30):
            name = f"ADNI_{subject}_MR_MP-RAGE__br_raw_20060418201311245_{number}_S13408_I{n}.png"
            grey(root / subject / "MP-RAGE" / "2006-04-18" / f"I{n}" / name, number)
        rows.append(f'"I{n}","{subject}","{group}","F"')
    (root / "collection.csv").write_text("\n".join(rows) + "\n")
    return root


def test_adni_takes_the_middle_slice_of_normal_and_alzheimer_volumes(adni: Path) -> None:
    items = index(adni.parent, "adni")
    assert [(i.label, i.patient, i.subgroup) for i in items] == [(1, "002_S_0001", "AD"), (0, "002_S_0000", "CN")]
    assert "_9_S13408" in items[0].path.name, "of 1, 2, 9, 10, 30, in the order of numbers, not of letters"


def test_adni_reads_dicom_as_it_is_delivered(tmp_path: Path, adni: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    for path in adni.rglob("*.png"):
        number = int(path.stem.split("_")[-3])
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.{number}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.WindowCenter, data.WindowWidth = 1000.5, 2001
        data.PixelData = np.full((4, 4), 100 * number, np.uint16).tobytes()
        data.save_as(path.with_suffix(".dcm"), enforce_file_format=True)
        path.unlink()
    ill, healthy = index(adni.parent, "adni")
    assert healthy.path.name == "ADNI_002_S_0000_MR_MP-RAGE__br_raw_20060418201311245_9_S13408_I0.dcm"
    assert read_image(healthy.path, 4).tolist() == [[[115] * 3] * 4] * 4  # 900 of 2000
    hashes = hash_items([ill, healthy], tmp_path / "cache", "adni")
    assert arrays.images([healthy], hashes, tmp_path / "cache", 2, "bicubic", False, "x").tolist() == [
        [[[115] * 3] * 2] * 2
    ]


def test_bad_input_of_adni_is_named(adni: Path) -> None:
    volume = adni / "002_S_0000" / "MP-RAGE" / "2006-04-18" / "I0"
    grey(volume / "first slice.png")
    with pytest.raises(DataError, match=r"first slice\.png has no slice number in its name"):
        index(adni, "adni")
    for path in volume.iterdir():
        path.unlink()
    (volume / "brain.nii").write_text("x")
    with pytest.raises(DataError, match=r"I0 holds no DICOM slices\. NIfTI volumes"):
        middle_slice(volume)
    (volume / "brain.nii").unlink()
    volume.rmdir()
    with pytest.raises(DataError, match=r"collection\.csv row 2: there is no folder 002_S_0000/\*/\*/I0"):
        index(adni, "adni")
    (adni / "other.csv").write_text("x")
    with pytest.raises(DataError, match=r"holds 2 tables, collection\.csv and other\.csv.*table=collection\.csv"):
        index(adni, "adni")
    with pytest.raises(DataError, match=r"there is no folder"):
        index(adni, "adni", table="collection.csv")
