"""Volumes, and slices of them, named in tables and in support lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from adbench.data import support
from adbench.data.fingerprint import hash_items
from adbench.data.items import DatasetConfig
from adbench.data.masks import read_masks
from adbench.errors import AdbenchError, DataError
from tests.datasets.stacks import folder, random_frames

HEADER = "path,label,split,mask,patient,slice"


def table(root: Path, *rows: str, header: str = HEADER) -> None:
    (root / "images.csv").write_text("\n".join([header, *rows]) + "\n")


def test_a_table_names_volumes_or_single_slices(brains: Path) -> None:
    table(
        brains,
        "normal/n0.nii.gz,0,train,,P7,2",
        "normal/n0.nii.gz,0,train,,P7,4",
        "normal/n1.nii.gz,0,test,,,",
        "abnormal/a0.nii.gz,1,test,masks/a0.nii.gz,,",
        "abnormal/a1.nii.gz,0,test,,,1",
        "abnormal/a1.nii.gz,1,test,masks/a1.nii.gz,,3",
    )
    items, _ = folder(brains)
    assert [(i.id, i.patient) for i in items] == [
        *((f"train/normal/normal/n0.nii.gz#00{n}", "P7") for n in (2, 4)),
        *((f"test/normal/normal/n1.nii.gz#00{n}", "normal/n1") for n in (1, 2, 3, 4)),
        *((f"test/abnormal/abnormal/a0.nii.gz#00{n}", "abnormal/a0") for n in (2, 3)),
        ("test/normal/abnormal/a1.nii.gz#001", "abnormal/a1"),
        ("test/abnormal/abnormal/a1.nii.gz#003", "abnormal/a1"),
    ]


def test_each_row_of_a_volume_may_name_its_mask(brains: Path) -> None:
    """As in tables of LGG: normal slices of an ill patient, whose part of the mask is empty, and abnormal ones."""
    slices = (1, 2, 3, 4)
    table(brains, *(f"abnormal/a0.nii.gz,{int(n in (2, 3))},test,masks/a0.nii.gz,,{n}" for n in slices))
    items, _ = folder(brains)
    assert [(i.frame.number, i.label) for i in items if i.frame] == [(n, int(n in (2, 3))) for n in slices]
    assert [read_masks(i.mask_images, DatasetConfig("t", "o"), i.image).pixels.any() for i in items] == [
        bool(i.label) for i in items
    ]


def test_a_column_of_slices_means_nothing_for_single_images(tmp_path: Path) -> None:
    for name in "ab":
        Image.fromarray(random_frames(ord(name))[0]).save(tmp_path / f"{name}.png")
    table(tmp_path, "a.png,0,test,,,17", "b.png,1,test,,,top")
    assert [i.id for i in folder(tmp_path)[0]] == ["test/normal/a.png", "test/abnormal/b.png"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["normal/n0.nii.gz,0,test,,,6"], r"n0\.nii\.gz has no slice 6: it has 6, numbered from 0 to 5"),
        (["normal/n0.nii.gz,0,test,,,top"], r"row 2: the slice 'top' is no number"),
        (["normal/n0.nii.gz,0,test,,,2"] * 2, r"row 3 names normal/n0\.nii\.gz#002 again, as row 2 did"),
        (["normal/n0.nii.gz,0,test,,,"] * 2, r"row 3 names normal/n0\.nii\.gz again, as row 2 did"),
        (
            ["normal/n0.nii.gz,0,test,,,", "normal/n0.nii.gz,0,test,,,2"],
            r"row 3 names one image of n0\.nii\.gz, and row 2 all of them",
        ),
        (
            ["normal/n0.nii.gz,0,test,,,1", "normal/n0.nii.gz,0,train,,,2"],
            r"row 3: patient normal/n0 is in train here and in test by .*row 2",
        ),
    ],
)
def test_rows_that_name_no_slice_are_named(brains: Path, rows: list[str], says: str) -> None:
    table(brains, *rows)
    with pytest.raises(DataError, match=says):
        folder(brains)


def test_a_support_list_names_slices(brains: Path, tmp_path: Path) -> None:
    items, _ = folder(brains, split_shares=[1, 0, 0])
    hashes = hash_items(items, tmp_path / "cache", "x")

    def listed(text: str) -> list[str]:
        (tmp_path / "list.txt").write_text(text)
        chosen, _ = support.from_list(tmp_path / "list.txt", items, hashes, (0,), "the train split", items)
        return [i.id for i in chosen]

    assert listed("n-0: n1.nii.gz#2 normal/n0.nii.gz#004") == [
        "train/normal/n1.nii.gz#002",
        "train/normal/n0.nii.gz#004",
    ]
    with pytest.raises(AdbenchError, match=r"names n1\.nii\.gz, which holds 4 normal images.*as in n1\.nii\.gz#001"):
        listed("n-0: n1.nii.gz")
    with pytest.raises(AdbenchError, match=r"names n1\.nii\.gz#5, which is no normal image.*it isn't there"):
        listed("n-0: n1.nii.gz#5")
    with pytest.raises(AdbenchError, match=r"names a1\.nii\.gz#3, which is no normal image.*it is abnormal"):
        listed("n-0: a1.nii.gz#3")
