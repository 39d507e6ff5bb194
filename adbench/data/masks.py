"""Lesion masks: mask files to boolean arrays, by a threshold, by named background values, or by what the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decode import decoded, image_size, open_raw
from adbench.data.frames import ImagePath
from adbench.data.items import DatasetConfig
from adbench.data.mask_values import MOST_CLASSES, UnclearMaskError, abnormal, hides_classes, levels_of
from adbench.errors import DataError

MAX_COVERED = 0.9  # share of the image; a mask that covers more is probably inverted
KEYS = (
    "Say what it means: dataset.mask_threshold=127 counts grey values above 127 as abnormal, "
    "dataset.mask_background=[0] every value but 0 (list others too, as in [0,255])"
)
TINT = 16  # up to so much colour is noise of a grey JPEG
_TRANSPARENT = ("1", "L", "P", "RGB", "LA", "La", "PA", "RGBA", "RGBa")

How = Literal["plain", "classes", "hidden classes", "transparency"]


class UnclearMask(DataError):
    """A mask can be decoded, but not which of its pixels are abnormal."""


@dataclass(frozen=True)
class MaskReading:
    """A mask as it is read.

    pixels: (H, W), true where a pixel is abnormal.
    how: "plain"; "classes": of several values, every one above the background is abnormal; "hidden classes": some that
        look like a class are healthy under the threshold; "transparency": its alpha channel is the mask.
    values: (H, W), the whole numbers that decided: grey values, brightest channels, palette indices or alpha.
    """

    pixels: NDArray[np.bool_]
    how: How
    values: NDArray[np.integer]

    @property
    def levels(self) -> str:
        """The different values, as text."""
        return ("alpha " if self.how == "transparency" else "") + levels_of(self.values).text()

    @property
    def covered(self) -> float:
        """The share of abnormal pixels, 0 to 1."""
        return float(self.pixels.mean())


def read_mask(path: ImagePath, threshold: int | None = None, background: Sequence[int] = ()) -> MaskReading:
    """Read one mask at its own size.

    background: grey values or palette indices that are healthy; all others are abnormal, as is every colour.
    threshold: where there is no `background`: grey values above it are abnormal, on a scale on which the highest
        possible value is 255; of floating-point values that is 1, 255 or 65535. A colour counts as its grey.

    A slice of a volume has labels, every one above 0 abnormal, whatever `background` and `threshold` are. With neither
    of these, the file decides:

    * an alpha channel whose colour is the same everywhere is the mask itself; next to a colour that differs, what is
      transparent is healthy, where that agrees with the colour or with the alpha channel alone;
    * a palette of colours is read by index, one of greys by its greys;
    * a colour counts as much as its brightest channel: pure blue is as abnormal as white;
    * 16-bit and whole floating-point values are read as they are;
    * see `mask_values.abnormal` for which of these values are abnormal.

    Raises UnclearMask, with the values that were found, where that is not clear.
    """
    image, form = open_raw(path)
    jpeg = form in ("JPEG", "MPO")
    if form == "NIfTI":
        labels = np.asarray(image)
        return MaskReading(labels > 0, "plain", labels)
    if background:
        values = _named_values(image)
        return MaskReading(~np.isin(values, list(background)), "plain", _rounded_up(values, path))
    if threshold is not None and (image.mode == "F" or image.mode.startswith("I") or "top" in image.info):
        return _above(image, threshold, path)
    if threshold is not None:
        grey = np.asarray(decoded(image, str(path)).convert("L"))
        hidden = threshold == 127 and hides_classes(grey, jpeg)
        return MaskReading(grey > threshold, "hidden classes" if hidden else "plain", grey)
    try:
        return _by_content(image, jpeg)
    except UnclearMaskError as unclear:
        raise UnclearMask(f"the mask {path} {unclear}. {KEYS}.") from unclear


def read_masks(paths: Sequence[ImagePath], config: DatasetConfig, image: ImagePath | None = None) -> MaskReading:
    """Read the masks of one image, at least one, and return their union, by the keys of a dataset: see `read_mask`.

    Raises DataError where they differ in size, or, with `image` given, one differs from its image.
    """
    readings = [read_mask(path, config.mask_threshold, config.mask_background) for path in paths]
    if image is not None:
        width, height = image_size(image)
        for path, reading in zip(paths, readings, strict=True):
            if reading.pixels.shape != (height, width):
                raise DataError(
                    f"mask {path} is {_size(reading)} pixels, its image {image.name} {width} x {height}. "
                    "A mask must have the size of its image."
                )
    first = readings[0]
    for path, reading in zip(paths[1:], readings[1:], strict=True):
        if reading.pixels.shape != first.pixels.shape:
            raise DataError(
                f"the masks {paths[0]} and {path} of one image are {_size(first)} and {_size(reading)} pixels; "
                "they must have the same size."
            )
    telling = next((reading for reading in readings if reading.how != "plain"), first)
    pixels = np.logical_or.reduce([reading.pixels for reading in readings])
    return MaskReading(pixels, telling.how, telling.values)


def check_mask(
    reading: MaskReading, files: Sequence[ImagePath], image: ImagePath, label: int, config: DatasetConfig
) -> None:
    """Raise DataError for the mask of an image that contradicts its label, or covers nearly all of it.

    Which of these are accepted is in `config`: `empty_masks`, `full_masks`, and `own_images` for normal images.
    """
    covered = reading.covered
    if label == 0:
        if covered and config.own_images:
            raise DataError(
                f"the normal image {image} has a mask, {files[0]}, of which {percent(covered)} is abnormal. Move the "
                "image to the abnormal ones (in a table, fix its label), or remove the mask; without any masks: "
                "dataset.masks=false"
            )
        return
    if not covered and config.empty_masks != "allow":
        above = f" above the threshold {config.mask_threshold}" if config.mask_threshold is not None else ""
        raise DataError(
            f"the mask {files[0]} of an abnormal image is empty{above} (it holds {reading.levels}). "
            "Fix or remove the pair, or count it as abnormal without abnormal pixels: dataset.empty_masks=allow"
        )
    if config.full_masks != "allow" and (covered > MAX_COVERED or frames_the_rest(reading.pixels)):
        where = "" if covered > MAX_COVERED else " and its whole border"
        raise DataError(
            f"the mask {files[0]} covers {percent(covered)} of its image{where} (it holds {reading.levels}): is it "
            "inverted? Abnormal pixels must be bright, the background 0. Fix it, or accept masks that cover more than "
            f"{percent(MAX_COVERED)}, or more than half and the border: dataset.full_masks=allow"
        )


def frames_the_rest(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask (H, W) covers more than half of the image and all of its border, as an inverted one does.

    >>> frames_the_rest(np.pad(np.zeros((2, 2), bool), 2, constant_values=True))
    True
    """
    border = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return bool(mask.mean() > 0.5 and all(edge.all() for edge in border))


