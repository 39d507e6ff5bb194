"""The user's own images, in folders and in tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.config import layers
from adbench.data.items import DatasetConfig, Item, count, decide_masks
from adbench.errors import DataError
from adbench.plugins import registry


def facts_of(**changes: object) -> DatasetConfig:
    facts: DatasetConfig = layers.section(DatasetConfig, "dataset", "folder")
    for key, value in changes.items():
        setattr(facts, key, value)
    return facts


def index(root: Path, **changes: object) -> list[Item]:
    return registry.find("dataset", "folder").load()("folder", facts_of(**changes)).index(root)


def picture(path: Path, seed: int, size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 200, (size, size), dtype=np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """No splits: patients as folders, three formats, masks under the images' paths, one in two files."""
    for patient in range(8):
        place, number = ("normal", patient) if patient < 4 else ("abnormal", patient)
        for n, ending in enumerate(("png", "bmp", "tif")):
            picture(tmp_path / place / f"p{number}" / f"s{n}.{ending}", 10 * patient + n)
            if place == "abnormal":
                picture(tmp_path / "masks" / f"p{number}" / f"s{n}_mask.png", 0)
    picture(tmp_path / "masks" / "p4" / "s0_mask_1.png", 1)
    (tmp_path / "normal" / "notes.txt").write_text("no image")
    picture(tmp_path / "normal" / ".hidden.png", 999)
    return tmp_path


def test_folders_without_splits_are_dealt_by_patient(folders: Path) -> None:
    items = index(folders, patient_pattern="^(?P<patient>[^/]+)/")
    assert [count(items, split) for split in ("train", "valid", "test")] == [(6, 6), (0, 0), (6, 6)]
    patients = [{i.patient for i in items if i.split == split} for split in ("train", "test")]
    assert [len(found) for found in patients] == [4, 4]
    assert not patients[0] & patients[1]
    other = index(folders, patient_pattern="^(?P<patient>[^/]+)/", split_seed=1)
    assert {i.patient for i in other if i.split == "train"} != patients[0]


def test_masks_pair_by_path_and_are_a_union(folders: Path) -> None:
    items = index(folders)
    by_name = {i.id.partition("abnormal/")[2]: i for i in items if i.label}
    assert [p.name for p in by_name["p4/s0.png"].mask or ()] == ["s0_mask.png", "s0_mask_1.png"]
    assert by_name["p5/s0.png"].mask == (folders / "masks" / "p5" / "s0_mask.png",)
    assert decide_masks(facts_of(), items).masks is True
    (folders / "masks" / "p5" / "s1_mask.png").unlink()
    with pytest.raises(DataError, match=r"p5/s1\.bmp has no mask, one of 1 of 12"):
        decide_masks(facts_of(), index(folders))
    with pytest.raises(DataError, match=r"p5/s1\.bmp has no mask: expected p5/s1\.\* in masks/ or .*masks=false"):
        index(folders, masks=True)
    assert all(i.mask is None for i in index(folders, masks=False))


def test_a_split_depends_on_content_and_not_on_place_or_file_order(
    folders: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {i.id for i in index(folders)}
    moved = tmp_path_factory.mktemp("elsewhere") / "deep" / "set"
    moved.parent.mkdir()
    folders.rename(moved)
    genuine = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(genuine(self), reverse=True)))
    assert {i.id for i in index(moved)} == first


def test_copies_of_an_image_stay_together(tmp_path: Path) -> None:
    for i in range(20):
        picture(tmp_path / "normal" / f"{i}.png", i)
        (tmp_path / "normal" / f"copy of {i}.png").write_bytes((tmp_path / "normal" / f"{i}.png").read_bytes())
        picture(tmp_path / "abnormal" / f"{i}.png", 100 + i)
    items = index(tmp_path)
    splits = {i.path.name: i.split for i in items if not i.label}
    assert {splits[f"{i}.png"] == splits[f"copy of {i}.png"] for i in range(20)} == {True}
    assert count(items, "train") == (20, 10)


def test_split_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    for n, split in enumerate(("train", "Val", "test")):
        picture(tmp_path / split / "good" / f"{n}.png", n)
        picture(tmp_path / split / "Ungood" / f"{n}.png", 10 + n)
    items = index(tmp_path)
    assert {(i.split, i.label) for i in items} == {(s, label) for s in ("train", "valid", "test") for label in (0, 1)}
    picture(tmp_path / "normal" / "x.png", 99)
    with pytest.raises(DataError, match="holds both normal/ and .*/. Put all class folders into splits, or none"):
        index(tmp_path)


def test_a_patient_in_two_split_folders_is_an_error_unless_accepted(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "normal" / f"p1_{split}.png", 1)
        picture(tmp_path / split / "abnormal" / f"{split}_2.png", 2)
    pattern = "^(?P<patient>p1)_"
    with pytest.raises(DataError, match=r"p1_train\.png: patient p1 is in train here and in test by .*p1_test\.png"):
        index(tmp_path, patient_pattern=pattern)
    assert len(index(tmp_path, patient_pattern=pattern, allow_patient_overlap=True)) == 4


