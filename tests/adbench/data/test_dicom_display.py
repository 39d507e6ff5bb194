"""What a DICOM header says about grey levels: each value read right, or refused with its tag."""

from __future__ import annotations

import subprocess
import sys
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from adbench.data.decode import image_size, open_image
from adbench.data.dicom import frame_count, is_deep, is_dicom, read_frame, read_header, read_pixels
from adbench.data.dicom_grey import Display, to_grey, window
from adbench.errors import DataError
from tests.adbench.data.test_dicom import DEEP, dicom, levels

STRETCHED = [[0, 64], [128, 255]]  # DEEP: 0, 1000, 2000 and 4000 of 4000


def item(**values: Any) -> Dataset:
    """Return a data set with these values, as for an item of a sequence."""
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def table(first: int, bits: int, entries: list[int]) -> Dataset:
    found = Dataset()
    found.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries), first, bits])
    found.add_new(0x00283006, "US", entries)
    return found


@pytest.mark.parametrize(
    "values",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 40, "WindowWidth": None},
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": [40, 50], "WindowWidth": [0, 0]},
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"RescaleSlope": None, "RescaleIntercept": -1024},
        {"RescaleSlope": 2, "RescaleIntercept": None},
        {"VOILUTSequence": []},
        {"ModalityLUTSequence": []},
        {"VOILUTSequence": [item(LUTExplanation="empty")]},
        {"PresentationLUTShape": ""},
        {"PixelPaddingValue": None},
        {"NumberOfFrames": 0},
        {"NumberOfFrames": None},
        {"PerFrameFunctionalGroupsSequence": []},
        {"SharedFunctionalGroupsSequence": [item(FrameVOILUTSequence=[])]},
    ],
    ids=str,
)
def test_an_empty_value_counts_as_absent(tmp_path: Path, values: dict[str, Any]) -> None:
    assert levels(dicom(tmp_path / "a.dcm", DEEP, **values)) == STRETCHED


def test_the_first_window_that_is_one_counts(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, WindowCenter=[9, 500.5, 7], WindowWidth=[0, 1001, 7])
    assert levels(path) == [[0, 255], [255, 255]]
    assert not is_deep(path)
    assert is_deep(dicom(tmp_path / "b.dcm", DEEP, WindowCenter=[9], WindowWidth=[0]))


def test_a_narrow_window_is_of_values_that_are_not_whole(tmp_path: Path) -> None:
    # 0, 0.1, 0.2 and 0.4 in a window from 0 to 0.4
    path = dicom(tmp_path / "a.dcm", DEEP, RescaleSlope=0.0001, RescaleIntercept=0, WindowCenter=0.2, WindowWidth=0.4)
    assert levels(path) == STRETCHED
    assert window(np.array([-1e9, 0.0, 1e9]), 0, 1e-3, "SIGMOID") == pytest.approx([0, 127.5, 255])


@pytest.mark.parametrize(
    ("kind", "shape", "inverted"),
    [
        ("MONOCHROME2", "INVERSE", True), ("MONOCHROME1", "INVERSE", True), ("MONOCHROME1", None, True),
        ("MONOCHROME2", "IDENTITY", False), ("MONOCHROME2", "inverse ", True),
    ],
)  # fmt: skip
def test_white_may_be_the_lowest_value(tmp_path: Path, kind: str, shape: str | None, inverted: bool) -> None:
    values = {} if shape is None else {"PresentationLUTShape": shape}
    found = np.array(levels(dicom(tmp_path / "a.dcm", DEEP, PhotometricInterpretation=kind, **values)))
    assert np.array_equal(found, 255 - np.array(STRETCHED) if inverted else STRETCHED)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shown", [{}, {"WindowCenter": 0.5, "WindowWidth": 201}], ids=["stretched", "window"])
