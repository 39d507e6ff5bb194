"""DICOM Segmentations and Secondary Captures about images of four kinds: read back, placed as the source, valid."""

from __future__ import annotations

import builtins
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from adbench.errors import AdbenchError, DataError
from adbench.exports.dicom import Series, need_highdicom, source_of, write_capture, write_segmentation
from tests.adbench.exports.sources import KINDS, PATIENT, enhanced, errors, film, saved, source, with_dciodvfy

PICTURE = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def series() -> Series:
    return Series("PatchCore", "0.1.0", "1f" * 10)


def a_mask(empty: bool = False, frames: int = 1) -> np.ndarray:
    mask = np.zeros((frames, 20, 30), bool)
    mask[-1, 4:9, 5:25] = not empty
    return mask


@with_dciodvfy
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, bare: bool, series: Series, tmp_path: Path) -> None:
    made = source_of(saved(source(kind, bare=bare), tmp_path / "a.dcm"), notes := [])
    assert [note.partition("a.dcm")[2] for note in notes] == (
        [" says no slice thickness: its Segmentation has 0.5 mm."] if bare and kind in ("CT", "MR") else []
    )
    for empty in (False, True):
        write_segmentation(tmp_path / "seg.dcm", made, a_mask(empty), series)
        assert errors(tmp_path / "seg.dcm") == []
        assert highdicom.seg.segread(tmp_path / "seg.dcm").pixel_array.sum() == a_mask(empty).sum()
    write_capture(tmp_path / "sc.dcm", made, PICTURE, "words", series)
    assert errors(tmp_path / "sc.dcm") == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_segmentation_lies_where_its_source_lies(kind: str, series: Series, tmp_path: Path) -> None:
    data = source(kind)
    made = source_of(saved(data, tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(), series)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(read.pixel_array.reshape(20, 30), a_mask()[0])
    assert (read.Rows, read.Columns, read.SegmentationType) == (20, 30, "BINARY")
    assert read.SeriesDescription == "adbench PatchCore, anomaly mask, research use only"
    assert {name: str(read[name].value) for name in PATIENT} == {name: str(data[name].value) for name in PATIENT}
    assert read.StudyInstanceUID == data.StudyInstanceUID
    assert read.SeriesInstanceUID != data.SeriesInstanceUID
    (referred,) = read.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert referred.ReferencedSOPInstanceUID == data.SOPInstanceUID
    if kind in ("CT", "MR"):
        shared = read.SharedFunctionalGroupsSequence[0]
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == data.ImageOrientationPatient
        assert shared.PixelMeasuresSequence[0].PixelSpacing == data.PixelSpacing
        place = read.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
        assert place.ImagePositionPatient == data.ImagePositionPatient
        assert read.FrameOfReferenceUID == data.FrameOfReferenceUID
    else:
        assert list(read.PatientOrientation or []) == list(data.get("PatientOrientation") or [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_capture_lies_where_its_source_lies(kind: str, series: Series, tmp_path: Path) -> None:
    data = source(kind)
    write_capture(tmp_path / "sc.dcm", source_of(saved(data, tmp_path / "a.dcm"), []), PICTURE, "inferno", series)
    read = pydicom.dcmread(tmp_path / "sc.dcm")
    assert np.array_equal(read.pixel_array, PICTURE)
    assert "research use" in read.SeriesDescription
    assert read.DerivationDescription == "inferno"
    assert read.SourceImageSequence[0].ReferencedSOPInstanceUID == data.SOPInstanceUID
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"):
        assert read.get(name) == data.get(name), name
    assert read.Laterality == ("L" if kind == "OT" else "")
    # Rows run to the back and columns to the feet: [0, 1, 0] and [0, 0, -1].
    expected = {"CT": ["P", "F"], "MR": ["P", "F"], "DX": ["L", "F"], "OT": []}
    assert list(read.PatientOrientation or []) == expected[kind]


def test_frames_of_an_enhanced_image_keep_their_places(series: Series, tmp_path: Path) -> None:
    made = source_of(saved(enhanced(), tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(frames=3), series)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert read.pixel_array.sum((1, 2)).tolist() == [0, 0, 100]
    write_capture(tmp_path / "sc.dcm", made, PICTURE, "words", series, frame=2)
    capture = pydicom.dcmread(tmp_path / "sc.dcm")
    assert capture.ImagePositionPatient == [-4, -20, 30]
    assert capture.SourceImageSequence[0].ReferencedFrameNumber == 3


@pytest.mark.parametrize("kind", ["US", "XA", "film", "placed once"])
def test_frames_without_a_frame_of_reference_are_told_by_their_numbers(
    kind: str, series: Series, tmp_path: Path
) -> None:
    data = film(kind, 3)
    made = source_of(saved(data, tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(frames=3), series)
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(read.pixel_array, a_mask(frames=3))
    assert "FrameOfReferenceUID" not in read
    classes = {one.value for one in read.iterall() if one.keyword == "ReferencedSOPClassUID"}
    assert classes == {data.SOPClassUID}
    named = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in read.PerFrameFunctionalGroupsSequence]
    assert [(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in named] == [
        (data.SOPInstanceUID, number) for number in (1, 2, 3)
    ]
    found = read.get_pixels_by_source_frame(data.SOPInstanceUID, [3, 1], combine_segments=True)
    assert found.sum((1, 2)).tolist() == [100, 0], "asked for by the frames of the source, in another order"


@with_dciodvfy
@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("kind", ["US", "XA", "film", "placed once"])
def test_dciodvfy_finds_no_error_in_numbered_frames(kind: str, empty: bool, series: Series, tmp_path: Path) -> None:
    made = source_of(saved(film(kind, 9), tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(empty, frames=9), series)
    assert errors(tmp_path / "seg.dcm") == []
    write_capture(tmp_path / "sc.dcm", made, PICTURE, "words", series, frame=8)
    assert errors(tmp_path / "sc.dcm") == []


@with_dciodvfy
@pytest.mark.parametrize("kind", ["DX", "US"])
def test_one_frame_of_a_file_that_says_so(kind: str, series: Series, tmp_path: Path) -> None:
    data = source("DX", NumberOfFrames=1) if kind == "DX" else film("US", 1)
    write_segmentation(tmp_path / "seg.dcm", source_of(saved(data, tmp_path / "a.dcm"), []), a_mask(), series)
    assert errors(tmp_path / "seg.dcm") == []
    read = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert np.array_equal(read.pixel_array.reshape(20, 30), a_mask()[0])
    assert read.SourceImageSequence[0].ReferencedSOPClassUID == data.SOPClassUID


def test_objects_of_one_call_share_a_series_for_each_of_the_sources(series: Series, tmp_path: Path) -> None:
    one, two = source("CT"), source("MR")
    three = source("CT", SeriesInstanceUID=one.SeriesInstanceUID)
    found = []
    for number, data in enumerate((one, two, three)):
        made = source_of(saved(data, tmp_path / f"{number}.dcm"), [])
        write_segmentation(tmp_path / "seg.dcm", made, a_mask(), series)
        read = pydicom.dcmread(tmp_path / "seg.dcm")
        found.append((read.SeriesInstanceUID, int(read.SeriesNumber), int(read.InstanceNumber)))
    assert found[0][0] == found[2][0] != found[1][0]
    assert [numbers[1:] for numbers in found] == [(9001, 1), (9002, 1), (9001, 2)]


def test_what_can_not_be_referred_to_is_one_sentence(series: Series, tmp_path: Path) -> None:
    lost = source("CT")
    del lost.SOPInstanceUID, lost.StudyInstanceUID
    with pytest.raises(DataError, match="its header lacks SOPInstanceUID, StudyInstanceUID, to which"):
        source_of(saved(lost, tmp_path / "a.dcm"), [])
    skew = source_of(saved(source("CT", ImagePositionPatient=[1, 2]), tmp_path / "b.dcm"), [])
    with pytest.raises(DataError, match=r"its header can't be taken up \("):
        write_segmentation(tmp_path / "seg.dcm", skew, a_mask(), series)
    assert not (tmp_path / "seg.dcm").exists()


def test_a_frame_of_reference_without_a_place_is_left_out(series: Series, tmp_path: Path) -> None:
    made = source_of(saved(source("DX", FrameOfReferenceUID="1.2.3"), tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(), series)
    assert "FrameOfReferenceUID" not in pydicom.dcmread(tmp_path / "seg.dcm")


def test_names_in_other_character_sets_are_taken_up(series: Series, tmp_path: Path) -> None:
    data = source(
        "MR", SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"
    )
    made = source_of(saved(data, tmp_path / "a.dcm"), [])
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(), series)
    write_capture(tmp_path / "sc.dcm", made, PICTURE, "words", series)
    for name in ("seg.dcm", "sc.dcm"):
        found = pydicom.dcmread(tmp_path / name)
        assert str(found.PatientName) == "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"


def test_a_value_that_dicom_does_not_allow_is_left_empty_with_a_note(series: Series, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's own, about the value
        data = source("MR", StudyTime="12:00:00", SpacingBetweenSlices=-3)
        made = source_of(saved(data, tmp_path / "a.dcm"), notes := [])
    assert any("a.dcm has a StudyTime that DICOM doesn't allow: the new objects leave it empty" in one for one in notes)
    write_segmentation(tmp_path / "seg.dcm", made, a_mask(), series)
    write_capture(tmp_path / "sc.dcm", made, PICTURE, "words", series)
    assert pydicom.dcmread(tmp_path / "sc.dcm").StudyTime == ""
    assert made.SpacingBetweenSlices == 3


def test_long_names_of_methods_leave_room_for_research_use() -> None:
    described = Series("M" * 100, "1", "k").description("anomaly mask")
    assert len(described) == 64
    assert described.endswith("M, anomaly mask, research use only")


def test_without_highdicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *args: object, **kwargs: object) -> object:
        if name == "highdicom":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(AdbenchError, match=r"pip install 'adbench-medical\[dicom\]'"):
        need_highdicom()
