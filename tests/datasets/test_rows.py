"""Rows and columns of the user's own tables: labels, masks of normal images, kinds of files, slices, other names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.decode import open_image
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import check_mask, read_masks
from adbench.errors import DataError
from tests.datasets.sets import opened

TEST = {"split_shares": [0, 0, 1]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images n0, n1, a0, a1; masks of all of them, those of normal images empty."""
    rng = np.random.default_rng(0)
    for name in ("n0", "n1", "a0", "a1"):
        for place in ("scans", "masks"):
            (tmp_path / place).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(tmp_path / "scans" / f"{name}.png")
        mask = np.zeros((16, 16), np.uint8)
        mask[4:8, 4:8] = 255 if name[0] == "a" else 0
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def read(root: Path, *rows: str, **changes: object) -> tuple[list[Item], list[str]]:
    """The items of a table, by id, and the notes."""
    (root / "images.csv").write_text("\n".join(rows) + "\n")
    dataset = opened(**(TEST | changes))
    return sorted(dataset.index(root), key=lambda item: item.id), dataset.notes


def rows(extra: str = "", *values: str) -> list[str]:
    """A table of the four images with a further column."""
    names = ("n0", "n1", "a0", "a1")
    more = values or ("x",) * 4
    return [
        f"path,label{extra}",
        *(f"scans/{name}.png,{int(name[0] == 'a')},{value}" for name, value in zip(names, more, strict=True)),
    ]


def test_a_table_may_name_the_empty_masks_of_normal_images(root: Path) -> None:
    items, notes = read(root, *rows(",mask", *(f"masks/{name}.png" for name in ("n0", "n1", "a0", "a1"))))
    assert notes == []
    assert [[mask.name for mask in item.mask_files] for item in items] == [[f"{i.path.stem}.png"] for i in items]
    config = DatasetConfig("Own", "object", own_images=True, masks=True)
    for item in items:
        check_mask(read_masks(item.mask_images, config, item.image), item.mask_images, item.image, item.label, config)
    assert all(item.mask is None for item in read(root, *rows(",mask", *["masks/n0.png"] * 4), masks=False)[0])


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_mask_of_a_normal_image_that_is_not_empty_stops_a_run(adbench, root: Path, tmp_path: Path, split) -> None:
    """Also of an image that only fixes the threshold, as one in train does for a method that learns from none."""
    places = [f"masks/a1.png,{split}", "masks/n1.png,test", f"masks/a0.png,{split}", "masks/a1.png,test"]
    (root / "images.csv").write_text("\n".join(rows(",mask,split", *places)) + "\n")
    words = ("method=clip", "dataset=folder", f"data_root={root}", f"runs={tmp_path / 'runs'}", "gallery=0")
    answer = adbench("run", *words)
    assert answer.code == 3
    for part in ("the normal image", "n0.png has a mask, ", "masks/a1.png", "fix its label", "or remove the mask"):
        assert part in answer.err
    assert not list((tmp_path / "runs").glob("*/record.json"))