def test_padding_is_black_and_has_no_part_in_the_range(tmp_path: Path, kind: str, shown: dict[str, Any]) -> None:
    pixels = np.array([[-2000, -100], [30, 100]], np.int16)  # 130 of 200 are 165.75 of 255
    path = dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation=kind, PixelPaddingValue=-2000, **shown)
    light, middle, dark = (255, 89, 0) if kind == "MONOCHROME1" else (0, 166, 255)
    assert levels(path) == [[0, light], [middle, dark]]


def test_padding_may_be_a_range_or_written_without_its_sign(tmp_path: Path) -> None:
    pixels = np.array([[-2000, -1900, -1800], [0, 40, 100]], np.int16)
    for first, last in ((-2000, -1800), (-1800, -2000)):
        path = dicom(tmp_path / "a.dcm", pixels, PixelPaddingValue=first, PixelPaddingRangeLimit=last)
        assert levels(path) == [[0, 0, 0], [0, 102, 255]]
    display = Display(bits=16, signed=True, padding=(63536, 63536))  # -2000 as an unsigned number
    assert to_grey(pixels, display)[0].tolist() == [0, 0, 13]  # from -1900 to 100: (-1800 + 1900) / 2000 * 255
    assert to_grey(np.full((2, 2), 7, np.uint16), Display(bits=16, padding=(7, 7))).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_fewer_than_8_bits_span_the_whole_range(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    pixels = np.array([[0, top], [top, 0]], np.uint8)
    path = dicom(tmp_path / "a.dcm", pixels, BitsStored=bits, HighBit=bits - 1)
    assert levels(path) == [[0, 255], [255, 0]]
    half = dicom(tmp_path / "b.dcm", pixels // 2, BitsStored=bits, HighBit=bits - 1)
    assert levels(half)[0][1] == round(top // 2 * 255 / top)  # not stretched: the range is known


def test_one_bit_allocated(tmp_path: Path) -> None:
    bits = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes() + b"\0"
    path = dicom(tmp_path / "a.dcm", bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    assert np.array_equal(read_pixels(path), bits * 255)


def test_unused_bits_are_cut_off(tmp_path: Path) -> None:
    overlay = DEEP | np.array([[0, 1], [1, 0]], np.uint16) << 15
    assert levels(dicom(tmp_path / "a.dcm", overlay, BitsStored=12, HighBit=11)) == STRETCHED
    left = (DEEP << 4) | 3  # old files keep pixels in the high bits, overlays below
    assert levels(dicom(tmp_path / "b.dcm", left, BitsStored=12, HighBit=15)) == STRETCHED
    assert levels(dicom(tmp_path / "c.dcm", DEEP, BitsStored=12, HighBit=15)) == STRETCHED


def test_tables_of_any_size_and_depth(tmp_path: Path) -> None:
    pixels = np.array([[0, 300], [301, 999]], np.uint16)
    entries = [0] * 300 + [51, 102, 255]  # more than 256 entries of 8 bits
    voi = dicom(tmp_path / "a.dcm", pixels, VOILUTSequence=[table(0, 8, entries)])
    assert levels(voi) == [[0, 51], [102, 255]]
    twelve = dicom(tmp_path / "b.dcm", pixels, ModalityLUTSequence=[table(300, 12, [0, 2000, 4000])])
    assert levels(twelve) == [[0, 0], [128, 255]]
    signed = np.array([[-5, -4], [-3, 9]], np.int16)
    assert levels(dicom(tmp_path / "c.dcm", signed, VOILUTSequence=[table(-5, 8, [0, 10, 20])])) == [[0, 10], [20, 20]]


def test_functional_groups_come_before_the_header(tmp_path: Path) -> None:
    hot = np.array([[0, 500], [1000, 65000]], np.uint16)
    frame = item(
        FrameVOILUTSequence=[item(WindowCenter=500.5, WindowWidth=1001)],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=0)],
    )
    per_frame = dicom(tmp_path / "a.dcm", hot, NumberOfFrames=1, PerFrameFunctionalGroupsSequence=[frame])
    assert levels(per_frame) == [[0, 128], [255, 255]]
    other = {"WindowCenter": 9, "WindowWidth": 3, "RescaleSlope": 7, "RescaleIntercept": 7}
    assert levels(dicom(tmp_path / "b.dcm", hot, SharedFunctionalGroupsSequence=[frame], **other)) == levels(per_frame)


def test_each_frame_has_its_own_window(tmp_path: Path) -> None:
    frames = [item(FrameVOILUTSequence=[item(WindowCenter=c, WindowWidth=101)]) for c in (50.5, 100.5)]
    stack = np.array([[50, 100], [50, 100]], np.uint16)  # two frames of one row
    path = dicom(
        tmp_path / "a.dcm", stack, Rows=1, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=frames, BitsStored=16
    )
    header = read_header(path)
    assert frame_count(header, path) == 2
    assert [read_frame(header, path, number).tolist() for number in (0, 1)] == [[[128, 255]], [[0, 128]]]
    with pytest.raises(DataError, match="holds 2 frames"):
        read_pixels(path)
    header.PerFrameFunctionalGroupsSequence = frames[:1]
    with pytest.raises(DataError, match=r"PerFrameFunctionalGroupsSequence \(5200,9230\) has 1 items"):
        read_frame(header, path, 1)


def test_a_range_of_the_dataset_comes_before_the_files_window(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=9, WindowWidth=9)
    assert np.asarray(open_image(path, [-1000, 3000])).tolist() == STRETCHED


def test_files_without_preamble_or_ending(tmp_path: Path) -> None:
    for number, syntax in enumerate((ImplicitVRLittleEndian, ExplicitVRBigEndian)):
        whole = dicom(tmp_path / f"{number}.dcm", DEEP, syntax=ImplicitVRLittleEndian)
        data = pydicom.dcmread(whole)
        if syntax is ExplicitVRBigEndian:
            data.PixelData = DEEP.astype(">u2").tobytes()
        bare = Dataset()
        bare.update({element.tag: element for element in data})
        for name in ("old.dcm", "IM000001"):
            path = tmp_path / f"{number}_{name}"
            little, implicit = syntax.is_little_endian, syntax.is_implicit_VR
            pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=little)
            assert path.read_bytes()[128:132] != b"DICM"
            assert is_dicom(path)
            assert levels(path) == STRETCHED
            assert image_size(path) == (2, 2)
    for content in (b"dear colleague, " * 20, b"", b"\x08", bytes(200)):
        (tmp_path / "letter").write_bytes(content)
        assert not is_dicom(tmp_path / "letter")


def test_big_endian_deflated_and_jpeg(tmp_path: Path) -> None:
    header = pydicom.dcmread(dicom(tmp_path / "a.dcm", DEEP))
    header.file_meta.TransferSyntaxUID, header.PixelData = ExplicitVRBigEndian, DEEP.astype(">u2").tobytes()
    pydicom.dcmwrite(tmp_path / "big.dcm", header, implicit_vr=False, little_endian=False, force_encoding=True)
    assert levels(tmp_path / "big.dcm") == STRETCHED
    assert levels(dicom(tmp_path / "b.dcm", DEEP, syntax=DeflatedExplicitVRLittleEndian)) == STRETCHED
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    stream = BytesIO()
    Image.fromarray(ramp).save(stream, "JPEG", quality=100)
    path = dicom(tmp_path / "c.dcm", ramp, syntax=JPEGBaseline8Bit, PixelData=encapsulate([stream.getvalue()]))
    assert np.abs(read_pixels(path).astype(int) - ramp).max() <= 2


def test_colours(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    planar = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).tobytes()
    assert np.array_equal(
        read_pixels(dicom(tmp_path / "a.dcm", pixels, PlanarConfiguration=1, PixelData=planar)), pixels
    )
    for bits in (12, 16):
        deep = pixels.astype(np.uint16) << (bits - 8)
        assert np.array_equal(read_pixels(dicom(tmp_path / "b.dcm", deep, BitsStored=bits, HighBit=bits - 1)), pixels)
    grey = np.full((2, 2, 3), 128, np.uint8)
    grey[..., 0] = [[0, 99], [200, 255]]  # luma, without chroma
    found = read_pixels(dicom(tmp_path / "c.dcm", grey, PhotometricInterpretation="YBR_FULL"))
    assert np.array_equal(found, np.repeat(grey[..., :1], 3, 2))


@pytest.mark.parametrize("shift", [0, 8])
def test_palettes(tmp_path: Path, shift: int) -> None:
    values: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    colours = {"Red": [0, 10, 255], "Green": [0, 20, 255], "Blue": [0, 30, 255]}
    for colour, entries in colours.items():
        values[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        values[f"{colour}PaletteColorLookupTableData"] = (np.array(entries, "<u2") << shift).tobytes()
    found = read_pixels(dicom(tmp_path / "a.dcm", np.array([[0, 1], [2, 9]], np.uint8), **values))
    assert found.tolist() == [[[0, 0, 0], [10, 20, 30]], [[255] * 3, [255] * 3]]


def test_floating_point_pixels(tmp_path: Path) -> None:
    values = np.array([[0, 0.25], [0.5, 1]], np.float32)
    header = pydicom.dcmread(dicom(tmp_path / "a.dcm", DEEP))
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(header, name)
    header.BitsAllocated, header.FloatPixelData = 32, values.tobytes()
    header.save_as(tmp_path / "a.dcm")
    assert levels(tmp_path / "a.dcm") == STRETCHED
    assert np.asarray(open_image(tmp_path / "a.dcm", [0, 0.5])).tolist() == [[0, 128], [255, 255]]
    values[0, 0] = np.nan
    header.FloatPixelData = values.tobytes()
    header.save_as(tmp_path / "a.dcm")
    assert levels(tmp_path / "a.dcm") == [[0, 0], [85, 255]]  # what is not a number is black; 0.25 to 1 is the range


def damaged(tag: bytes, vr: bytes, before: bytes, after: bytes):
    """Return a function that replaces the value of an element in an explicit little-endian file."""

    def change(content: bytes) -> bytes:
        old = tag + vr + len(before).to_bytes(2, "little") + before
        assert old in content
        return content.replace(old, tag + vr + len(after).to_bytes(2, "little") + after)

    return change


@pytest.mark.parametrize(
    ("values", "change", "says"),
    [
        ({"NumberOfFrames": 1}, damaged(b"\x28\0\x08\0", b"IS", b"1 ", b"1A"), r"NumberOfFrames \(0028,0008\) is '1A'"),
        ({"WindowCenter": 40, "WindowWidth": 9}, damaged(b"\x28\0\x51\x10", b"DS", b"9.0 ", b"9.?!"),
         r"WindowWidth \(0028,1051\) is '9.\?!'"),
        ({"RescaleSlope": 1, "RescaleIntercept": 0}, damaged(b"\x28\0\x53\x10", b"DS", b"1.0 ", b"x.0 "),
         r"RescaleSlope \(0028,1053\) is 'x.0'"),
        ({}, damaged(b"\x28\0\x10\0", b"US", b"\2\0", b"\2"), r"Rows \(0028,0010\) is"),
        ({"Rows": 0}, None, r"Rows \(0028,0010\) is 0"),
        ({"Columns": 0}, None, r"Columns \(0028,0011\) is 0"),
        ({"Rows": None}, None, r"Rows \(0028,0010\) is missing"),
        ({"Rows": 60000, "Columns": 60000}, None, r"Rows \(0028,0010\) is 60000, with 60000 columns"),
        ({"PhotometricInterpretation": ""}, None, r"PhotometricInterpretation \(0028,0004\) is missing; MONOCHROME1"),
        ({"PhotometricInterpretation": "HSV"}, None, r"PhotometricInterpretation \(0028,0004\) is HSV; MONOCHROME1"),
        ({"PhotometricInterpretation": "MONO\nX"}, None, r"PhotometricInterpretation \(0028,0004\) is MONO\?X;"),
        ({"SamplesPerPixel": 4}, None, r"SamplesPerPixel \(0028,0002\) is 4, which does not fit MONOCHROME2"),
        ({"BitsStored": 17}, None, r"BitsStored \(0028,0101\) is 17 of 16"),
        ({"BitsStored": 0}, None, r"BitsStored \(0028,0101\) is 0 of 16"),
        ({"BitsStored": None}, None, r"BitsStored \(0028,0101\) is missing"),
        ({"BitsAllocated": 12, "BitsStored": 12}, None, r"BitsAllocated \(0028,0100\) is 12; 1, 8"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, None, r"RescaleSlope \(0028,1053\) is 0"),
        ({"RescaleSlope": "nan", "RescaleIntercept": 0}, None, r"RescaleSlope \(0028,1053\) is 'nan'"),
        ({"WindowCenter": 1, "WindowWidth": -1}, None, r"WindowWidth \(0028,1051\) is -1"),
        ({"WindowCenter": "inf", "WindowWidth": 5}, None, r"WindowCenter \(0028,1050\) is 'inf'"),
        ({"VOILUTSequence": [table(0, 17, [1, 2])]}, None, r"LUTDescriptor \(0028,3002\) has entries of 17 bits"),
        ({"PixelData": b"\0\0\0\0"}, None, r"PixelData \(7FE0,0010\): .* less than expected"),
        ({"PixelData": bytes(16)}, None, r"PixelData \(7FE0,0010\) holds more than one image"),
    ],
)  # fmt: skip
def test_a_damaged_value_is_named_with_its_tag(tmp_path: Path, values: Any, change: Any, says: str) -> None:
    with warnings.catch_warnings():  # pydicom's, of the values written here
        warnings.simplefilter("ignore")
        path = dicom(tmp_path / "a.dcm", DEEP, **values)
    if change is not None:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=rf"a\.dcm cannot be decoded as DICOM: .*{says}") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)
    assert "pylibjpeg" not in str(caught.value)


