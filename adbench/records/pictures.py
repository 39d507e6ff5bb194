"""Heatmaps, outlines and the gallery of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from adbench.system import cores

COLOURS = matplotlib.colormaps["inferno"]
PANEL = 240  # pixels of one panel's side
LABEL = 40  # pixels of the caption
Span = tuple[float, float]  # the scores that are black and pale yellow


def heatmap(scores: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Colour a map (H, W): `low` is black, `high` is pale yellow. Returns (H, W, 3)."""
    scaled = np.clip((scores - low) / max(high - low, 1e-12), 0, 1)
    return (np.asarray(COLOURS(scaled))[..., :3] * 255).astype(np.uint8)


def overlay(image: NDArray[np.uint8], scores: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Lay the heatmap over an image (H, W, 3) of the same size: the higher the score, the more colour."""
    weight = 0.75 * np.clip((scores - low) / max(high - low, 1e-12), 0, 1)[..., None]
    return ((1 - weight) * image + weight * heatmap(scores, low, high)).astype(np.uint8)


def outline(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Draw the border of a mask (H, W), two pixels wide, into a copy of the image."""
    border = mask & ~ndimage.binary_erosion(mask, iterations=2, border_value=1)
    return np.where(border[..., None], np.array(colour, np.uint8), image)


def colour_bar(
    height: int, low: float, high: float, threshold: float | None = None, ground: str = "white"
) -> NDArray[np.uint8]:
    """Return the scale of a heatmap, (height, W, 3): its colours, what the ends stand for, and where a threshold lies.

    Where the threshold's number would cover another, or lies beyond the ends, the mark alone, or nothing, is drawn.
    """
    size = min(max(height // 22, 10), 40)
    font, ink = ImageFont.load_default(size), "black" if ground == "white" else "white"
    names = [f"{high:.3g}", f"{low:.3g}"]
    within = threshold is not None and low < threshold < high
    wide = max(int(font.getlength(name)) for name in [*names, *([f"{threshold:.3g}"] if within else [])])
    gap, bar = max(size // 3, 3), size
    canvas = Image.new("RGB", (3 * gap + bar + wide, height), ground)
    levels = np.linspace(high, low, height, dtype=np.float32)[:, None]
    colours = heatmap(np.repeat(levels, bar, 1), low, high)
    canvas.paste(Image.fromarray(colours), (gap, 0))
    draw, left = ImageDraw.Draw(canvas), 2 * gap + bar
    draw.text((left, 0), names[0], fill=ink, font=font, anchor="lt")
    draw.text((left, height - 1), names[1], fill=ink, font=font, anchor="ls")
    if within and threshold is not None:
        row = round((height - 1) * (high - threshold) / (high - low))
        draw.line((gap, row, left - 1, row), fill=(255, 64, 64), width=max(size // 8, 1))
        if 2 * size <= row <= height - 2 * size:
            draw.text((left, row), f"{threshold:.3g}", fill=(208, 32, 32) if ink == "black" else (255, 96, 96),
                      font=font, anchor="lm")  # fmt: skip
    return np.asarray(canvas)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) for showing."""
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def strip(
    image: NDArray[np.uint8], mask: NDArray[np.bool_] | None, scores: NDArray[np.float32] | None,
    span: Span, caption: str, levels: Mapping[str, tuple[NDArray[np.float32], Span]] = {},
) -> Image.Image:  # fmt: skip
    """Return image, true mask and map side by side, with a caption beneath; then each level's map under its name."""
    base = resize(image, PANEL)
    panels = [base]
    if mask is not None:
        true = np.asarray(Image.fromarray(mask).resize((PANEL, PANEL), Image.Resampling.NEAREST))
        panels.append(outline(base, true, (64, 224, 255)))
    if scores is not None:
        resized = np.asarray(Image.fromarray(scores).resize((PANEL, PANEL), Image.Resampling.BILINEAR))
        panels.append(overlay(base, resized, *span))
    for level, level_span in levels.values():
        resized = np.asarray(Image.fromarray(level).resize((PANEL, PANEL), Image.Resampling.BILINEAR))
        panels.append(overlay(base, resized, *level_span))
    canvas = Image.new("RGB", (PANEL * len(panels), PANEL + LABEL), "white")
    for place, panel in enumerate(panels):
        canvas.paste(Image.fromarray(panel), (place * PANEL, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    draw.text((6, PANEL + 4), caption, fill="black", font=font)
    for place, name in enumerate(levels, len(panels) - len(levels)):
        draw.text((place * PANEL + 6, PANEL + 4), name, fill="black", font=font)
    return canvas


def choose(table: pd.DataFrame, each: int) -> dict[str, list[int]]:
    """Return the rows of the worst misses, the worst false alarms and the best hits, `each` of a kind, worst first."""
    abnormal, normal = table[table["label"] == 1], table[table["label"] == 0]
    return {
        "miss": [int(i) for i in abnormal.sort_values(["score", "image"]).index[:each]],
        "false_alarm": [int(i) for i in normal.sort_values(["score", "image"], ascending=[False, True]).index[:each]],
        "hit": [int(i) for i in abnormal.sort_values(["score", "image"], ascending=[False, True]).index[:each]],
    }


def gallery(
    folder: Path, table: pd.DataFrame, rows: dict[str, list[int]], images: NDArray[np.uint8],
    masks: NDArray[np.bool_] | None, maps: NDArray[np.float32] | None,
    levels: Mapping[int, NDArray[np.float32]] = {},
) -> None:  # fmt: skip
    """Write one PNG per chosen image and `overview.png`; one colour scale for all, so that maps compare.

    `levels` are maps (n, H, W) by block, each block with its own scale.
    """
    folder.mkdir()
    span = _span(maps) if maps is not None else (0.0, 1.0)
    spans = {block: _span(level) for block, level in levels.items()}
    names, values = table["image"].tolist(), table["score"].to_numpy()
    rank = table["score"].rank(ascending=False, method="min").astype(int).to_numpy()
    columns: list[list[Image.Image]] = []
    files: list[tuple[Path, Image.Image]] = []
    place = 0
    for kind, chosen in rows.items():
        columns.append([])
        for number, row in enumerate(chosen, 1):
            name = names[row].rpartition("/")[2]
            caption = (
                f"{kind.replace('_', ' ')} {number}: {name}\nscore {values[row]:.4g}, rank {rank[row]} of {len(table)}"
            )
            picture = strip(
                images[place],
                None if masks is None else masks[place],
                None if maps is None else maps[place],
                span,
                caption,
                {f"block {block}": (level[place], spans[block]) for block, level in levels.items()},
            )
            files.append((folder / f"{kind}_{number:02d}.png", picture))
            columns[-1].append(picture)
            place += 1
    files.append((folder / "overview.png", overview([column[:4] for column in columns if column])))
    for _ in cores.each(lambda pair: pair[1].save(pair[0], compress_level=3), files):  # 6: twice as long, 11 % smaller
        pass


def _span(maps: NDArray[np.float32]) -> Span:
    return float(np.percentile(maps, 5)), float(maps.max())


def overview(columns: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Lay strips out in columns, one for each kind."""
    width, height = columns[0][0].size
    gap = 12
    canvas = Image.new("RGB", (len(columns) * (width + gap) - gap, max(len(c) for c in columns) * height), "white")
    for x, column in enumerate(columns):
        for y, picture in enumerate(column):
            canvas.paste(picture, (x * (width + gap), y * height))
    return canvas
