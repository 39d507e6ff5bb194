"""DICOM files written here, against levels computed by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, SecondaryCaptureImageStorage

from adbench.data.decode import image_size, read_image
from adbench.data.dicom import is_dicom, read_pixels
from adbench.data.dicom_grey import window
from adbench.data.masks import read_mask
from adbench.errors import AdbenchError, DataError

DEEP = np.array([[0, 1000], [2000, 4000]], np.uint16)


def dicom(path: Path, pixels: np.ndarray | None, **values: Any) -> Path:
    """Write a small DICOM file; `values` are attributes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = values.pop("syntax", ExplicitVRLittleEndian)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    if pixels is not None:
        data.Rows, data.Columns = pixels.shape[:2]
        data.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
        data.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
        if pixels.ndim == 3:
            data.PlanarConfiguration = 0
        bits = pixels.dtype.itemsize * 8
        data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        data.PixelData = pixels.tobytes()
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def levels(path: Path) -> list[list[int]]:
    return read_pixels(path).tolist()


def test_slope_and_intercept_come_before_the_window(tmp_path: Path) -> None:
    # 2 x - 1000 gives -1000, 1000, 3000, 7000; the window of centre 1000.5 and width 4001 spans -1000 to 3000.
    path = dicom(
        tmp_path / "a.dcm", DEEP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000.5, WindowWidth=4001
    )
    assert levels(path) == [[0, 128], [255, 255]]


def test_the_first_of_several_windows_counts(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, WindowCenter=[500.5, 9], WindowWidth=[1001, 9])
    assert levels(path) == [[0, 255], [255, 255]]


def test_signed_pixels(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.array([[-1000, 0], [40, 1000]], np.int16), WindowCenter=40, WindowWidth=81)
    # (0 - 39.5) / 80 + 0.5 = 0.00625; (40 - 39.5) / 80 + 0.5 = 0.50625
    assert levels(path) == [[0, 2], [129, 255]]


def test_window_functions() -> None:
    values = np.array([0.0, 50.0, 100.0])
    assert window(values, 50, 100, "LINEAR_EXACT").tolist() == [0, 127.5, 255]
    assert window(values, 50, 100, "SIGMOID") == pytest.approx([255 / (1 + np.e**2), 127.5, 255 / (1 + np.e**-2)])
    assert window(values, 50, 1).tolist() == [0, 255, 255]
    with pytest.raises(ValueError, match="width 0"):
        window(values, 50, 0)


def test_without_a_window_deep_pixels_are_stretched_and_8_bit_ones_stay(tmp_path: Path) -> None:
    assert levels(dicom(tmp_path / "a.dcm", DEEP)) == [[0, 64], [128, 255]]
    assert levels(dicom(tmp_path / "b.dcm", np.array([[3, 9]], np.uint8))) == [[3, 9]]
    assert levels(dicom(tmp_path / "c.dcm", np.full((1, 2), 700, np.uint16))) == [[0, 0]]


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, PhotometricInterpretation="MONOCHROME1")
    assert levels(path) == [[255, 191], [127, 0]]


def test_a_lookup_table_takes_the_windows_place(tmp_path: Path) -> None:
    table = Dataset()
    table.add_new(0x00283002, "US", [4, 0, 8])
    table.add_new(0x00283006, "US", [0, 10, 20, 255])
    path = dicom(tmp_path / "a.dcm", np.array([[0, 1], [2, 3]], np.uint16), VOILUTSequence=[table])
    assert levels(path) == [[0, 10], [20, 255]]


