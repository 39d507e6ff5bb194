"""Batches for pretraining: pools of phantoms, geometric and photometric variation, which captions are true."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from adbench.datasets.phantoms.phantom import FAMILIES, Phantom, draw

from .captions import STYLES, SUBJECTS, Caption

POOL_SIDE = 144  # pixels; larger than the model's input so that zooming in shows detail
CLIP_STATISTICS = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET_STATISTICS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATIONS = {"none": ((0.0,) * 3, (1.0,) * 3), "clip": CLIP_STATISTICS, "imagenet": IMAGENET_STATISTICS}


@dataclass
class Pool:
    """`images` uint8 (N, 3, S, S), `masks` uint8 (N, S, S) in {0, 255}, and what each phantom shows.

    Rows 2i and 2i + 1 are one anatomy, healthy and diseased.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    phantoms: list[Phantom]


def resized(phantom: Phantom, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (3, side, side) and mask (side, side) of a phantom, squashed to a square as the methods do."""
    image = Image.fromarray(phantom.image).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BOX)
    return np.asarray(image).transpose(2, 0, 1), np.asarray(mask)


def _pair(job: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[Phantom]]:
    seed, index = job
    family = FAMILIES[index % len(FAMILIES)]
    pair = [draw(family, seed, index // 12, index // 6 % 2, abnormal, narrow=True) for abnormal in (False, True)]
    images, masks = zip(*(resized(phantom, POOL_SIDE) for phantom in pair), strict=True)
    empty = np.zeros((0, 0), dtype=np.uint8)
    lesions = [replace(phantom, image=empty, mask=empty.astype(bool)) for phantom in pair]
    return np.stack(images), np.stack(masks), lesions


def render(seed: int, pairs: int, processes: int) -> Pool:
    """Draw `pairs` healthy-diseased pairs, the families in turn."""
    jobs = [(seed, index) for index in range(pairs)]
    with ProcessPoolExecutor(processes) as executor:
        drawn = list(executor.map(_pair, jobs, chunksize=64))
    images, masks, pairs_drawn = zip(*drawn, strict=True)
    phantoms = [phantom for pair in pairs_drawn for phantom in pair]
    return Pool(np.concatenate(images), np.concatenate(masks), phantoms)


def _blocky(image: Tensor) -> Tensor:
    coarse = F.interpolate(F.avg_pool2d(image[None], 8), image.shape[-2:])[0]
    return 0.45 * image + 0.55 * coarse


def _low_resolution(image: Tensor) -> Tensor:
    small = F.interpolate(image[None], scale_factor=0.35, mode="area")
    return F.interpolate(small, image.shape[-2:], mode="bilinear")[0]


def _blurred(image: Tensor) -> Tensor:
    for _ in range(2):
        image = F.avg_pool2d(image[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    return image


ALTERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "bright": lambda image: image * 1.4 + 0.05,
    "dark": lambda image: image * 0.55,
    "blurry": _blurred,
    "low resolution": _low_resolution,
    "black and white": lambda image: image.mean(0, keepdim=True).expand(3, -1, -1),
    "jpeg corrupted": _blocky,
}
ZOOMS = {"large": 0.78, "small": 1.3, "cropped": 0.62, "close-up": 0.5}  # seen side / full side


@dataclass
class Views:
    """`images` (B, 3, S, S) normalised, `masks` (B, S, S) in [0, 1], what each shows, and its style ("" for plain)."""

    images: Tensor
    masks: Tensor
    shown: list[Phantom]
    styles: list[str]


def truths(
    shown: list[Phantom], styles: list[str], captions: list[Caption], crisp: NDArray[np.bool_] | None = None
) -> Tensor:
    """Whether caption j is true of view i, bool (B, B); `crisp` says which views are richer in detail than most."""
    facts: dict[str, Sequence[object]] = {
        "subject": [SUBJECTS[phantom.family] for phantom in shown],
        "abnormal": [bool(phantom.kind) for phantom in shown],
        "kind": [phantom.kind for phantom in shown],
        "place": [phantom.place for phantom in shown],
        "style": styles,
    }
    if crisp is not None:
        facts["crisp"] = crisp.tolist()
    true = np.ones((len(shown), len(captions)), dtype=bool)
    for name, values in facts.items():
        claims = [getattr(caption, name) for caption in captions]
        true &= np.array([[claim in ("", None) or claim == value for claim in claims] for value in values])
    return torch.from_numpy(true)


def vary(pool: Pool, rows: NDArray[np.int64], side: int, rng: np.random.Generator) -> Views:
    """Vary the pool's `rows`; a lesion that a crop would cut away takes the crop back."""
    count = len(rows)
    styles = [STYLES[rng.integers(len(STYLES))] if rng.random() < 0.3 else "" for _ in range(count)]
    zoom = np.array([ZOOMS.get(style, 1.0) for style in styles]) * rng.uniform(0.93, 1.05, count)
    zoom = np.where((rng.random(count) < 0.25) & (zoom > 0.9), rng.uniform(0.5, 0.95, count), zoom)
    slack = np.clip(1 - zoom, 0.04, None)[:, None]
    moved = rng.uniform(-1, 1, (count, 2)) * slack
    flips = np.where(rng.random((count, 2)) < (0.4, 0.12), -1.0, 1.0)
    angle = rng.normal(0, 0.12, count)
    c, s = np.cos(angle), np.sin(angle)
    plain = [np.stack([c * flips[:, 0], -s], -1), np.stack([s, c * flips[:, 1]], -1)]
    turn = np.stack(plain, 1)
    whole = np.concatenate([turn, np.zeros((count, 2, 1))], -1)
    theta = np.concatenate([turn * zoom[:, None, None], moved[:, :, None]], -1)

    masks = torch.from_numpy(pool.masks[rows])[:, None].float() / 255
    full = masks.mean((1, 2, 3))
    shape = [count, 1, side, side]

    def warp(pixels: Tensor, matrix: NDArray[np.float64]) -> Tensor:
        grid = F.affine_grid(torch.from_numpy(matrix).float(), shape, align_corners=False)
        return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)

    seen = warp(masks, theta).mean((1, 2, 3)) * torch.from_numpy(zoom**2).float()
    lost = ((full > 0) & (seen < 0.6 * full)).numpy()
    theta = np.where(lost[:, None, None], whole, theta)
    styles = ["" if gone and style in ZOOMS else style for style, gone in zip(styles, lost, strict=True)]
    images = warp(torch.from_numpy(pool.images[rows]).float() / 255, theta)
    masks = warp(masks, theta)[:, 0]

    means, deviations = (torch.tensor([value[i] for value in NORMALISATIONS.values()]) for i in (0, 1))
    choice = torch.from_numpy(rng.integers(0, len(NORMALISATIONS), count))
    for i, style in enumerate(styles):
        if style in ALTERATIONS:
            images[i] = ALTERATIONS[style](images[i])
    gain, gamma, haze = (torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1))).float()
                         for low, high in ((0.8, 1.2), (0.8, 1.25), (0.0, 0.02)))  # fmt: skip
    images = images.clamp(0, 1).pow(gamma).mul(gain).clamp(0, 1)
    images = images + haze * torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32))
    images = (images - means[choice][:, :, None, None]) / deviations[choice][:, :, None, None]

    mirrored = [bool(row.min() < 0) for row in flips]
    shown = [pool.phantoms[row] for row in rows]
    shown = [replace(p, place="") if gone else p for p, gone in zip(shown, mirrored, strict=True)]
    return Views(images, masks, shown, styles)
