"""Images that say which way is up: every format, every orientation, wherever an image is read."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from adbench.commands import contact
from adbench.data.decode import decoded, image_size, open_image, read_image
from adbench.data.doctor.measure import image_stats
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import read_mask, read_masks
from adbench.errors import DataError

UPRIGHT = np.kron(np.array([[0, 80, 160], [200, 255, 40]], np.uint8), np.ones((16, 16), np.uint8))  # 48 wide, 32 high
# What a camera stores, so that a viewer that follows the tag shows UPRIGHT (TIFF 6.0, page 36).
STORED = {
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1],
    5: UPRIGHT.T, 6: UPRIGHT.T[::-1], 7: UPRIGHT.T[::-1, ::-1], 8: UPRIGHT.T[:, ::-1],
}  # fmt: skip
THRESHOLD = DatasetConfig("Set", "object")
KINDS = ("a.jpg", "a.png", "raw.tif", "lzw.tif", "deflate.tif", "16bit.tif", "16bit.png")


def saved(path: Path, orientation: int) -> Path:
    """Write UPRIGHT as a camera of this orientation would."""
    pixels = np.ascontiguousarray(STORED[orientation])
    image = Image.fromarray(pixels.astype(np.uint16) * 257 if "16bit" in path.name else pixels)
    if path.suffix == ".tif":
        tags = ImageFileDirectory_v2()
        tags[274] = orientation
        compression = {"lzw": "tiff_lzw", "deflate": "tiff_adobe_deflate"}.get(path.stem)
        image.save(path, tiffinfo=tags, compression=compression)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        image.save(path, exif=exif, **({"quality": 100} if path.suffix == ".jpg" else {}))
    return path


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("orientation", STORED)
def test_an_image_is_upright_and_so_is_its_size(tmp_path: Path, name: str, orientation: int) -> None:
    path = saved(tmp_path / name, orientation)
    image = open_image(path)
    assert image.size == image_size(path) == (48, 32)
    assert np.abs(np.asarray(image).astype(int) - UPRIGHT).max() <= (2 if name == "a.jpg" else 0)


@pytest.mark.parametrize("name", ["a.png", "raw.tif", "lzw.tif"])
def test_mask_sheet_doctor_and_pillow_images_are_upright_too(tmp_path: Path, name: str) -> None:
    turned, plain = saved(tmp_path / name, 6), tmp_path / "plain.png"
    Image.fromarray(UPRIGHT).save(plain)
    assert np.array_equal(read_image(turned, 32), read_image(plain, 32))
    assert np.array_equal(read_masks((turned,), THRESHOLD, image=plain).pixels, UPRIGHT > 127)
    assert np.array_equal(read_masks((plain,), THRESHOLD, image=turned).pixels, UPRIGHT > 127)
    assert image_stats(turned).content == image_stats(plain).content
    assert (image_stats(turned).width, image_stats(turned).height) == (48, 32)
    sheets = [np.asarray(contact.tile(Item("x", "test", 1, path, (turned,)), THRESHOLD)) for path in (turned, plain)]
    assert np.array_equal(*sheets)
    for loaded in (False, True):
        with Image.open(turned) as image:
            if loaded and name != "raw.tif":  # which PIL has garbled by then
                image.load()
            assert np.array_equal(np.asarray(decoded(image, "image 1")), UPRIGHT)


@pytest.mark.parametrize("name", KINDS)
def test_a_mask_is_turned_once(tmp_path: Path, name: str) -> None:
    for orientation in (5, 6, 8):
        assert np.array_equal(read_mask(saved(tmp_path / name, orientation), 127).pixels, UPRIGHT > 127)


def test_a_pillow_image_that_was_turned_is_not_turned_again(tmp_path: Path) -> None:
    from PIL import ImageOps

    with Image.open(saved(tmp_path / "a.png", 8)) as image:
        assert np.array_equal(np.asarray(decoded(ImageOps.exif_transpose(image), "image 1")), UPRIGHT)


def test_a_png_may_say_so_behind_its_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", 6)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    tail = content.index(b"IEND") - 4
    path.write_bytes(content[:start] + content[end:tail] + content[start:end] + content[tail:])
    assert np.array_equal(np.asarray(open_image(path)), UPRIGHT)
    assert image_size(path) == (48, 32)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("damage", [b"\xff" * 8, b"", b"\0" * 8])
def test_a_damaged_block_does_not_cost_the_image(tmp_path: Path, name: str, damage: bytes) -> None:
    path = saved(tmp_path / name, 6)
    content = bytearray(path.read_bytes())
    start = content.index(b"MM\0*" if b"MM\0*" in content else b"II*\0")
    content[start + 4 : start + 4 + len(damage)] = damage
    if name == "a.png":  # with its checksum right, so that only the block is damaged
        chunk = content.index(b"eXIf")
        end = chunk + 4 + int.from_bytes(content[chunk - 4 : chunk], "big")
        content[end : end + 4] = zlib.crc32(content[chunk:end]).to_bytes(4, "big")
    path.write_bytes(content)
    assert open_image(path).size == image_size(path) == ((32, 48) if damage else (48, 32))


def test_an_orientation_that_does_not_exist_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 9
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), UPRIGHT)


def test_a_mask_in_the_sensors_frame_is_of_another_size(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.png", 6)
    Image.fromarray(np.ascontiguousarray(STORED[6])).save(tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"mask\.png is 32 x 48 pixels, its image a\.png 48 x 32"):
        read_masks((tmp_path / "mask.png",), THRESHOLD, image=image)
