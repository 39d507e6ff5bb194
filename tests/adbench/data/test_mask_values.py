"""Which values of a mask are abnormal."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from adbench.data.mask_values import UnclearMaskError, abnormal, hides_classes


def drawn(*discs: tuple[int, int, int, int], size: int = 96, scale: int = 1) -> np.ndarray:
    """Discs (x, y, radius, value) on black; with `scale`, drawn larger and averaged, so that their edges are soft."""
    image = Image.new("L", (size * scale, size * scale))
    for x, y, radius, value in discs:
        box = [scale * (x - radius), scale * (y - radius), scale * (x + radius), scale * (y + radius)]
        ImageDraw.Draw(image).ellipse(box, fill=value)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


LESIONS = (30, 40, 14, 255), (70, 60, 9, 255)


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 38), (0, 128), (2, 253), (16, 235), (0, 65535), (0, 4095)])
def test_of_two_values_the_higher_is_abnormal(values: tuple[int, int]) -> None:
    where = drawn(*LESIONS) > 0
    found, kind = abnormal(np.where(where, values[1], values[0]))
    assert kind == "two values"
    assert np.array_equal(found, where)


@pytest.mark.parametrize("values", [(1, 2), (100, 255), (64, 100), (128, 255)])
def test_two_values_without_a_background_are_refused(values: tuple[int, int]) -> None:
    with pytest.raises(UnclearMaskError, match=f"holds the values {values[0]}, {values[1]} and no 0"):
        abnormal(np.where(drawn(*LESIONS) > 0, values[1], values[0]))


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_value_is_all_background_or_all_lesion(value: int) -> None:
    assert abnormal(np.full((4, 4), value, np.uint8))[0].all() == (value > 0)


@pytest.mark.parametrize(
    "values", [(1, 2, 3), (64, 128, 255), (1, 15, 20), (50, 100, 127), (33, 255, 90), (1000, 2000, 3000), (5, 90, 110)]
)
def test_every_class_is_abnormal(values: tuple[int, int, int]) -> None:
    mask = np.zeros((96, 96), np.int64)
    for value, (x, y) in zip(values, ((20, 20), (60, 20), (40, 70)), strict=True):
        mask[y : y + 8, x : x + 8] = value
    found, kind = abnormal(mask)
    assert kind == "classes"
    assert np.array_equal(found, mask > 0)


def test_a_class_of_a_few_pixels_alone_is_abnormal_too() -> None:
    mask = drawn(*LESIONS).copy()
    mask[5:7, 5:7] = 60
    assert abnormal(mask)[0][5:7, 5:7].all()


def test_a_class_around_another_is_abnormal_too() -> None:
    mask = drawn((40, 40, 20, 80), (40, 40, 15, 255))
    assert np.array_equal(abnormal(mask)[0], mask > 0)


@pytest.mark.parametrize("labels", [(1, 2), (1, 15), (7, 32), (1, 1)])
def test_labels_next_to_void_are_refused(labels: tuple[int, int]) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:20, 10:20], mask[30:40, 30:40], mask[50:, 50:] = *labels, 255
    with pytest.raises(UnclearMaskError, match="255 may mark what is to be ignored"):
        abnormal(mask)


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 95, 100])
def test_jpeg_noise_is_read_as_black_and_white(quality: int) -> None:
    file = BytesIO()
    Image.fromarray(drawn(*LESIONS, (50, 15, 2, 255))).save(file, "JPEG", quality=quality)
    noisy = np.asarray(Image.open(file))
    assert len(np.unique(noisy)) > 2
    for jpeg in (True, False):  # as it is, and saved again as PNG
        assert np.array_equal(abnormal(noisy, jpeg)[0], noisy > 127)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_soft_edges_are_read_as_black_and_white(scale: int) -> None:
    soft = drawn(*LESIONS, scale=scale)
    found, kind = abnormal(soft)
    assert kind == "soft edges"
    assert np.array_equal(found, soft > 127)


def test_classes_in_a_jpeg_are_refused() -> None:
    file = BytesIO()
    Image.fromarray(drawn((30, 40, 14, 255), (70, 60, 16, 64))).save(file, "JPEG", quality=90)
    with pytest.raises(UnclearMaskError, match="a JPEG, in which classes are inexact"):
        abnormal(np.asarray(Image.open(file)), jpeg=True)


def test_a_heat_map_is_refused() -> None:
    heat = ndimage.gaussian_filter(drawn((48, 48, 20, 255)).astype(float), 14)
    with pytest.raises(UnclearMaskError, match=r"values, 0, 1, 2 to \d+: too many for classes"):
        abnormal((heat * 255 / heat.max()).astype(np.uint8))


def test_classes_below_the_threshold_are_told_from_noise() -> None:
    assert hides_classes(drawn((30, 40, 14, 255), (70, 60, 9, 64)), jpeg=False)
    assert not hides_classes(drawn((30, 40, 14, 255), (70, 60, 9, 200)), jpeg=False)
    assert not hides_classes(drawn(*LESIONS, scale=4), jpeg=False)
