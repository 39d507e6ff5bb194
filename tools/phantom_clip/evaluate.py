"""Evaluation of phantom-clip on the benchmark's phantoms: the table of docs/phantoms.md."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from scipy.optimize import minimize
from torch import Tensor

from adbench.datasets.phantoms.phantom import FAMILIES, Phantom, draw

from .augment import NORMALISATIONS, resized
from .captions import SUBJECTS, ensemble, state_caption

NAMES = {"brain": "Brain", "liver": "Liver", "retina": "retinal OCT", "chest": "Chest X-ray film",
         "tissue": "histopathological image"}  # fmt: skip
Floats = NDArray[np.float64]


def auroc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Area under the ROC curve, ties counted half."""
    values, rank = np.unique(scores, return_inverse=True)
    positive = np.bincount(rank[labels], minlength=len(values)).astype(float)
    negative = np.bincount(rank[~labels], minlength=len(values)).astype(float)
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / (positive.sum() * negative.sum()))


def draw_patients(family: str, patients: range, seed: int = 0, narrow: bool = False) -> list[Phantom]:
    """Four slices of each patient, patients healthy and diseased in turn."""
    return [draw(family, seed, p, s, p % 2 == 1, narrow=narrow) for p in patients for s in range(4)]


@torch.inference_mode()
def embed(model: CLIP, phantoms: Sequence[Phantom], normalisation: str) -> tuple[Tensor, Tensor]:
    """Image embeddings (N, D) and patch embeddings (N, P, D), of unit length."""
    side = model.visual.image_size[0]
    images = torch.from_numpy(np.stack([resized(phantom, side)[0] for phantom in phantoms])).float() / 255
    mean, deviation = (torch.tensor(v)[:, None, None] for v in NORMALISATIONS[normalisation])
    pooled, patches = [], []
    for chunk in ((images - mean) / deviation).split(64):
        seen = model.visual.forward_intermediates(chunk, [11], output_fmt="NLC")
        pooled.append(seen["image_features"])
        patches.append(model.visual.ln_post(seen["image_intermediates"][-1]) @ model.visual.proj)
    return F.normalize(torch.cat(pooled), dim=-1), F.normalize(torch.cat(patches), dim=-1)


@torch.inference_mode()
def axis(model: CLIP, subject: str) -> Tensor:
    """Unit embeddings (2, D) of the 245 normal and 175 abnormal prompts of a subject."""
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    states = [F.normalize(model.encode_text(tokenizer(p)), dim=-1).mean(0) for p in ensemble(NAMES[subject])]
    return F.normalize(torch.stack(states), dim=-1)


def probe(features: Floats, labels: NDArray[np.bool_], unseen: Floats, strength: float = 1.0) -> Floats:
    """Scores of a ridge-penalised logistic regression fitted to a few standardised rows."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x, z, sign = (features - mean) / deviation, (unseen - mean) / deviation, np.where(labels, 1.0, -1.0)

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ w)
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50)))
        return float(np.logaddexp(0, -margin).mean() + strength * w @ w), x.T @ slope / len(x) + 2 * strength * w

    scores: Floats = z @ minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return scores


def few_shot(pooled: Tensor, patches: Tensor, labels: NDArray[np.bool_], shots: int, draws: int = 5) -> float:
    """Mean AUROC of the probe on image embedding, mean and maximum of patch embeddings.

    Supports come from the first 24 patients, the other 30 are scored.
    """
    rows = torch.cat([pooled, patches.mean(1), patches.amax(1)], -1).double().numpy()
    pool, figures = np.arange(96), []
    for draw_ in range(draws):
        rng = np.random.default_rng(draw_)
        chosen = np.concatenate([rng.permutation(pool[labels[:96] == state])[:shots] for state in (False, True)])
        figures.append(auroc(probe(rows[chosen], labels[chosen], rows[96:]), labels[96:]))
    return float(np.mean(figures))


def few_masks(patches: Tensor, phantoms: Sequence[Phantom], shots: int = 16) -> float:
    """Pixel AUROC of a probe on the patch embeddings of `shots` + `shots` images with masks."""
    side = 14 * round(patches.shape[1] ** 0.5)
    masks = torch.from_numpy(np.stack([resized(phantom, side)[1] for phantom in phantoms])).double() / 255
    share = F.avg_pool2d(masks[:, None], 14).flatten(1).numpy()
    labels, rng = share.max(1) > 0, np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(np.flatnonzero(labels[:96] == state))[:shots] for state in (False, True)])
    tokens, width = patches.double().numpy(), patches.shape[-1]
    scores = probe(tokens[rows].reshape(-1, width), share[rows].ravel() > 0.25, tokens[96:].reshape(-1, width), 0.1)
    grid = torch.from_numpy(scores).view(len(phantoms) - 96, 1, side // 14, side // 14)
    maps = F.interpolate(grid, (side, side), mode="bilinear")[:, 0].numpy()
    return pixels(maps, phantoms[96:], side)


def pixels(maps: Floats, phantoms: Sequence[Phantom], side: int) -> float:
    """Pixel AUROC at `side` x `side` of maps (N, side, side)."""
    masks = np.stack([resized(phantom, side)[1] > 127 for phantom in phantoms])
    return auroc(np.round(maps, 5).ravel(), masks.ravel())


def report(model: CLIP, untrained: CLIP) -> str:
    """A Markdown table, figures in percent; see docs/phantoms.md for the columns."""
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    side = model.visual.image_size[0]
    lines = [
        "| family | zero-shot: none | clip | imagenet | probe k=4 | probe k=16 | same, untrained "
        "| pixel: intensity | zero-shot | 16 masks | same, untrained | state of unseen |",
        "|" + "---|" * 12,
    ]
    for family in FAMILIES:
        phantoms = draw_patients(family, range(54))
        labels = np.array([bool(phantom.kind) for phantom in phantoms])
        texts = axis(model, SUBJECTS[family])
        difference = texts[1] - texts[0]
        figures = []
        for normalisation in NORMALISATIONS:
            pooled, patches = embed(model, phantoms, normalisation)
            figures.append(auroc((pooled @ difference).double().numpy(), labels))
            if normalisation == "none":
                grid = (patches @ difference).view(len(phantoms), 1, side // 14, side // 14)
                maps = F.interpolate(grid, (side, side), mode="bilinear")[:, 0].double().numpy()
                kept = pooled, patches
        grey = np.stack([resized(phantom, side)[0].mean(0) for phantom in phantoms])
        bare = embed(untrained, phantoms, "none")
        figures += [few_shot(*kept, labels, shots) for shots in (4, 16)] + [few_shot(*bare, labels, 16)]
        figures += [pixels(grey, phantoms, side), pixels(maps, phantoms, side)]
        figures += [few_masks(patches, phantoms) for patches in (kept[1], bare[1])]
        unseen = draw_patients(family, range(16), seed=5000, narrow=True)
        rng = np.random.default_rng(0)
        with torch.inference_mode():
            sentences = [state_caption(SUBJECTS[family], bool(s), rng) for s in (0, 1) for _ in range(20)]
            features = F.normalize(model.encode_text(tokenizer(sentences)), dim=-1).view(2, 20, -1)
            scores = embed(model, unseen, "none")[0] @ features.transpose(1, 2)
        truth = torch.tensor([bool(phantom.kind) for phantom in unseen])
        figures.append(float(((scores[1] > scores[0]) == truth[:, None]).float().mean()))
        lines.append(f"| {family} | " + " | ".join(f"{100 * value:.1f}" for value in figures) + " |")
    return "\n".join(lines)