def test_an_unknown_transfer_syntax_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))
    with pytest.raises(DataError, match=r"TransferSyntaxUID \(0002,0010\) is '1\.2\.840\.10008\.9\.9\.9'"):
        open_image(path)


def test_what_pydicom_accepts_warns_nobody(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", DEEP, PixelData=DEEP.tobytes() + b"\0\0", PatientName="x")
    path.write_bytes(path.read_bytes().replace(b"\x10\0\x10\0PN\2\0x ", b"\x10\0\x10\0PN\2\0\xff\\"))
    code = "import sys; from pathlib import Path; from adbench.data.decode import open_image;"
    code += "print(open_image(Path(sys.argv[1])).size)"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(2, 2)\n", "")


def test_check_lists_a_damaged_file_and_run_names_it(adbench, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("normal", "abnormal"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 255, (16, 16)).astype(np.uint8)
            dicom(tmp_path / "data" / kind / f"{kind[0]}{number}.dcm", pixels, NumberOfFrames=1)
    broken = tmp_path / "data" / "normal" / "n3.dcm"
    broken.write_bytes(damaged(b"\x28\0\x08\0", b"IS", b"1 ", b"1A")(broken.read_bytes()))
    answer = adbench("data", "check", "folder", f"data_root={tmp_path / 'data'}", "--json")
    assert answer.code == 1
    assert "n3.dcm cannot be decoded as DICOM: NumberOfFrames (0028,0008) is '1A'" in answer.out
    answer = adbench("run", "method=clip", "dataset=folder", f"data_root={tmp_path / 'data'}", f"runs={tmp_path / 'r'}")
    assert "n3.dcm cannot be decoded as DICOM" in answer.out + answer.err
    assert "Traceback" not in answer.err