def test_colour_stays_colour(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    path = dicom(tmp_path / "a.dcm", pixels)
    assert np.array_equal(read_pixels(path), pixels)
    assert np.array_equal(read_image(path, 2), pixels)


def test_dicom_goes_where_other_images_go(tmp_path: Path) -> None:
    wide = np.zeros((4, 6), np.uint8)
    wide[:, 3:] = 200
    for name in ("a.DCM", "a.ima", "IM0001"):
        path = dicom(tmp_path / name, wide)
        assert is_dicom(path)
        assert image_size(path) == (6, 4)
        assert read_image(path, 4).shape == (4, 4, 3)
        assert read_mask(path, 127).pixels.sum() == read_mask(path).pixels.sum() == 12
    png = tmp_path / "a.png"
    Image.fromarray(wide).save(png)
    assert not is_dicom(png)
    assert not is_dicom(tmp_path / "gone")


def test_a_record_is_applied_to_dicom_files(adbench, tiny: Path, tmp_path: Path) -> None:
    assert adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0").code == 0
    (record,) = (tmp_path / "runs").iterdir()
    scans = tmp_path / "scans"
    scans.mkdir()
    dicom(scans / "one.dcm", np.tile(np.arange(60, dtype=np.uint8), (40, 1)))
    answer = adbench("score", record, scans, f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / "scores.csv").read_text().splitlines()[1].startswith(f"{scans / 'one.dcm'},")
    with Image.open(tmp_path / "out" / "0001_one_heatmap.png") as picture:
        assert picture.size > (60, 40), "the colour bar is at its right"


@pytest.mark.parametrize(
    ("pixels", "values", "says"),
    [
        (None, {}, r"a\.dcm is a DICOM file without pixel data"),
        (np.zeros((6, 2), np.uint8), {"NumberOfFrames": 3, "Rows": 2}, r"a\.dcm holds 3 frames; save the right one"),
        (
            DEEP,
            {"WindowCenter": 0, "WindowWidth": -5},
            r"a\.dcm cannot be decoded as DICOM: WindowWidth \(0028,1051\) is -5",
        ),
        (
            DEEP,
            {"WindowCenter": 0, "WindowWidth": 5, "VOILUTFunction": "CURVE"},
            r"VOILUTFunction \(0028,1056\) is CURVE; LINEAR",
        ),
    ],
)
def test_what_is_no_single_image_is_named(tmp_path: Path, pixels: Any, values: dict[str, Any], says: str) -> None:
    path = dicom(tmp_path / "a.dcm", pixels, **values)
    with pytest.raises(DataError, match=says) as caught:
        read_image(path, 4)
    assert "\n" not in str(caught.value)


def test_a_header_without_pixel_data_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, PixelData=b"")
    import pydicom

    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(DataError, match="without pixel data"):
        read_image(path, 4)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "letter.dcm").write_text("dear colleague")
    with pytest.raises(DataError, match=r"empty\.dcm cannot be read as DICOM: it has zero bytes"):
        read_image(tmp_path / "empty.dcm", 4)
    with pytest.raises(DataError, match=r"letter\.dcm cannot be read as DICOM: it is damaged or no DICOM file"):
        image_size(tmp_path / "letter.dcm")
    with pytest.raises(DataError, match=r"gone\.dcm does not exist"):
        read_image(tmp_path / "gone.dcm", 4)
    whole = dicom(tmp_path / "cut.dcm", DEEP)
    whole.write_bytes(whole.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"cut\.dcm cannot be (read|decoded) as DICOM"):
        read_image(whole, 4)


def test_a_compression_that_needs_another_decoder_says_so(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate

    path = tmp_path / "a.dcm"
    dicom(path, DEEP, syntax=JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    with pytest.raises(DataError, match=r"a\.dcm cannot be decoded as DICOM: .*pip install pylibjpeg"):
        read_image(path, 4)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(AdbenchError, match=r"a\.dcm needs pydicom: pip install 'adbench-medical\[dicom\]'"):
        read_image(path, 4)


def test_tiff_with_several_pages_is_refused(tmp_path: Path) -> None:
    page = Image.fromarray(np.zeros((4, 4), np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    with pytest.raises(DataError, match=r"a\.tif holds 3 pages"):
        read_image(tmp_path / "a.tif", 4)