def test_a_split_folder_without_classes_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "test" / "normal" / "a.png", 1)
    picture(tmp_path / "train" / "sick" / "a.png", 1)
    with pytest.raises(DataError, match=r"train contains no normal/ or abnormal/ folder; found sick"):
        index(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a", "b", "c", "d"):
        picture(tmp_path / "scans" / f"{name}.png", ord(name))
        picture(tmp_path / "lesions" / f"{name}.png", 0)
    return tmp_path


HEADER = "path,label,split,mask,patient,subgroup"
GOOD = [
    "scans/a.png,normal,train,,p1,",
    "scans/b.png,1,train,lesions/a.png; lesions/b.png,p2,cyst",
    "scans/c.png,0,test,,p3,",
    "scans/d.png,Abnormal,test,lesions/d.png,p4,mass",
]


def write(root: Path, *rows: str, header: str = HEADER) -> None:
    (root / "images.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_a_table_says_everything(table: Path) -> None:
    write(table, *GOOD)
    items = index(table)
    assert [(i.id, i.label, i.patient, i.subgroup) for i in items] == [
        ("train/normal/scans/a.png", 0, "p1", None),
        ("train/abnormal/scans/b.png", 1, "p2", "cyst"),
        ("test/normal/scans/c.png", 0, "p3", None),
        ("test/abnormal/scans/d.png", 1, "p4", "mass"),
    ]
    assert items[1].mask == (table / "lesions/a.png", table / "lesions/b.png")
    assert all(i.mask is None for i in index(table, masks=False))


def test_a_table_without_splits_is_dealt_and_other_columns_are_welcome(table: Path) -> None:
    rows = [f"scans/{n}.png,{label},{age}" for n, label, age in (("a", 0, 61), ("b", 0, 40), ("c", 1, 9), ("d", 1, 33))]
    write(table, *rows, header="path,label,age")
    items = index(table)
    assert [count(items, split) for split in ("train", "valid", "test")] == [(1, 1), (0, 0), (1, 1)]


def test_a_table_of_another_name_and_place(table: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("lists") / "study.csv"
    elsewhere.write_text("\ufeff" + "\n".join([HEADER, *GOOD]), encoding="utf-8")
    assert len(index(table, table=str(elsewhere))) == 4
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        index(table, table="gone.csv")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], r"images\.csv has no rows"),
        (["scans/a.png,sick,test,,,"], r"images\.csv row 2: unknown label 'sick'.*Allowed: 0, 1, abnormal, normal"),
        (["scans/a.png,0,tset,,,"], r"row 2: unknown split 'tset': did you mean 'test'"),
        (["../a.png,0,test,,,"], r"row 2: \.\./a\.png climbs out of"),
        (["scans/../../a.png,0,test,,,"], r"row 2: scans/\.\./\.\./a\.png climbs out of"),
        (["/data/a.png,0,test,,,"], r"row 2: /data/a\.png is an absolute path.*dataset\.allow_absolute_paths=true"),
        (["C:\\data\\a.png,0,test,,,"], r"row 2: C:\\data\\a\.png is an absolute path"),
        (["scans/x.png,0,test,,,"], r"row 2: there is no file scans/x\.png in"),
        (["scans,0,test,,,"], r"row 2: there is no file scans in"),
        ([",0,test,,,"], r"row 2: the path is empty"),
        ([GOOD[0], GOOD[0]], r"row 3 names scans/a\.png again, as row 2 did"),
        ([GOOD[0], "scans/b.png,0,,,,"], r"row 3 has no split, while row 2 has one"),
        (["scans/a.png,0,test,lesions/a.png,,"], r"row 2: a normal image has a mask, lesions/a\.png"),
        (["scans/a.png,1,test,lesions/x.png,,"], r"row 2: there is no file lesions/x\.png"),
        (["scans/a.png,0,test"], r"row 2 has 3 values for 6 columns"),
        (['"scans/a.png,0,test,,,'], r"row \d is not readable CSV"),
        ([*GOOD, "scans/../lesions/c.png,0,test,,p2,"], r"row 6: patient p2 is in test here and in train by .*row 3"),
    ],
)
def test_bad_rows_are_named(table: Path, rows: list[str], says: str) -> None:
    write(table, *rows)
    with pytest.raises(DataError, match=says) as caught:
        index(table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("path,lable,split,mask,patient,subgroup", r"images\.csv has no column label; its columns are path, lable"),
        ("path,label,label,mask,patient,subgroup", r"has two columns called label"),
        ("path,label,split,mask,patient_id,subgroup", r"has a column 'patient_id'; is it meant to be 'patient'"),
    ],
)
def test_bad_headers_are_named(table: Path, header: str, says: str) -> None:
    write(table, *GOOD, header=header)
    with pytest.raises(DataError, match=says):
        index(table)


def test_what_is_refused_can_be_allowed(table: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "a.png"
    picture(outside, 5)
    write(table, *GOOD, f"{outside},0,test,,p1,")
    items = index(table, allow_absolute_paths=True, allow_patient_overlap=True)
    assert items[-1].id == "test/normal/a.png"
    other = outside.parent / "deep" / "a.png"
    picture(other, 6)
    write(table, f"{outside},0,test,,,", f"{other},0,test,,,")
    with pytest.raises(DataError, match=r"row 3 has the id test/normal/a\.png of row 2"):
        index(table, allow_absolute_paths=True)


def test_a_table_that_is_no_text_is_named(table: Path) -> None:
    (table / "images.csv").write_bytes(b"path,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"images\.csv cannot be read as UTF-8"):
        index(table)


def test_a_folder_of_pictures_runs(adbench, tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "data" / "normal" / f"{i}.png", i)
        picture(tmp_path / "data" / "abnormal" / f"{i}.png", 10 + i)
    words = [
        "method=clip",
        "dataset=folder",
        f"data_root={tmp_path / 'data'}",
        f"runs={tmp_path / 'runs'}",
        "gallery=0",
    ]
    answer = adbench("run", *words, 'dataset.object_name="knee MRI"')
    assert (answer.code, answer.err) == (0, "")
    assert "image AUROC" in answer.out
    assert "pixel AUROC" not in answer.out
