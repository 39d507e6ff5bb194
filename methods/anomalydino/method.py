"""AnomalyDINO: patch-based few-shot anomaly detection with DINOv2 (Damm et al., WACV 2025, arXiv 2405.14529).

Nothing is trained. A memory bank holds the unit patch features of the normal support, which may be rotated. Map: each
patch's cosine distance to its nearest neighbour in the bank. Image score: the mean of the highest 1 % of the distances.
Without a support the bank holds the patches of all other test images (batched zero-shot).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.blocks.augment import rotated
from adbench.blocks.maps import gaussian_blur, patch_map, top_mean
from adbench.blocks.memory_bank import cosine_distance, most_similar_in_each
from adbench.blocks.observed import fingerprints, first_rows
from adbench.blocks.precision import l2_normalize
from adbench.blocks.validate import at_least, choices, positive, shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

CENTRE = 0.2  # of the side is cut off on each side, to look whether the mask covers the middle
COVERED = 0.35  # share of the middle that a foreground covers at least; else the component points the other way


@dataclass
class Params:
    """Hyper-parameters. The paper's, but no rotations: most medical images have one way up."""

    bank: str = "support"  # or `test`: the other test images, without a support (transductive)
    rotations: int = 1  # of each support image; 8: by 0, 45, ..., 315 degrees
    block: int = 0  # 0: the last one; of a CLIP, whose last patch tokens no loss ever saw, the one at half of the depth
    final_norm: bool | None = None  # whether the tower's final norm is applied; None: where the last block is read
    mask: bool = False  # whether the background of a scored image is at distance 0
    mask_threshold: float = 10.0  # of the first principal component of an image's tokens, which foreground exceeds
    top: float = 0.01  # share of the patches that the image score is the mean of
    sigma: float = 4.0  # Gaussian smoothing of the map, in input pixels
    activation: str = "native"
    normalisation: str = "native"


class AnomalyDINO(Method[Params]):
    """Cosine distance to the nearest normal patch."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images; or from none, and look at all test images."""
        choices(params, bank=("support", "test"), rotations=(1, 8))
        at_least(params, 0, "block", "sigma", most=1000)
        at_least(params, 0, "mask_threshold")
        positive(params, "top")
        shares(params, "top")
        supported = params.bank == "support"
        if not supported and params.rotations > 1:
            raise AdbenchError(
                f"method.rotations={params.rotations} is not possible with method.bank=test: only a support is rotated."
            )
        if not params.mask and params.mask_threshold != Params.mask_threshold:
            raise AdbenchError(
                f"method.mask_threshold={params.mask_threshold:g} is not possible without a mask: add method.mask=true."
            )
        half = max(1, architecture.depth // 2)
        return Capability(
            support="normal" if supported else "none",
            blocks=(params.block or (half if architecture.text_depth else architecture.depth),),
            class_token=False,
            stochastic=False,
            normalisation=params.normalisation,
            activation=params.activation,
            transductive=not supported,
        )

    def build(self) -> None:
        """Create the empty bank; patches of test images are never saved."""
        supported = self.params.bank == "support"
        self.register_buffer("bank", torch.empty((0, 0) if supported else (0, 0, 0)), persistent=supported)
        self.row_of: dict[str, int] = {}  # of an observed image in the bank
        last = self.blocks[0] == self.backbone.architecture.depth
        self.normed = last if self.params.final_norm is None else self.params.final_norm

    def build_memory(self, support: Support) -> None:
        """Keep the patches of the support in all its rotations, one turn after the other: (rows, width)."""
        if self.params.bank == "test":
            return
        step, rows = 360 / self.params.rotations, []
        for turn in range(self.params.rotations):
            images = rotated(support.images, [turn * step] * len(support)) if turn else support.images
            blocks = self.encode(images, "encoding the support").blocks
            rows.append(l2_normalize(self._patches(blocks)).flatten(0, 1))
        self.bank = torch.cat(rows).to(self.device)

    def observe_test_images(self, batches: Iterable[Batch]) -> None:
        """Keep the patches of all images that are about to be scored: (N, patches, width)."""
        patches, names = [], []
        for batch in batches:
            patches.append(l2_normalize(self._patches(batch.features.blocks)))
            names += fingerprints(batch.images)
        if len(names) < 2:
            raise AdbenchError(
                f"anomalydino with method.bank=test compares an image with the others, and {len(names)} was given: "
                "score two or more together, as in adbench score RECORD FOLDER."
            )
        self.bank, self.row_of = torch.cat(patches), first_rows(names)

    def score(self, batch: Batch) -> Scores:
        """Return the distances of the patches as the map, and the mean of the highest as the image score."""
        patches = self._patches(batch.features.blocks)
        queries = l2_normalize(patches)
        if self.params.bank == "support":
            distance = cosine_distance(queries, self.bank)
        else:
            rows = [self.row_of.get(name) for name in fingerprints(batch.images)]
            distance = torch.stack([self._to_others(*pair) for pair in zip(queries, rows, strict=True)])
        if self.params.mask:
            grid = self.backbone.grid
            kept = [foreground(one.unflatten(0, (grid, grid)), self.params.mask_threshold) for one in patches]
            distance = distance * torch.stack(kept).flatten(1)
        maps = patch_map(distance, self.backbone.input_size, align_corners=False)
        return Scores(top_mean(distance, self.params.top), gaussian_blur(maps, self.params.sigma))

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the unit patches (B, patches, C), and those of the support (M, C) in all its rotations."""
        return l2_normalize(self._patches(batch.features.blocks)), self.bank

    def _to_others(self, queries: Tensor, own: int | None) -> Tensor:
        """Return (patches,): the cosine distance to the nearest patch of any observed image but the `own`."""
        similar = most_similar_in_each(queries, self.bank)
        if own is not None:
            similar[:, own] = -1
        return 1 - similar.amax(1)

    def _patches(self, blocks: dict[int, Tensor]) -> Tensor:
        """Return (B, patches, width), fp32."""
        tokens = blocks[self.blocks[0]][:, self.backbone.architecture.prefix :].float()
        if not self.normed:
            return tokens
        return self.backbone.norm(tokens.to(self.backbone.device)).float().to(tokens.device)


def foreground(tokens: Tensor, threshold: float) -> Tensor:
    """Return a bool (h, w): the patches of an image, tokens (h, w, C), where its first principal component is large.

    That is above `threshold`; where too little of the middle is, below its negative. The mask is dilated, then closed,
    by 3 x 3 patches. The sign of the component makes its largest weight positive.
    """
    h, w, _ = tokens.shape
    centred = tokens.flatten(0, 1) - tokens.mean((0, 1))
    with torch.autocast(tokens.device.type, enabled=False):
        vectors = torch.linalg.eigh(centred.double().T @ centred.double()).eigenvectors
        axis = vectors[:, -1]
        component = (centred.double() @ axis * axis[axis.abs().argmax()].sign()).view(h, w)
    kept = component > threshold
    top, left = int(CENTRE * h), int(CENTRE * w)
    if kept[top : h - top, left : w - left].float().mean() <= COVERED:
        kept = -component > threshold
    return _eroded(_dilated(_dilated(kept)))


def _dilated(mask: Tensor) -> Tensor:
    return F.max_pool2d(mask[None].float(), 3, stride=1, padding=1)[0] > 0


def _eroded(mask: Tensor) -> Tensor:
    return ~_dilated(~mask)
