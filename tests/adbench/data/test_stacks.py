"""DICOM files with several frames, TIFF files with several pages, and DICOM headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

from adbench.data.decode import image_size, open_image, read_image
from adbench.data.frames import Frame, FramePath
from adbench.data.masks import read_mask
from adbench.data.series import Header, oddities, patients, positions, read_header
from adbench.data.stacks import frame_count, images_in
from adbench.errors import DataError


def dicom(path: Path, frames: np.ndarray, **values: Any) -> Path:
    """Write frames (N, H, W) grey or (N, H, W, 3) RGB as one DICOM file; `values` are attributes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = EnhancedMRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = values.get("SOPInstanceUID", "1.2.3")
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = frames.ndim == 4
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    bits = frames.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.PixelData = frames.tobytes()
    for name, value in values.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def group(slope: float | None = None, window: tuple[float, float] | None = None) -> Dataset:
    """Return the functional groups of one frame."""
    own = Dataset()
    if slope is not None:
        rescale = Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, 0, "US"
        own.PixelValueTransformationSequence = [rescale]
    if window is not None:
        display = Dataset()
        display.WindowCenter, display.WindowWidth = window
        own.FrameVOILUTSequence = [display]
    return own


def test_each_frame_has_the_rescale_and_the_window_of_its_own_group(tmp_path: Path) -> None:
    frames = np.array([[[0, 50], [100, 200]]] * 3, np.uint16)
    path = dicom(
        tmp_path / "a.dcm",
        frames,
        SharedFunctionalGroupsSequence=[group(slope=2, window=(200.5, 401))],
        PerFrameFunctionalGroupsSequence=[group(), group(window=(50.5, 101)), group(slope=1)],
    )
    grey = [read_image(FramePath(path, Frame(number)), 2)[..., 0].tolist() for number in range(3)]
    # Shared: twice the value in a window from 0 to 400. Then one from 0 to 100. Then the value itself, from 0 to 400.
    assert grey == [[[0, 64], [128, 255]], [[0, 255], [255, 255]], [[0, 32], [64, 128]]]


def test_colour_frames_and_their_size(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 3, 5, 3)).astype(np.uint8)
    path = dicom(tmp_path / "cine.dcm", frames)
    assert frame_count(path) == 4
    assert [image.name for image in images_in(path, "axial", (0, 100))] == [f"cine.dcm#00{n}" for n in range(4)]
    assert image_size(FramePath(path, Frame(2))) == (5, 3)
    assert np.array_equal(np.asarray(open_image(FramePath(path, Frame(2)))), frames[2])


def test_frames_that_are_not_there_and_files_that_need_one(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(DataError, match=r"a\.dcm holds 3 frames; save the right one"):
        read_image(path, 2)
    with pytest.raises(DataError, match=r"a\.dcm.* 3 frames, and no frame 3"):
        read_image(FramePath(path, Frame(3)), 2)


def test_pages_of_a_tiff_are_frames_where_they_have_one_size(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 6), 10 * n, np.uint8)) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert frame_count(tmp_path / "a.tif") == 3
    assert [int(read_image(FramePath(tmp_path / "a.tif", Frame(n)), 4)[0, 0, 0]) for n in range(3)] == [0, 10, 20]
    assert image_size(FramePath(tmp_path / "a.tif", Frame(2))) == (6, 4)
    assert read_mask(FramePath(tmp_path / "a.tif", Frame(2)), 15).pixels.all()
    with pytest.raises(DataError, match=r"a\.tif"):
        read_image(FramePath(tmp_path / "a.tif", Frame(3)), 4)
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[pages[1].resize((3, 2))])
    with pytest.raises(DataError, match=r"b\.tif holds 2 pages of different sizes"):
        frame_count(tmp_path / "b.tif")
    pages[0].save(tmp_path / "c.tif")
    assert frame_count(tmp_path / "c.tif") == 1


def test_a_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    path = dicom(
        tmp_path / "a.dcm",
        np.zeros((1, 2, 2), np.uint8),
        PatientID=" P7 ",
        StudyInstanceUID="1.1",
        SeriesInstanceUID="1.1.1",
        SOPInstanceUID="1.1.1.9",
        InstanceNumber=4,
        ImagePositionPatient=[10, 20, 30],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ImageType=["ORIGINAL", "LOCALIZER"],
    )
    assert read_header(path) == Header(1, "P7", "1.1", "1.1.1", "1.1.1.9", 30.0, 4, True)
    (tmp_path / "b.dcm").write_bytes(b"no DICOM file")
    assert read_header(tmp_path / "b.dcm") == Header()


