"""Volumes, DICOM series and files of several frames in one's own folders and tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from adbench.data import arrays, series, stamps, support
from adbench.data.decode import open_image
from adbench.data.fingerprint import fingerprint, hash_items
from adbench.data.items import decide_masks
from adbench.errors import DataError
from tests.datasets.stacks import SHAPE, dicom, folder, lesions, nifti, random_frames, volume


def test_a_volume_is_a_patient_and_its_slices_are_the_images(brains: Path) -> None:
    items, dataset = folder(brains)
    assert {i.patient: {k.split for k in items if k.patient == i.patient} for i in items}.keys() == {
        f"{kind}{number}" for kind in "na" for number in range(4)
    }
    assert all(len({k.split for k in items if k.patient == i.patient}) == 1 for i in items), "patients stay together"
    assert Counter((i.split, i.label) for i in items) == {
        ("train", 0): 8, ("test", 0): 8, ("train", 1): 4, ("test", 1): 4
    }  # fmt: skip
    first = [i for i in items if i.patient == "n0"]
    assert [i.id for i in first] == [f"{first[0].split}/normal/n0.nii.gz#{n:03d}" for n in range(1, 5)]
    assert [i.position for i in first] == [1, 2, 3, 4]
    assert len({i.frame.window for i in first if i.frame}) == 1, "one window for all slices of a volume"
    ill = [i for i in items if i.patient == "a2"]
    assert [i.position for i in ill] == [2, 3], "slices without a lesion are neither normal nor abnormal"
    assert dataset.notes == [
        "16 of 48 slices of 8 volumes show nothing but background or one value and are left out; "
        "dataset.empty_slices=keep keeps them.",
        "8 slices of 4 abnormal files without a lesion in the mask: left out, as their patient is ill; "
        "dataset.lesion_free_slices=normal takes them for normal.",
    ]


def test_keys_keep_empty_slices_and_take_lesion_free_ones_for_normal(brains: Path) -> None:
    items, _ = folder(brains, empty_slices="keep", lesion_free_slices="normal")
    assert Counter(i.label for i in items) == {0: 4 * 6 + 4 * 4, 1: 4 * 2}
    healthy = next(i for i in items if i.patient == "a0" and not i.label)
    assert (healthy.id, healthy.mask) == (f"{healthy.split}/normal/abnormal/a0.nii.gz#000", None)
    across, _ = folder(brains, slice_axis="sagittal")
    assert Counter(i.position for i in across if i.label) == {3: 4, 4: 4}


def test_masks_are_those_of_the_slices(brains: Path, tmp_path: Path) -> None:
    items, dataset = folder(brains)
    config = decide_masks(dataset.config, items)
    ill = [i for i in items if i.patient == "a1"]
    hashes = hash_items(items, tmp_path / "cache", "x")
    masks, _ = arrays.masks(ill, hashes, tmp_path / "cache", 40, config, "x")
    assert config.masks
    assert masks.sum((1, 2)).tolist() == [5 * 4, 2 * 5 * 4], "a voxel is 5 x 4 of the 40 x 40 pixels"
    # Right 3 of 8 is column 8 - 1 - 3 = 4, so pixels 20 to 24; anterior 4 of 10 is row 5, so pixels 20 to 23.
    assert np.argwhere(masks[0]).min(0).tolist() == [20, 20]
    pictures = arrays.images(ill, hashes, tmp_path / "cache", 40, "bilinear", True, "x")
    row, column = np.unravel_index(pictures[0, ..., 0].argmax(), (40, 40))
    assert masks[0, row, column], "the brightest pixel is in the lesion"


def test_content_hashes_tell_slices_axes_and_windows_apart(brains: Path, tmp_path: Path) -> None:
    def print_of(**changes: object) -> str:
        items, _ = folder(brains, **changes)
        hashes = hash_items(items, tmp_path / "cache", "x")
        assert len(set(hashes.values())) == len(items)
        return fingerprint(items, hashes)

    first = print_of()
    assert print_of() == first
    assert len({first, print_of(slice_axis="coronal"), print_of(volume_window=[2, 98])}) == 3


def test_a_shot_comes_from_each_patient_before_a_second_comes_from_one(brains: Path) -> None:
    items, _ = folder(brains)
    pool = [i for i in items if i.split == "train" and not i.label]
    order = support.draw_order(pool, 3)
    assert [len({i.patient for i in order[:k]}) for k in (1, 2, 3)] == [1, 2, 2]
    assert {i.id for i in order} == {i.id for i in pool}


def test_what_a_pass_over_the_volumes_found_is_cached(brains: Path, tmp_path: Path, monkeypatch) -> None:
    from adbench.data import volumes

    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**12))  # files that were written a moment ago count as unchanged
    cache, seen = tmp_path / "cache", []
    first, _ = folder(brains, cache)
    whole = volumes.open_volume
    monkeypatch.setattr(volumes, "open_volume", lambda path: seen.append(path.name) or whole(path))
    again, _ = folder(brains, cache)
    assert (again, seen) == (first, [])
    volume(brains / "normal" / "n9.nii.gz", 9)
    assert len(folder(brains, cache)[0]) == len(first) + 4
    assert seen == ["n9.nii.gz"]
    folder(brains, cache, slice_axis="coronal")
    assert len(seen) == 1 + 9 + 4, "another axis is another measurement, of volumes and masks"


def test_patients_of_volumes_in_subfolders_and_of_bids_names(tmp_path: Path) -> None:
    for name in ("p1/t1.nii.gz", "p2/t1.nii.gz", "sub-07_ses-1_T1w.nii.gz", "sub-07_ses-2_T1w.nii"):
        volume(tmp_path / "normal" / name, len(name))
    volume(tmp_path / "abnormal" / "x_1.nii", 5)
    items, dataset = folder(tmp_path)
    assert {i.patient for i in items} == {"p1/t1", "p2/t1", "sub-07", "x_1"}
    assert dataset.notes[-1] == (
        "1 abnormal file with several images and without a mask: every image of them counts as abnormal, those without "
        "a lesion too."
    )
    by_pattern, _ = folder(tmp_path, patient_pattern="(?P<patient>[^/_]+)")
    assert {i.patient for i in by_pattern} == {"p1", "p2", "sub-07", "x"}


def test_splits_of_volumes_are_checked_by_patient(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("normal", "abnormal"):
            volume(tmp_path / split / kind / f"{kind}_{split}.nii.gz", 1)
    assert Counter(i.split for i in folder(tmp_path)[0]) == {"train": 8, "test": 8}
    volume(tmp_path / "train" / "normal" / "normal_test.nii.gz", 1)
    with pytest.raises(DataError, match="patient normal_test is in train here and in test by"):
        folder(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda path: nifti(path, lesions()[:-1]),
            r"mask .*a0\.nii\.gz has 7 x 10 x 6 voxels, its image .*a0\.nii\.gz 8 x 10 x 6",
        ),
        (
            lambda path: nifti(path, lesions(), np.diag([1.0, 1, 2, 1])),
            r"mask .*a0\.nii\.gz lies elsewhere than its image .*their affines differ",
        ),
        (lambda path: nifti(path, lesions() / 2), r"a0\.nii\.gz holds 1\.5; a mask volume holds whole numbers"),
        (lambda path: path.write_bytes(b"\x1f\x8b nonsense"), r"masks/a0\.nii\.gz cannot be read as NIfTI"),
        (
            lambda path: (path.unlink(), Image.new("L", (8, 10)).save(path.with_name("a0.png"))),
            r"a0\.png is no volume, and its image .*a0\.nii\.gz is one",
        ),
        (
            lambda path: path.rename(path.with_name("b0.nii.gz")),
            r"4 of 10 abnormal images have no mask, as .*a0\.nii\.gz; a\d\.nii\.gz has .*/masks/a\d\.nii\.gz",
        ),
    ],
)
def test_a_mask_that_does_not_fit_is_named(brains: Path, spoil, says: str) -> None:
    spoil(brains / "masks" / "a0.nii.gz")
    with pytest.raises(DataError, match=says):
        items, dataset = folder(brains)
        decide_masks(dataset.config, items)


def test_odd_volumes_are_named_and_the_others_read(brains: Path) -> None:
    nifti(brains / "normal" / "blank.nii.gz", np.zeros(SHAPE, np.int16))
    holes = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    holes[0, 0, 0] = np.nan
    nifti(brains / "normal" / "holes.nii.gz", holes)
    (brains / "normal" / "cut.nii.gz").write_bytes((brains / "normal" / "n0.nii.gz").read_bytes()[:60])
    items, dataset = folder(brains)
    assert [i.frame for i in items if i.path.name == "cut.nii.gz"] == [None], "decoding will name it"
    assert not [i for i in items if i.path.name == "blank.nii.gz"]
    text = "\n".join(dataset.notes)
    assert "blank.nii.gz shows nothing in any slice, and is left out (one of 1)" in text
    assert "holes.nii.gz holds voxels that are not a number" in text


def test_keys_of_volumes_have_no_effect_without_them(adbench, tmp_path: Path, brains: Path) -> None:
    for kind in ("normal", "abnormal"):
        for number in range(2):
            (tmp_path / "flat" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(random_frames(number)[0]).save(tmp_path / "flat" / kind / f"{kind}{number}.png")
    out = tmp_path / "sheet.png"
    for key in ("slice_axis=coronal", "volume_window=[1,99]", "empty_slices=keep", "lesion_free_slices=normal"):
        answer = adbench("data", "describe", "folder", f"data_root={tmp_path / 'flat'}", f"dataset.{key}", "--out", out)
        assert answer.code != 0
        assert f"dataset.{key.partition('=')[0]} has no effect on the images of" in answer.err
    answer = adbench("data", "describe", "folder", f"data_root={brains}", "dataset.mask_threshold=9", "--out", out)
    assert "in a mask volume every label above 0 is abnormal" in answer.err
    for key in ("slice_axis=up", "volume_window=[9,1]", "volume_window=[1]", "empty_slices=drop"):
        answer = adbench("data", "describe", "folder", f"data_root={brains}", f"dataset.{key}", "--out", out)
        assert answer.code != 0
        assert f"dataset.{key.partition('=')[0]}=" in answer.err


def test_frames_of_dicom_and_pages_of_tiff_are_images_of_one_patient(tmp_path: Path) -> None:
    dicom(tmp_path / "normal" / "cine.dcm", random_frames(1, 3), PatientID="P1")
    dicom(tmp_path / "normal" / "other.dcm", random_frames(2, 2))
    dicom(tmp_path / "abnormal" / "ill.dcm", random_frames(3, 3), PatientID="P2")
    marks = np.zeros((3, 6, 8), np.uint8)
    marks[1, 2, 3] = 255
    pages = [Image.fromarray(page) for page in marks]
    (tmp_path / "masks").mkdir()
    pages[0].save(tmp_path / "masks" / "ill.tif", save_all=True, append_images=pages[1:])
    items, dataset = folder(tmp_path, split_shares=[0, 0, 1])
    assert [(i.id.partition("/")[2], i.patient) for i in items] == [
        ("abnormal/ill.dcm#001", "P2"),
        *((f"normal/cine.dcm#00{n}", "P1") for n in range(3)),
        *((f"normal/other.dcm#00{n}", "other") for n in range(2)),
    ]
    assert "2 slices of 1 abnormal file without a lesion in the mask" in dataset.notes[0]
    pages[0].save(tmp_path / "masks" / "ill.tif", save_all=True, append_images=pages[1:2])
    with pytest.raises(DataError, match=r"the mask .*ill\.tif holds 2 images, and .*ill\.dcm holds 3"):
        folder(tmp_path)


def test_a_series_is_sorted_by_position_and_its_patient_stays_together(tmp_path: Path) -> None:
    lie = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    for patient in range(4):
        kind = ("normal", "abnormal")[patient // 2]
        for number, height in enumerate((30, -10, 10)):
            values = {"ImagePositionPatient": [0, 0, height], "PatientID": f"P{patient}"} | lie
            values |= {"StudyInstanceUID": f"1.{patient}", "SeriesInstanceUID": f"1.{patient}.5"}
            dicom(tmp_path / kind / f"IM{patient}{number}.dcm", random_frames(10 * patient + number), **values)
    items, dataset = folder(tmp_path)
    assert not dataset.notes
    for patient in range(4):
        own = [i for i in items if i.patient == f"P{patient}"]
        assert len({i.split for i in own}) == 1
        assert [(i.path.name, i.position) for i in own] == [
            (f"IM{patient}{number}.dcm", place) for place, number in enumerate((1, 2, 0))
        ]
        assert items.index(own[-1]) - items.index(own[0]) == 2, "slices of a series follow each other"
    by_name, _ = folder(tmp_path, patient_pattern="IM(?P<patient>.)")
    assert {i.patient for i in by_name} == {"0", "1", "2", "3"}, "a pattern goes before the header"


def test_volumes_run_are_checked_described_and_scored(adbench, brains: Path, tmp_path: Path) -> None:
    data, runs = f"data_root={brains}", f"runs={tmp_path / 'runs'}"
    answer = adbench("run", "method=patchcore", "dataset=folder", "shots=2", "gallery=1", data, runs)
    assert answer.code == 0, answer.err
    assert "8 slices of 4 abnormal files without a lesion in the mask" in answer.out
    (record,) = (path for path in (tmp_path / "runs").iterdir() if (path / "record.json").is_file())
    table = pd.read_parquet(record / "predictions.parquet")
    assert table["image"].str.contains(r"\.nii\.gz#00\d$").all()
    assert table["patient"].nunique() == 4
    assert (record / "gallery" / "hit_01.png").is_file()
    answer = adbench("data", "check", "folder", data)
    assert answer.code == 0, answer.out
    assert "slice position" in answer.out or "every file is readable" in answer.out
    answer = adbench("support", "show", "dataset=folder", "shots=1", data, "--out", tmp_path / "s.png")
    assert "nii.gz#00" in answer.out
    out = tmp_path / "out"
    answer = adbench("score", record, brains / "abnormal" / "a0.nii.gz", f"out={out}")
    assert answer.code == 0, answer.err
    scores = pd.read_csv(out / "scores.csv")
    assert scores["image"].tolist() == [f"{brains / 'abnormal' / 'a0.nii.gz'}#00{n}" for n in range(6)]
    assert sorted(path.name for path in out.glob("*.png")) == [f"000{n + 1}_a0_00{n}_heatmap.png" for n in range(6)]
    own = table.set_index("image")["score"]
    for name, score in own.items():
        if "/abnormal/a0.nii.gz" in name:
            assert score == pytest.approx(scores["score"][int(name[-3:])], rel=1e-5), "as in the run"


def test_an_empty_mask_leaves_a_healthy_volume_and_stops_an_ill_one(brains: Path) -> None:
    before = [(i.id, i.label) for i in folder(brains)[0]]
    nifti(brains / "masks/n0.nii.gz", np.zeros(SHAPE, np.uint8))
    items = folder(brains)[0]
    assert [(i.id, i.label) for i in items] == before
    assert {i.mask_files for i in items if "n0" in i.id} == {(brains / "masks/n0.nii.gz",)}
    nifti(brains / "masks/a0.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(DataError, match=r"mask .*a0\.nii\.gz of the abnormal file .* is empty: no image of it has a"):
        folder(brains, lesion_free_slices="normal")
    allowed = folder(brains, empty_masks="allow", lesion_free_slices="normal")[0]
    assert {i.label for i in allowed if i.path.name == "a0.nii.gz"} == {1}


@pytest.mark.parametrize("layout", ["{0}/{0}_{1}.nii.gz", "{0}_{1}.nii.gz", "{0}/sub-{0}_{1}.nii.gz"])
def test_volumes_of_one_patient_stay_together(tmp_path: Path, layout: str) -> None:
    for number in range(6):
        for kind in ("flair", "t1", "t1ce"):
            volume(tmp_path / ("normal", "abnormal")[number % 2] / layout.format(f"B{number}", kind), number)
    items, dataset = folder(tmp_path)
    assert len({i.patient for i in items}) == 6
    assert max(len({i.split for i in items if i.patient == patient}) for patient in {i.patient for i in items}) == 1
    assert not any("patients of their own" in note for note in dataset.notes)


def test_volumes_that_share_a_folder_are_noted(tmp_path: Path) -> None:
    for number in range(4):
        for kind in ("left", "right"):
            volume(tmp_path / ("normal", "abnormal")[number % 2] / f"P{number}" / f"{kind}.nii.gz", number)
    items, dataset = folder(tmp_path)
    assert len({i.patient for i in items}) == 8
    (note,) = (note for note in dataset.notes if "patients of their own" in note)
    word = note.partition("dataset.patient_pattern=")[2].strip("'")
    assert len({i.patient for i in folder(tmp_path, patient_pattern=word)[0]}) == 4


def test_dicom_files_without_patient_are_those_of_their_study(tmp_path: Path) -> None:
    for number in range(4):
        for piece in range(2):
            place = tmp_path / ("normal", "abnormal")[number % 2] / f"p{number}_{piece}.dcm"
            given = {"PatientID": f"P{number}"} if piece else {}
            dicom(
                place,
                random_frames(10 * number + piece),
                StudyInstanceUID=f"1.2.{number}",
                SOPInstanceUID=f"1.{number}{piece}",
                **given,
            )
    assert {i.patient for i in folder(tmp_path)[0]} == {f"P{number}" for number in range(4)}


def test_a_dicom_segmentation_is_no_image(tmp_path: Path) -> None:
    for number, place in enumerate(("normal/a", "normal/b", "abnormal/c", "abnormal/d")):
        dicom(
            tmp_path / f"{place}.dcm",
            random_frames(number),
            PatientID=place,
            SOPInstanceUID=f"1.{number}",
            Modality="MR",
        )
    dicom(tmp_path / "abnormal/e.dcm", random_frames(5), PatientID="abnormal/d", SOPInstanceUID="1.9", Modality="SEG")
    items, dataset = folder(tmp_path)
    assert len(items) == 4
    assert any("e.dcm is a DICOM SEG, no image, and is left out (one of 1)" in note for note in dataset.notes)


def test_a_damaged_volume_says_how_it_is_damaged(brains: Path) -> None:
    file = brains / "normal/n0.nii.gz"
    file.write_bytes(file.read_bytes()[:-40])
    (item,) = (i for i in folder(brains)[0] if i.path == file)
    with pytest.raises(DataError, match=r"n0\.nii\.gz cannot be read as NIfTI: Compressed file ended"):
        open_image(item.image)


def test_headers_of_dicom_are_read_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**12))  # files that were written a moment ago count as unchanged
    for number, place in enumerate(("normal/a", "normal/b", "abnormal/c", "abnormal/d")):
        dicom(tmp_path / "set" / f"{place}.dcm", random_frames(number), SOPInstanceUID=f"1.{number}", Modality="MR")
    first = folder(tmp_path / "set", tmp_path / "cache")[0]
    monkeypatch.setattr(series, "read_header", None)
    assert folder(tmp_path / "set", tmp_path / "cache")[0] == first
