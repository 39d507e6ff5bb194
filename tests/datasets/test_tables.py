"""Tables as spreadsheets and other systems save them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.config import layers
from adbench.data.items import DatasetConfig, Item
from adbench.datasets.tables import read_table
from adbench.errors import DataError
from adbench.plugins import registry
from tests.datasets.sets import opened

ROWS = [
    ("path", "label", "split", "mask", "patient"),
    ("scans/a.png", "normal", "train", "", "p1"),
    ("scans/b.png", "abnormal", "train", "lesions/a.png", "p2"),
    ("scans/c.png", "normal", "test", "", "p3"),
    ("scans/ü.png", "abnormal", "test", "lesions/b.png", "p4"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("scans/a", "scans/b", "scans/c", "scans/ü", "lesions/a", "lesions/b")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def read(root: Path, data: bytes | str, **changes: object) -> tuple[list[Item], list[str]]:
    (root / "images.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
    dataset = opened(**changes)
    return dataset.index(root), dataset.notes


def text(separator: str = ",", end: str = "\n") -> str:
    return "".join(separator.join(row) + end for row in ROWS)


@pytest.fixture
def plain(root: Path) -> list[Item]:
    return read(root, text())[0]


@pytest.mark.parametrize(
    "data",
    [
        text().encode("utf-8-sig"),
        text("\t", "\r\n").encode("utf-16"),
        text("\t").encode("utf-16-be"),
        text(";", "\r\n"),
        "sep=;\r\n" + text(";", "\r\n"),
        text("|"),
        text(end="\r"),
        text(end=",,\n"),
        text(end="\n\n,,,,\n"),
        text().replace("scans/", "scans\\").replace("lesions/", "lesions\\"),
        text().replace("path,label", " Path , LABEL").replace("mask", "Mask"),
        text().replace("abnormal", "bad").replace("normal", "0,0").replace("0,0", '"0,0"').replace("bad", "TRUE"),
        "\n".join(", ".join(f'"{value}"' for value in row) for row in ROWS),
        "\n".join(",".join((str(i), *row)) for i, row in enumerate(ROWS)).replace("0,path", ",path", 1),
    ],
)
def test_every_way_to_save_a_table_gives_the_same_items(root: Path, plain: list[Item], data: bytes | str) -> None:
    assert read(root, data) == (plain, [])


def test_text_that_is_not_unicode_is_read_and_named(root: Path, plain: list[Item]) -> None:
    items, (note,) = read(root, text().encode("windows-1252"))
    assert items == plain
    assert "images.csv is not Unicode; its letters were read as Windows-1252" in note


@pytest.mark.parametrize(
    "again", ["./scans/a.png", "scans/../scans/a.png", "lesions/../scans/./a.png", "link.png", "hard.png"]
)
def test_a_file_named_twice_is_refused_whatever_the_spelling(root: Path, again: str) -> None:
    (root / "link.png").symlink_to(root / "scans" / "a.png")
    os.link(root / "scans" / "a.png", root / "hard.png")
    with pytest.raises(DataError, match=r"row 6 names .* again, as row 2 did, as scans/a\.png"):
        read(root, text() + f"{again},normal,test,,p5\n")


def test_an_id_does_not_depend_on_the_spelling(root: Path, plain: list[Item]) -> None:
    assert read(root, text().replace("scans/a", "lesions/../scans/a"))[0] == plain


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (text().replace("scans/a", "scans/A"), r"no file scans/A\.png in .*; there is a\.png, which is written differ"),
        (text().replace("scans/a", "scans/" + "a" * 300), r"row 2: .* cannot be looked for: File name too long"),
        (text(";").replace("p1", "p1;x"), r"row 2 has 6 values for 5 columns\. Quote what holds a semicolon"),
        (text().replace("normal", "healthy?"), r"unknown label 'healthy\?'"),
    ],
)
def test_what_is_still_wrong_is_one_sentence(root: Path, data: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(root, data)


def test_a_pipe_is_no_table(root: Path) -> None:
    os.mkfifo(root / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv cannot be read: it is no regular file"):
        read(root, text(), table="pipe.csv")


@pytest.mark.parametrize(("one", "other"), [("001", "1"), ("P1", "p1"), ("7", "7.0"), ("7,0", "007"), ("A 1", "a 01")])
def test_a_patient_in_two_spellings_and_splits_is_refused(root: Path, one: str, other: str) -> None:
    data = text(";").replace("p1", one).replace("p3", other)
    with pytest.raises(DataError, match=rf"patient {other} is in test, and {one}, who may be the same, is in train"):
        read(root, data)
    items, (note,) = read(root, data, allow_patient_overlap=True)
    assert f"patients {one} and {other} are taken for two" in note
    assert items[0].patient == one


def test_two_spellings_in_one_split_are_named(root: Path) -> None:
    items, notes = read(root, text().replace("p2", "P01"))
    assert len(items) == 4
    assert notes == ["patients p1 and P01 are taken for two, and may be one. Write each patient in one way."]


@pytest.mark.parametrize(("one", "other"), [("1.05", "1.5"), ("p10", "p1"), ("a1", "b1")])
def test_different_patients_are_different(root: Path, one: str, other: str) -> None:
    assert read(root, text().replace("p1", one).replace("p3", other))[1] == []


def test_a_pattern_that_fits_a_part_of_the_images(root: Path) -> None:
    data = "".join(",".join(row[:4]) + "\n" for row in ROWS)
    pattern = "scans/(?P<patient>[ab])"
    with pytest.raises(DataError, match=r"fits 2 of 4 images: scans/c and scans/ü have no patient\. \(\?i\) at its"):
        read(root, data, patient_pattern=pattern)
    _, (note,) = read(root, data, patient_pattern=pattern, allow_patient_overlap=True)
    assert note.endswith("fits 2 of 4 images: scans/c and scans/ü have no patient.")
    assert read(root, data, patient_pattern="scans/(?P<patient>.)")[1] == []
    with pytest.raises(DataError, match="fits 0 of 4 images"):
        read(root, data, patient_pattern="scans/(?P<patient>x*)")


def test_a_published_set_with_a_pattern_that_fits_a_part_says_so(tiny: Path) -> None:
    config = layers.section(DatasetConfig, "dataset", "brainmri", {"patient_pattern": r"(?P<patient>00\d+)_6[0-4]"})
    dataset = registry.find("dataset", "brainmri").load()("brainmri", config)
    dataset.index(tiny)
    assert "fits 20 of 22 images: 00001_65 and 00011_65 have no patient." in dataset.notes[0]


def test_a_pattern_that_never_ends_is_one_sentence(adbench, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adbench.datasets.patients.SECONDS", 0.2)
    shutil.copytree(root / "scans", root / "own" / "normal" / ("a" * 60))
    shutil.copytree(root / "lesions", root / "own" / "abnormal")
    answer = adbench(
        "data", "describe", "folder", f"data_root={root / 'own'}", r"dataset.patient_pattern=(?P<patient>(a|a|aa)+)$"
    )
    assert answer.code == 2
    assert "on names such as aaaa" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("column", "meant"),
    [("mask_path", "mask"), ("Patient Name", "patient"), ("data_split", "split"), ("patient_weight_kg", None)],
)
def test_a_known_column_with_a_word_that_says_nothing_more_is_refused(tmp_path: Path, column: str, meant) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"path,label,{column}\na.png,0,x\n")
    known = ("split", "mask", "patient", "subgroup")
    if meant is None:
        assert len(read_table(file, ("path", "label"), known)) == 1
    else:
        with pytest.raises(DataError, match=f"has a column '{column}'; is it meant to be '{meant}'"):
            read_table(file, ("path", "label"), known)
        file.write_text(f"path,label,{column},{meant}\na.png,0,x,y\n")
        assert read_table(file, ("path", "label"), known)[0][meant] == "y"


@pytest.mark.parametrize("separator", [",", ";"])
def test_lines_that_end_as_on_an_old_mac(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(separator.join(["path", "label\ra.png", "0\r"]).encode())
    assert read_table(file, ("path", "label"))[0].values == {"path": "a.png", "label": "0"}
