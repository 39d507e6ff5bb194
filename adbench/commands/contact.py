"""Contact sheets: many images on one page, masks outlined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adbench.data.decode import open_image
from adbench.data.items import DatasetConfig, Item
from adbench.data.masks import read_masks
from adbench.data.shrink import resized
from adbench.records.pictures import outline

TILE = 168  # pixels of the square that holds one image
GAP = 8
LINE = 15  # pixels of a caption's line
HEADING = 30
ACROSS = 8
COLOUR = (64, 224, 255)
FIELD = "#d8d8d8"  # around an image that isn't square
TEXT, BOLD = ImageFont.load_default(11), ImageFont.load_default(15)


@dataclass(frozen=True)
class Band:
    """One heading and the images under it, each with a caption of one or two lines."""

    heading: str
    tiles: Sequence[tuple[Image.Image, str]]


def tile(item: Item, dataset: DatasetConfig) -> Image.Image:
    """Return one image, its proportions kept, in a square of `TILE` pixels; its mask is outlined as a run reads it.

    Raises DataError where a file can't be read.
    """
    image = open_image(item.image, dataset.intensity_range).convert("RGB")
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    if max(image.size) < TILE:  # thumbnail never enlarges
        factor = TILE / max(image.size)
        width, height = (max(round(side * factor), 1) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels: NDArray[np.uint8] = np.asarray(image, dtype=np.uint8)
    mask = np.zeros(pixels.shape[:2], bool)
    if item.label and item.mask_files:
        mask, _ = resized(read_masks(item.mask_images, dataset).pixels, image.height, image.width)
    square = Image.new("RGB", (TILE, TILE), FIELD)
    framed = Image.fromarray(outline(pixels, mask, COLOUR)) if mask.any() else image
    square.paste(framed, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return square


def sheet(title: str, bands: Iterable[Band]) -> Image.Image:
    """Lay bands of tiles out beneath each other, `ACROSS` tiles in a row."""
    bands = [band for band in bands if band.tiles]
    across = min(ACROSS, max((len(band.tiles) for band in bands), default=1))
    across = max(across, 4)  # room for the headings
    deep = TILE + 2 * LINE + GAP
    rows = [-(-len(band.tiles) // across) for band in bands]
    width = across * (TILE + GAP) + GAP
    canvas = Image.new("RGB", (width, GAP + HEADING + sum(HEADING + number * deep for number in rows)), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((GAP, GAP), fitting(title, width - 2 * GAP, BOLD), fill="black", font=BOLD)
    top = GAP + HEADING
    for band, number in zip(bands, rows, strict=True):
        pen.text((GAP, top + 6), fitting(band.heading, width - 2 * GAP, BOLD), fill="black", font=BOLD)
        for place, (picture, caption) in enumerate(band.tiles):
            x = GAP + place % across * (TILE + GAP)
            y = top + HEADING + place // across * deep
            canvas.paste(picture, (x, y))
            for line, text in enumerate(caption.splitlines()[:2]):
                pen.text((x, y + TILE + 1 + line * LINE), fitting(text, TILE, TEXT), fill="black", font=TEXT)
        top += HEADING + number * deep
    return canvas


def fitting(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Shorten a text in its middle until it is at most `width` pixels wide: file names differ at their end.

    >>> fitting("valid", 100, TEXT)
    'valid'
    """
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and font.getlength(_cut(text, kept)) > width:
        kept -= 1
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    head = kept // 3
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"
