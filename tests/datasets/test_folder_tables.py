"""The user's own images, listed in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.data.items import count
from adbench.errors import DataError
from tests.datasets.sets import fill, index, noise, read


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a", "b", "c", "d"):
        noise(tmp_path / "scans" / f"{name}.png", ord(name))
        noise(tmp_path / "lesions" / f"{name}.png", 0)
    (tmp_path / "gone.png").symlink_to("nowhere")
    for name in ("x", "x.mha"):
        (tmp_path / "scans" / name).write_bytes(b"NDims = 3\n")
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
        (
            ["scans/a.png,sick,test,,,"],
            r"images\.csv row 2: unknown label 'sick': allowed: 0, 1, abnormal, .*diseased, .*healthy, ",
        ),
        (["scans/a.png,0,tset,,,"], r"row 2: unknown split 'tset': did you mean 'test'"),
        (["../a.png,0,test,,,"], r"row 2: \.\./a\.png climbs out of"),
        (["scans/../../a.png,0,test,,,"], r"row 2: scans/\.\./\.\./a\.png climbs out of"),
        (["/data/a.png,0,test,,,"], r"row 2: /data/a\.png is an absolute path.*dataset\.allow_absolute_paths=true"),
        (["C:\\data\\a.png,0,test,,,"], r"row 2: C:\\data\\a\.png is an absolute path"),
        (["scans/x.png,0,test,,,"], r"row 2: there is no file scans/x\.png in"),
        (["scans,0,test,,,"], r"row 2: there is no file scans in .*: scans is a folder\. Name each of its images in"),
        (["gone.png,0,test,,,"], r"row 2: .*gone\.png is a link to nowhere, which does not exist"),
        (["scans/x.mha,0,test,,,"], r"row 2: scans/x\.mha has the ending \.mha, .* Read are \.png, .* such as GIF"),
        (["scans/x,0,test,,,"], r"row 2: scans/x has no ending, and its content is of no format that is read"),
        (["scans/b.png,1,test,scans/x.mha,,"], r"row 2: scans/x\.mha has the ending \.mha"),
        (["scans/b.png,1,test,./scans/b.png,,"], r"row 2: the mask \./scans/b\.png is itself an image, that of row 2"),
        ([GOOD[0], "scans/b.png,1,test,lesions/a.png;scans/a.png,,"], r"row 3: the mask .* an image, that of row 2"),
        ([",0,test,,,"], r"row 2: the path is empty"),
        ([GOOD[0], GOOD[0]], r"row 3 names scans/a\.png again, as row 2 did"),
        ([GOOD[0], "scans/b.png,0,,,,"], r"row 3 has no split, while row 2 has one"),
        (
            ["scans/a.png,0,test,lesions/a.png,,", "scans/b.png,1,test,,,"],
            r"row 2: a normal image has a mask, lesions/a\.png, and no abnormal image has one",
        ),
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
    noise(outside, 5)
    write(table, *GOOD, f"{outside},0,test,,p1,")
    items = index(table, allow_absolute_paths=True, allow_patient_overlap=True)
    assert items[-1].id == "test/normal/a.png"
    other = outside.parent / "deep" / "a.png"
    noise(other, 6)
    write(table, f"{outside},0,test,,,", f"{other},0,test,,,")
    with pytest.raises(DataError, match=r"row 3 has the id test/normal/a\.png of row 2"):
        index(table, allow_absolute_paths=True)


def test_a_table_that_is_no_text_is_named(table: Path) -> None:
    for content in (b"path,label\n\x81\x8d,1\n", b"PK\x03\x04path,label\n\0\0\0\0"):
        (table / "images.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"images\.csv cannot be read: it is text in none of UTF-8, UTF-16 and W"):
            index(table)


def test_a_table_may_be_spelled_with_a_capital(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png")
    (tmp_path / "Images.csv").write_text("path,label,patient\nnormal/a.png,0,A\nabnormal/b.png,1,B\n")
    assert {i.patient for i in index(tmp_path)} == {"A", "B"}


@pytest.mark.parametrize(
    ("patients", "found"),
    [
        ("A B C D", {"A", "B", "C", "D"}),
        ("NA nan n/a None", {None}),
        ("A NA C D", "row 3 has no patient, while row 2 has A"),
        ("- B C D", "row 2 has no patient, while row 3 has B"),
    ],
)
def test_patients_of_a_table_are_given_in_all_rows_or_in_none(tmp_path: Path, patients: str, found: object) -> None:
    names = ["normal/a.png", "normal/b.png", "abnormal/c.png", "abnormal/d.png"]
    fill(tmp_path, *names)
    rows = [f"{name},{int(name[0] == 'a')},{who}" for name, who in zip(names, patients.split(), strict=True)]
    (tmp_path / "images.csv").write_text("\n".join(["path,label,patient", *rows]))
    if isinstance(found, str):
        with pytest.raises(DataError, match=found):
            index(tmp_path)
        assert len(index(tmp_path, allow_patient_overlap=True)) == 4
    else:
        assert {i.patient for i in index(tmp_path)} == found


def test_masks_that_no_column_names_are_noted(tmp_path: Path) -> None:
    fill(tmp_path, "normal/a.png", "abnormal/b.png", "masks/b.png")
    (tmp_path / "images.csv").write_text("path,label\nnormal/a.png,0\nabnormal/b.png,1\n")
    assert any("masks is not read: images.csv has no column mask" in note for note in read(tmp_path)[1])
