"""Images of more than 8 bits: one rule for PNG, TIFF and DICOM, one range for a dataset, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from pydicom.uid import ExplicitVRLittleEndian

from adbench.data.decode import decoded, open_image, read_image
from adbench.data.levels import grey_levels
from adbench.data.masks import read_mask
from adbench.errors import DataError

TWELVE = np.array([[95, 1095], [2095, 4095]], np.uint16)  # (v - 95) * 255 / 4000: 0, 63.75, 127.5, 255
STRETCHED = [[0, 64], [128, 255]]


def tiff(path: Path, pixels: np.ndarray, **tags: int) -> Path:
    """Write a raw TIFF; `tags`: t262=0 and the like replace those that Pillow writes."""
    directory = ImageFileDirectory_v2()
    for name, value in tags.items():
        directory[int(name[1:])] = value
    Image.fromarray(pixels).save(path, tiffinfo=directory)
    return path


def replaced(path: Path, tag: int, value: int) -> Path:
    """Replace the value of a short tag in a little-endian TIFF."""
    content = bytearray(path.read_bytes())
    at = content.index(tag.to_bytes(2, "little") + b"\3\0\1\0\0\0")
    content[at + 8 : at + 10] = value.to_bytes(2, "little")
    path.write_bytes(content)
    return path


def test_png_tiff_and_dicom_of_the_same_pixels_are_equal(tmp_path: Path) -> None:
    from tests.adbench.data.test_dicom import dicom

    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    Image.fromarray(TWELVE).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    paths = [tmp_path / "a.png", tmp_path / "lzw.tif", tiff(tmp_path / "a.tif", TWELVE)]
    paths += [dicom(tmp_path / "a.dcm", TWELVE, BitsStored=12, HighBit=11, syntax=ExplicitVRLittleEndian)]
    for path in paths:
        assert np.asarray(open_image(path)).tolist() == STRETCHED, path.name
        # One range for all: 95, 1095, 2095 and 4095 of 0 to 4095 are 5.9, 68.2, 130.5 and 255.
        assert np.asarray(open_image(path, [0, 4095])).tolist() == [[6, 68], [130, 255]], path.name


def test_the_whole_range_of_16_bits_comes_out_as_ever() -> None:
    values = np.arange(65536)
    assert np.array_equal(np.rint(grey_levels(values, 0, 65535)), (values + 128) // 257)


def test_big_endian_signed_and_32_bit_tiff(tmp_path: Path) -> None:
    signed = np.array([[-1000, 0], [1000, 3000]], np.int32)  # 0, 63.75, 127.5, 255
    assert np.asarray(open_image(tiff(tmp_path / "signed.tif", signed))).tolist() == STRETCHED
    high = np.array([[0, 2**30], [2**31, 2**32 - 1]], np.uint32).view(np.int32)
    path = replaced(tiff(tmp_path / "unsigned.tif", high), 339, 1)
    assert np.asarray(open_image(path)).tolist() == STRETCHED
    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    big = Image.frombytes("I;16B", (2, 2), TWELVE.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    assert np.asarray(open_image(tmp_path / "big.tif")).tolist() == STRETCHED


def test_signed_8_bit_tiff(tmp_path: Path) -> None:
    pixels = np.array([[-128, -64], [0, 127]], np.int8)
    path = replaced(tiff(tmp_path / "a.tif", pixels.view(np.uint8), t339=1), 339, 2)
    assert np.asarray(open_image(path)).tolist() == [[0, 64], [128, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_inverted(tmp_path: Path, dtype: type) -> None:
    pixels = np.array([[0, 100], [200, 255]], dtype) * (16 if dtype is np.uint16 else 1)
    path = replaced(tiff(tmp_path / "a.tif", pixels), 262, 0)
    assert np.asarray(open_image(path)).tolist() == [[255, 155], [55, 0]]


def test_a_fax_is_black_on_white(tmp_path: Path) -> None:
    black = np.zeros((8, 16), np.bool_)
    black[2:4] = True
    for name, compression in (("raw.tif", None), ("group4.tif", "group4")):
        Image.fromarray(~black).save(tmp_path / name, compression=compression)
        assert np.array_equal(np.asarray(open_image(tmp_path / name).convert("L")) == 0, black)


def test_floating_point_pixels_need_a_range(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.array([[0, 0.25], [0.5, 1.5]], np.float32))
    with pytest.raises(DataError, match=r"a\.tif .*whose range is unknown.*dataset\.intensity_range=\[0,1\]"):
        open_image(path)
    assert np.asarray(open_image(path, [0, 1])).tolist() == [[0, 64], [128, 255]]
    with pytest.raises(DataError, match=r"nan\.tif holds floating-point pixels that are not a number"):
        open_image(tiff(tmp_path / "nan.tif", np.array([[np.nan, 1]], np.float32)), [0, 1])


def deep_colour(path: Path, pixels: np.ndarray) -> Path:
    """Write (H, W, 3) uint16 as PNG: Pillow can't."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def test_16_bit_colour_is_read_where_it_uses_its_range(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(2, 2, 3) * 256 * 20
    path = deep_colour(tmp_path / "a.png", pixels)
    assert np.array_equal(np.asarray(open_image(path)), pixels >> 8)
    with pytest.raises(DataError, match=r"b\.png holds 16-bit colour up to 3583 of 65535.*Save it with 8 bit"):
        open_image(deep_colour(tmp_path / "b.png", pixels // 16))


def test_what_would_be_read_wrong_is_refused(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match=r"lab\.tif holds CIELab colour"):
        read_image(tmp_path / "lab.tif", 4)
    frames = [Image.new("L", (4, 4), level) for level in (0, 99)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"moving\.png holds 2 frames"):
        read_image(tmp_path / "moving.png", 4)
    frames[0].save(tmp_path / "gif", "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "gif").rename(tmp_path / "gif.png")
    with pytest.raises(DataError, match=r"gif\.png holds 2 frames"):
        read_image(tmp_path / "gif.png", 4)


def test_palettes_with_transparency_warn_nobody(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % 3, "L").convert("P")
    image.save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    code = "import sys; from pathlib import Path; from adbench.data.decode import read_image;"
    code += "print(read_image(Path(sys.argv[1]), 4).shape)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(4, 4, 3)\n", "")


def test_masks_of_16_bits_are_not_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png", 127).pixels.all()


def test_a_pillow_image_is_read_as_its_file(tmp_path: Path) -> None:
    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(decoded(image, "image 1")).tolist() == STRETCHED
        assert np.asarray(decoded(image, "image 1", [0, 4095])).tolist() == [[6, 68], [130, 255]]


@pytest.fixture
def deep(tmp_path: Path) -> SimpleNamespace:
    """Sixteen 12-bit images in normal/ and abnormal/, an abnormal one with a bright spot."""
    rng = np.random.default_rng(0)
    for kind in ("normal", "abnormal"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(400, 1600, (32, 32)).astype(np.uint16)
            if kind == "abnormal":
                pixels[8:12, 8:12] = 4000
            Image.fromarray(pixels).save(tmp_path / "data" / kind / f"{kind[0]}{number}.png")
    return SimpleNamespace(root=tmp_path / "data", runs=tmp_path / "runs", out=tmp_path / "out")


def test_a_range_for_all_reaches_run_record_and_score(adbench, deep: SimpleNamespace) -> None:
    import adbench as package

    words = ("method=clip", "dataset=folder", f"data_root={deep.root}", "gallery=0")
    stretched = adbench("run", *words, f"runs={deep.runs}")
    assert "more than 8 bits and no window" in stretched.out + stretched.err
    ranged = adbench("run", *words, "dataset.intensity_range=[0,4095]", f"runs={deep.runs}")
    assert ranged.code == 0, ranged.err
    assert "no window" not in ranged.out + ranged.err
    records = [package.load(path) for path in deep.runs.iterdir()]
    assert len(records) == 2
    (fitted,) = [one for one in records if one.dataset.intensity_range]
    path = deep.root / "normal" / "n0.png"
    expected = read_image(path, fitted.method.backbone.input_size, intensity_range=[0, 4095])
    assert np.array_equal(fitted.decode(path)[0], expected)
    with Image.open(path) as image:
        assert np.array_equal(fitted.decode(image)[0], expected)


def test_check_and_describe_tell_of_deep_images(adbench, deep: SimpleNamespace) -> None:
    for command in ("check", "describe"):
        extra = ("--out", f"{deep.out}.png") if command == "describe" else ()
        answer = adbench("data", command, "folder", f"data_root={deep.root}", *extra)
        assert "intensity_range" in (answer.out + answer.err), command


def test_a_range_that_is_none_or_without_effect_is_refused(adbench, deep: SimpleNamespace, tmp_path: Path) -> None:
    for word in ("[4095,0]", "[0]", "[0,.inf]", "[5,5]"):
        answer = adbench("data", "check", "folder", f"data_root={deep.root}", f"dataset.intensity_range={word}")
        assert answer.code == 2
        assert "the values that become black and white are needed" in answer.err
    for path in deep.root.rglob("*.png"):
        Image.fromarray((np.asarray(Image.open(path)) // 16).astype(np.uint8)).save(path)
    answer = adbench("data", "check", "folder", f"data_root={deep.root}", "dataset.intensity_range=[0,4095]")
    assert (answer.code, "has no effect on these images: all have 8 bits" in answer.err) == (2, True)
