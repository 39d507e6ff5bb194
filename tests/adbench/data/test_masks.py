"""Mask files of every kind, and what a run refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import arrays
from adbench.data.fingerprint import hash_items
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import UnclearMask, check_mask, read_mask, read_masks
from adbench.errors import DataError
from tests.adbench.data.test_dicom import dicom

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
SHAPE = np.zeros((16, 16), bool)
SHAPE[3:7, 4:9], SHAPE[10:14, 10:14] = True, True
SECOND = np.zeros((16, 16), bool)
SECOND[10:14, 10:14] = True
OWN = DatasetConfig("Own", "object", mask_threshold=None, full_masks="error", own_images=True)


def saved(path: Path, image: Image.Image, **how: object) -> Path:
    image.save(path, **how)
    return path


def coloured(first: tuple[int, ...], second: tuple[int, ...], ground: tuple[int, ...] = (0, 0, 0)) -> Image.Image:
    pixels = np.full((16, 16, len(ground)), ground, np.uint8)
    pixels[SHAPE], pixels[SECOND] = first, second
    return Image.fromarray(pixels)


def palette(colours: dict[int, tuple[int, int, int]], index: np.ndarray) -> Image.Image:
    image = Image.fromarray(index.astype(np.uint8), "L").convert("P")
    image.putdata(index.ravel().tolist())
    image.putpalette([part for i in range(256) for part in colours.get(i, (i, 0, 0))])
    return image


def test_a_threshold_cuts_grey_values_whatever_they_mean(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RAMP))
    assert np.array_equal(read_mask(path, 127).pixels, RAMP > 127)
    assert np.array_equal(read_mask(path, 0).pixels, RAMP > 0)
    red = saved(tmp_path / "red.png", coloured((255, 0, 0), (0, 0, 255)))
    assert not read_mask(red, 127).pixels.any()


@pytest.mark.parametrize("index", [(1, 15), (1, 2), (200, 3)])
def test_a_palette_of_colours_is_read_by_index(tmp_path: Path, index: tuple[int, int]) -> None:
    colours = {0: (0, 0, 0), index[0]: (128, 0, 0), index[1]: (0, 0, 64)}
    reading = read_mask(saved(tmp_path / "a.png", palette(colours, SHAPE * index[0] + SECOND * (index[1] - index[0]))))
    assert reading.how == "classes"
    assert np.array_equal(reading.pixels, SHAPE)


def test_a_palette_of_greys_is_read_by_its_greys(tmp_path: Path) -> None:
    white_first = palette({0: (255, 255, 255), 1: (0, 0, 0)}, ~SHAPE)
    assert np.array_equal(read_mask(saved(tmp_path / "a.png", white_first)).pixels, SHAPE)


def test_void_and_an_unclear_palette_are_refused_and_can_be_named(tmp_path: Path) -> None:
    index = SHAPE * 1 + SECOND * 254
    path = saved(tmp_path / "a.png", palette({0: (0, 0, 0), 1: (128, 0, 0), 255: (224, 224, 192)}, index))
    path2 = saved(tmp_path / "b.png", palette({0: (0, 0, 0), 1: (9, 0, 0), 15: (0, 9, 9), 255: (1, 2, 3)},
                                               np.where(np.arange(256).reshape(16, 16) == 0, 15, index)))  # fmt: skip
    for one in (path, path2):
        with pytest.raises(UnclearMask, match=r"void.*dataset\.mask_threshold=127.*dataset\.mask_background=\[0\]"):
            read_mask(one)
    assert np.array_equal(read_mask(path, None, [0]).pixels, SHAPE)
    assert np.array_equal(read_mask(path, None, [0, 255]).pixels, SHAPE & ~SECOND)
    swapped = palette({0: (128, 0, 0), 1: (0, 0, 0), 2: (0, 128, 0)}, np.where(SHAPE, 0, 1) + SECOND * 2)
    with pytest.raises(UnclearMask, match="index 0 has a colour and another index is black"):
        read_mask(saved(tmp_path / "c.png", swapped))


@pytest.mark.parametrize(
    ("first", "second"), [((255, 0, 0), (0, 0, 255)), ((128, 0, 0), (0, 64, 0)), ((1, 0, 0), (2, 0, 0))]
)
@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_every_colour_is_abnormal(tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...], name: str) -> None:
    assert np.array_equal(read_mask(saved(tmp_path / name, coloured(first, second))).pixels, SHAPE)


@pytest.mark.parametrize(("low", "high"), [((0, 0, 0), (0, 0, 0)), ((255, 255, 255), (255, 255, 255))])
def test_an_alpha_channel_of_one_colour_is_the_mask(
    tmp_path: Path, low: tuple[int, ...], high: tuple[int, ...]
) -> None:
    for name, image in (("a.png", coloured((*high, 255), (*high, 255), (*low, 0))), ("b.png", None)):
        image = image or coloured((*high, 255), (*high, 255), (*low, 0)).convert("LA")
        reading = read_mask(saved(tmp_path / name, image))
        assert reading.how == "transparency"
        assert np.array_equal(reading.pixels, SHAPE)


def test_transparency_next_to_colours(tmp_path: Path) -> None:
    layer = coloured((255, 0, 0, 255), (0, 0, 255, 128), (255, 255, 255, 0))
    assert np.array_equal(read_mask(saved(tmp_path / "a.png", layer)).pixels, SHAPE)
    opaque = coloured((255, 255, 255, 255), (255, 255, 255, 255), (0, 0, 0, 255))
    assert np.array_equal(read_mask(saved(tmp_path / "b.png", opaque)).pixels, SHAPE)
    contrary = coloured((0, 0, 0, 255), (0, 0, 0, 255), (255, 255, 255, 0))
    with pytest.raises(UnclearMask, match="transparency that contradict each other"):
        read_mask(saved(tmp_path / "c.png", contrary))


@pytest.mark.parametrize("value", [1, 255, 3000, 65535])
def test_deep_masks(tmp_path: Path, value: int) -> None:
    deep = saved(tmp_path / "a.png", Image.fromarray((SHAPE * value).astype(np.uint16)))
    real = saved(tmp_path / "a.tif", Image.fromarray((SHAPE * value).astype(np.float32)))
    half = saved(tmp_path / "b.tif", Image.fromarray((SHAPE * 0.5).astype(np.float32)))
    one = saved(tmp_path / "c.png", Image.fromarray(SHAPE))
    assert all(np.array_equal(read_mask(path).pixels, SHAPE) for path in (deep, real, half, one))


def test_deep_classes_and_fractions(tmp_path: Path) -> None:
    labels = SHAPE * 1 + SECOND * 2
    assert read_mask(saved(tmp_path / "a.png", Image.fromarray(labels.astype(np.uint16)))).how == "classes"
    fractions = saved(tmp_path / "a.tif", Image.fromarray((RAMP / 300).astype(np.float32)))
    with pytest.raises(UnclearMask, match=r"floating-point values from 0 to 0\.85"):
        read_mask(fractions)


def test_masks_of_one_image_must_have_its_size(tmp_path: Path) -> None:
    image = saved(tmp_path / "image.png", Image.fromarray(RAMP))
    mask = saved(tmp_path / "mask.png", Image.fromarray(SHAPE[:8]))
    with pytest.raises(DataError, match=r"mask\.png is 16 x 8 pixels, its image image\.png 16 x 16"):
        read_masks((mask,), OWN, image=image)
    with pytest.raises(DataError, match="must have the same size"):
        read_masks((mask, image), DatasetConfig("Set", "object"))


def test_an_inverted_mask_and_one_of_a_normal_image_stop_a_run(tmp_path: Path) -> None:
    nearly = np.ones((16, 16), bool)
    nearly[0, :10] = False
    path = saved(tmp_path / "m.png", Image.fromarray(nearly))
    reading = read_masks((path,), OWN)
    with pytest.raises(DataError, match=r"covers 96 % of its image.*inverted.*dataset\.full_masks=allow"):
        check_mask(reading, (path,), tmp_path / "x.png", 1, OWN)
    check_mask(reading, (path,), tmp_path / "x.png", 1, DatasetConfig("Set", "object"))
    large = np.ones((16, 16), bool)
    large[3:12, 4:13] = False
    inverted = saved(tmp_path / "inverted.png", Image.fromarray(large))
    with pytest.raises(DataError, match=r"covers 68 % of its image and its whole border.*inverted.*full_masks=allow"):
        check_mask(read_masks((inverted,), OWN), (inverted,), tmp_path / "x.png", 1, OWN)
    large[0, 5] = False  # a lesion of half the image, that reaches most of its border
    open_edge = saved(tmp_path / "large.png", Image.fromarray(large))
    check_mask(read_masks((open_edge,), OWN), (open_edge,), tmp_path / "x.png", 1, OWN)
    with pytest.raises(DataError, match=r"the normal image .*x\.png has a mask, .*m\.png"):
        check_mask(reading, (path,), tmp_path / "x.png", 0, OWN)
    check_mask(reading, (path,), tmp_path / "x.png", 0, DatasetConfig("Set", "object"))


def test_what_is_kept_next_to_decoded_masks_is_measured_again_where_it_is_damaged(tmp_path: Path) -> None:
    mask = np.zeros((60, 60), bool)
    mask[0, 0] = mask[30:40, 30:40] = True
    item = Item("test/abnormal/a.png", "test", 1, saved(tmp_path / "a.png", Image.fromarray(mask)),
                (tmp_path / "a.png",))  # fmt: skip

    def decode() -> tuple[list[int], list[int]]:
        hashes = hash_items([item], tmp_path / "cache", "own")
        pixels, facts = arrays.masks([item], hashes, tmp_path / "cache", 10, OWN, "test")
        return [int(pixels.sum())], [one.kept for one in facts]

    first = decode()
    assert first[1] == [1]
    (side,) = (tmp_path / "cache" / "decoded").glob("*.json")
    whole = side.read_text()
    for damage in ("", "[]", "{", whole.replace("[[1,", "[[7,"), whole[: len(whole) // 2]):
        side.write_text(damage)
        assert decode() == first
        assert side.read_text() == whole
    side.unlink()
    assert decode() == first


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400},
        {"PixelPaddingValue": 0},
        {"BitsStored": 12, "HighBit": 11},
    ],
)
def test_a_dicom_mask_is_what_is_stored_whatever_its_header_says_of_a_screen(tmp_path: Path, header: dict) -> None:
    labels = np.where(SECOND, 300, SHAPE).astype(np.uint16)
    found = read_mask(dicom(tmp_path / "m.dcm", labels, **header))
    assert np.array_equal(found.pixels, SHAPE)
    assert (found.how, found.levels) == ("classes", "0, 1, 300")
    assert np.array_equal(read_mask(tmp_path / "m.dcm", background=[0, 1]).pixels, SECOND)
    assert np.array_equal(read_mask(tmp_path / "m.dcm", 0).pixels, SHAPE)


def test_a_threshold_of_dicom_is_on_the_scale_of_its_bits(tmp_path: Path) -> None:
    path = dicom(tmp_path / "m.dcm", np.where(SHAPE, 4095, 2000).astype(np.uint16), BitsStored=12, HighBit=11)
    assert np.array_equal(read_mask(path, 127).pixels, SHAPE)
    assert read_mask(path, 124).pixels.all()  # 2000 of 4095 is 124.5 of 255


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_floating_point_masks_by_background_and_threshold(tmp_path: Path, top: int) -> None:
    soft = np.where(SECOND, 1.0, np.where(SHAPE, 0.25, 0)).astype(np.float32) * top
    path = saved(tmp_path / "soft.tif", Image.fromarray(soft))
    assert np.array_equal(read_mask(path, background=[0]).pixels, SHAPE)
    assert np.array_equal(read_mask(path, 127).pixels, SECOND)
    assert np.array_equal(read_mask(path, 0).pixels, SHAPE)
    soft[0, 0] = np.nan
    saved(path, Image.fromarray(soft))
    for how in ({"threshold": 0}, {"background": [0]}):
        with pytest.raises(UnclearMask, match="floating-point values that are not finite"):
            read_mask(path, **how)


def test_numbers_of_16_bits_are_neither_lost_nor_noise(tmp_path: Path) -> None:
    few = saved(tmp_path / "few.png", Image.fromarray(np.where(SECOND, 300, SHAPE).astype(np.uint16)))
    assert np.array_equal(read_mask(few, 0).pixels, SHAPE)
    assert np.array_equal(read_mask(few, 1).pixels, SECOND)  # above 257 of 65535
    many = saved(tmp_path / "many.png", Image.fromarray(5 * (RAMP // 4).astype(np.uint16)))
    with pytest.raises(UnclearMask, match="64 values, 0, 5, 10 to 315: too many for classes"):
        read_mask(many)
    assert np.array_equal(read_mask(many, 0).pixels, RAMP > 3)