def percent(share: float) -> str:
    """Write a share, never as 100 % or 0 % where it is not.

    >>> percent(1), percent(0.9999), percent(0.0001)
    ('100 %', '99.9 %', '0.1 %')
    """
    value = 100 * share
    return f"{value:.0f} %" if value in (0, 100) or 1 <= value <= 99 else f"{min(max(value, 0.1), 99.9):.1f} %"


def _size(reading: MaskReading) -> str:
    height, width = reading.pixels.shape
    return f"{width} x {height}"


def _by_content(image: Image.Image, jpeg: bool) -> MaskReading:
    if image.mode in _TRANSPARENT and image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        if (rgba[..., 3] != rgba[0, 0, 3]).any():
            return _with_transparency(rgba)
    index = _palette_index(image) if image.mode in ("P", "PA") else None
    if index is not None:
        values: NDArray[np.integer] = index
        pixels, kind = abnormal(index, most_labels=254)  # 255 is VOC's void, next to whatever index
    else:
        values = _values(image, jpeg)
        pixels, kind = abnormal(values, jpeg)
    return MaskReading(pixels, "classes" if kind == "classes" else "plain", values)


def _palette_index(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return the palette index of each pixel (H, W); none where the palette is one of greys, or of a picture."""
    index = np.asarray(image.convert("P") if image.mode == "PA" else image)
    used, first = np.unique(index, return_index=True)
    palette = np.asarray(image.convert("RGB")).reshape(-1, 3)[first]
    greys = (palette == palette[:, :1]).all() and len(np.unique(palette[:, 0])) == len(used)
    if greys or len(used) > MOST_CLASSES:
        return None
    black: NDArray[np.bool_] = palette.max(1) == 0
    if not used[0] and not black[0] and black.any():
        raise UnclearMaskError("has a palette in which index 0 has a colour and another index is black")
    return index


def _values(image: Image.Image, jpeg: bool) -> NDArray[np.integer]:
    """Return grey values, or the brightest channel of a colour, (H, W)."""
    if image.mode == "F":
        return _whole(np.asarray(image))
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0:
            raise UnclearMaskError(f"holds negative values, down to {deep.min()}")
        return deep
    if image.mode in ("1", "L"):
        return np.asarray(image).astype(np.uint8)
    return _grey(np.asarray(image.convert("RGB")), jpeg)


def _grey(colours: NDArray[np.uint8], jpeg: bool) -> NDArray[np.uint8]:
    """Return the brightest channel of each pixel (H, W); the grey value where there is no colour but noise."""
    tint = int((colours.max(2) - colours.min(2)).max())
    if tint <= TINT:
        grey = np.asarray(Image.fromarray(colours).convert("L"))
        if not tint or jpeg or len(levels_of(grey).values) > MOST_CLASSES:
            return grey
    brightest: NDArray[np.uint8] = colours.max(2)
    return brightest


def _whole(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return floating-point values as whole numbers; of two values that are none, one 0, the other becomes 1."""
    if not np.isfinite(values).all():
        raise UnclearMaskError("holds floating-point values that are not finite")
    different = np.unique(values)
    if len(different) <= 2 and different[0] == 0:
        return (values > 0).astype(np.int64)
    if different[0] < 0 or not (different == np.round(different)).all():
        raise UnclearMaskError(f"holds floating-point values from {different[0]:g} to {different[-1]:g}")
    return values.astype(np.int64)


def _with_transparency(rgba: NDArray[np.uint8]) -> MaskReading:
    """Read a mask whose alpha channel differs from pixel to pixel."""
    alpha, colours = rgba[..., 3], rgba[..., :3]
    if (colours == colours[0, 0]).all():
        return MaskReading(abnormal(alpha)[0], "transparency", alpha)
    shown: NDArray[np.uint8] = ((colours.max(2).astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    by_colour, by_alpha, on_black = _readable(colours.max(2)), _readable(alpha), _readable(shown)
    for other in (by_colour, by_alpha):
        if on_black is not None and other is not None and np.array_equal(on_black[0], other[0]):
            how: How = "classes" if on_black[1] == "classes" else "plain"
            return MaskReading(on_black[0], how, shown)
    raise UnclearMaskError(
        "has colours and transparency that contradict each other: on black it shows neither the shape of its colours "
        "nor that of its alpha channel. Save it without transparency"
    )


def _readable(values: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], str] | None:
    try:
        return abnormal(values)
    except UnclearMaskError:
        return None


def _above(image: Image.Image, threshold: int, path: ImagePath) -> MaskReading:
    """Read a mask of one deep or floating-point channel by a threshold, compared on the scale of its highest value."""
    values = np.asarray(image).astype(np.float64)
    whole, highest = _rounded_up(values, path), values.max()
    top = image.info.get("top", 1 if image.mode == "F" else 65535)
    top = next((each for each in (top, 255, 65535) if each >= top and highest <= each), highest)
    return MaskReading(values * 255 > threshold * top, "plain", whole)


def _rounded_up(values: NDArray[Any], path: ImagePath) -> NDArray[np.int64]:
    """Return values as whole numbers of 0 and more, fractions as the next one; infinite ones raise UnclearMask."""
    if not np.isfinite(values).all():
        raise UnclearMask(f"the mask {path} holds floating-point values that are not finite. Replace or remove it.")
    whole: NDArray[np.int64] = np.ceil(np.maximum(values, 0)).astype(np.int64)
    return whole


def _named_values(image: Image.Image) -> NDArray[Any]:
    """Return the palette index or grey value of each pixel (H, W), and -1 for a colour."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode in ("P", "PA"):
        return np.asarray(image.convert("P") if image.mode == "PA" else image).astype(np.int64)
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64)
    if image.mode in ("LA", "La"):
        return np.asarray(image.convert("L")).astype(np.int64)
    colours = np.asarray(image.convert("RGB")).astype(np.int64)
    grey = (colours == colours[..., :1]).all(2)
    named: NDArray[np.int64] = np.where(grey, colours[..., 0], -1)
    return named