@pytest.mark.parametrize("ending", ["gif", "jp2", "webp", "pgm"])
def test_what_pillow_opens_is_read_from_a_table_and_not_called_unread(root: Path, ending: str) -> None:
    picture = Image.open(root / "scans" / "n1.png")
    picture.save(root / "scans" / f"n1.{ending}", **({"lossless": True} if ending in ("webp",) else {}))
    (root / "scans" / "n1.png").unlink()
    (root / "scans" / "other.gif").write_bytes(b"GIF89a")
    table = [row.replace("n1.png", f"n1.{ending}") for row in rows(",age")]
    items, notes = read(root, *table)
    assert [item.path.name for item in items if not item.label] == ["n0.png", f"n1.{ending}"]
    shown = np.asarray(open_image(items[-1].image).convert("L"), int)
    assert np.abs(shown - np.asarray(picture, int)).max() <= 1
    assert [note for note in notes if "masks" not in note] == [
        "1 file among the images has no ending that is read: .gif (1), for example scans/other.gif."
    ]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("subject", "If it holds patients, call it patient."),
        ("subjectID", "If it holds patients, call it patient."),
        ("MRN", "If it holds patients, call it patient."),
        ("participant_id", "If it holds patients, call it patient."),
        ("set", "If it holds splits, call it split."),
        ("Subset", "If it holds splits, call it split."),
        ("partition", "If it holds splits, call it split."),
        ("ground_truth", "If it holds masks, call it mask."),
        ("label_path", "If it holds masks, call it mask."),
    ],
)
def test_a_column_that_may_be_meant_is_noted(root: Path, column: str, says: str) -> None:
    _, notes = read(root, *rows(f",{column}"))
    assert f"images.csv has a column {column!r}, which is not read. {says}" in notes
    known = says.rsplit(" ", 1)[1].rstrip(".")
    values = {"patient": "p", "split": "test", "mask": ""}[known]
    both = read(root, *rows(f",{column},{known}", *(f"x,{values}",) * 4))[1]
    assert not any("which is not read" in note for note in both), "the column that is read is there"


@pytest.mark.parametrize("column", ["age", "data_set", "study_id", "label_name", "slice_number", "patient_weight"])
def test_other_columns_are_welcome(root: Path, column: str) -> None:
    _, notes = read(root, *rows(f",{column}"))
    assert not any("has a column" in note for note in notes)


@pytest.mark.parametrize("missing", ["<NA>", r"\N", "N.A.", "NaT", "(null)", "missing"])
def test_what_tools_write_for_nothing_is_no_patient_and_no_mask(root: Path, missing: str) -> None:
    items, _ = read(root, *rows(",patient,mask", *(f"{missing},{missing}",) * 4))
    assert {(item.patient, item.mask) for item in items} == {(None, None)}


def test_an_unknown_label_or_split_names_all_that_are_known(root: Path) -> None:
    with pytest.raises(DataError, match=r"unknown label 'sick'.*abnormal, anomalous.*good, healthy.*positive, true"):
        read(root, "path,label", "scans/n0.png,sick")
    with pytest.raises(DataError, match=r"unknown split 'dev': allowed: test, testing, train, training, val, valid, v"):
        read(root, "path,label,split", "scans/n0.png,0,dev")


def stack(path: Path, seed: int) -> None:
    """A TIFF of three pages."""
    pages = [Image.fromarray(np.random.default_rng(seed + i).integers(0, 9, (8, 8), np.uint8)) for i in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def test_slices_as_spreadsheets_write_them(tmp_path: Path) -> None:
    for number, name in enumerate(("n.tif", "a.tif")):
        stack(tmp_path / name, number)
    table = ["path,label,SLICE", "n.tif,0,1.0", 'n.tif,0,"2,0"', "a.tif,1,0.0", "a.tif,1,2"]
    items, notes = read(tmp_path, *table)
    assert [item.id for item in items] == [
        "test/abnormal/a.tif#000",
        "test/abnormal/a.tif#002",
        "test/normal/n.tif#001",
        "test/normal/n.tif#002",
    ]
    assert notes == [], "no slice is abnormal but those that the table calls so"
    with pytest.raises(DataError, match=r"row 2: the slice '1\.5' is no number"):
        read(tmp_path, "path,label,slice", "n.tif,0,1.5")
    items, (note,) = read(tmp_path, "path,label,slice", "n.tif,0,NaN", "a.tif,1,NA")
    assert len(items) == 6
    assert note.startswith("1 abnormal file with several images and without a mask: every image of them counts as")
    _, notes = read(tmp_path, "path,label,slice_number", "n.tif,0,1", "a.tif,1,2")
    assert (
        "images.csv has a column 'slice_number', which is not read. If it holds numbers of slices, call it slice."
        in notes
    )