def test_a_slice_is_as_high_as_its_position_along_the_normal(tmp_path: Path) -> None:
    values = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [-7, 3, 5]}
    path = dicom(tmp_path / "a.dcm", np.zeros((1, 2, 2), np.uint8), **values)
    assert read_header(path).height == 7.0  # sagittal: the normal is (-1, 0, 0)


def test_slices_are_ordered_in_their_series_and_series_are_kept_apart() -> None:
    def at(series: str, height: float | None, number: int | None = None) -> Header:
        return Header(series=series, height=height, number=number)

    headers = {
        Path("c"): at("1", -3.5),
        Path("a"): at("1", 8),
        Path("b"): at("1", 2),
        Path("d"): at("2", 100, 2),
        Path("e"): at("2", None, 1),
        Path("lone"): at("3", 5),
        Path("none"): at("", 5),
    }
    assert positions(headers) == {Path("c"): 0, Path("b"): 1, Path("a"): 2, Path("e"): 0, Path("d"): 1}


def test_patients_come_from_headers_unless_they_are_placeholders() -> None:
    def of(patient: str, study: str, series: str = "") -> Header:
        return Header(patient=patient, study=study, series=series)

    headers = {
        Path("a"): of("P1", "1"),
        Path("b"): of("Anonymous", "2"),
        Path("c"): of("", "", "9"),
        Path("d"): of("", ""),
    }
    assert patients(headers) == ({Path("a"): "P1", Path("b"): "2", Path("c"): "9"}, [])
    found, notes = patients({Path("a"): of("STUDY-A", "1"), Path("b"): of("STUDY-A", "2")})
    assert found == {Path("a"): "1", Path("b"): "2"}
    assert "'STUDY-A' in all DICOM files, which belong to 2 studies" in notes[0]
    found, notes = patients({Path("a"): of("P1", "1"), Path("b"): of("P1", "1")})
    assert found == {}, "one patient for everything tells nobody apart, and could not be split"
    assert "all 2 DICOM files name one patient, 'P1'" in notes[0]


def test_scouts_and_repeated_images_are_named() -> None:
    headers = {
        Path("a"): Header(image="1"),
        Path("b"): Header(image="1"),
        Path("c"): Header(scout=True),
        Path("d"): Header(),
    }
    scouts, twice = oddities(headers)
    assert scouts.startswith("c is a localiser")
    assert twice.startswith("a and b have the same SOPInstanceUID")
    assert oddities({Path("a"): Header(image="1"), Path("b"): Header(image="2")}) == []


def test_a_frame_is_written_as_pydicom_reads_it(tmp_path: Path) -> None:
    frames = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = dicom(tmp_path / "a.dcm", frames)
    assert np.array_equal(pydicom.dcmread(path).pixel_array, frames)
    assert np.array_equal(np.asarray(open_image(FramePath(path, Frame(1)))), frames[1])


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("InstanceNumber", b"1A"),
        ("InstanceNumber", b"3.5 "),
        ("ImagePositionPatient", b"-10,5\\0\\3,5 "),
        ("ImagePositionPatient", b"\\\\3.5 "),
        ("ImageOrientationPatient", b"1\\0\\0\\0\\x\\0 "),
        ("NumberOfFrames", b"one "),
    ],
)
def test_one_damaged_tag_takes_nothing_else_of_a_header(tmp_path: Path, tag: str, value: bytes) -> None:
    path, tags = tmp_path / "a.dcm", {"PatientID": "P7", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
    dicom(path, np.zeros((1, 4, 4), np.uint16), Modality="MR", **tags)
    data = pydicom.dcmread(path)
    place = pydicom.tag.Tag(tag)
    data[place] = RawDataElement(place, dictionary_VR(place), len(value), value, 0, False, True)
    data.save_as(path, enforce_file_format=True)
    header = read_header(path)
    assert header == Header(patient="P7", study="1.2", series="1.2.3", image="1.2.3", modality="MR", unread=(tag,))
    (note,) = oddities({path: header, tmp_path / "b.dcm": Header()})
    assert note.startswith(
        f"{path} has values that can't be read and count as absent: {tag}. 1 of 2 DICOM files has such"
    )
