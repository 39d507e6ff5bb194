"""Dinomaly: the less is more philosophy in multi-class unsupervised anomaly detection (Guo et al., CVPR 2025).

Trained, on normal images: a bottleneck with dropout and a decoder with linear attention, which rebuild the patch
features of a frozen ViT from their own mean. What is rebuilt is the mean of a group of blocks, each map as a whole,
and patches that are rebuilt well already hardly count. Map: per patch 1 - cosine between frozen and rebuilt features.
Image score: the mean of its highest pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.loose import (
    HEAD,
    checked_groups,
    fused_groups,
    group_means,
    grouped,
    loose_map,
    loose_scores,
    loose_terms,
    rebuilt_groups,
    small_weights,
    token_distance,
)
from adbench.blocks.losses import finite_sum
from adbench.blocks.optimisers import stable_adamw_along_a_cosine
from adbench.blocks.rows import Rows
from adbench.blocks.training import ClippedGradients, repeated, require_normal
from adbench.blocks.validate import at_least, positive, shares
from adbench.data.decode import Filter
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.progress import track

from .decoder import Decoder

CHUNK = 16  # images of the support of which all read blocks are held at once


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code (README.md)."""

    epochs: int = 10
    epoch_steps: int = 1000  # whatever the size of the support
    batch_size: int = 16
    learning_rate: float = 2e-3
    final_share: float = 0.1  # of the learning rate, at the last step
    warm_up: int = 100  # steps over which the rate rises from 0
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # of the gradient; 0: no clipping
    levels: list[int] = field(default_factory=list)  # blocks of the backbone; empty: eight in the middle
    level_norm: bool = False  # a layer norm of each token at each of these blocks; the paper: none
    groups: int = 2  # of these blocks; their number: block by block
    decoder_blocks: int = 8
    heads: int = 0  # of the decoder's attention; 0: of 64 channels each
    dropout: float = 0.2  # of the bottleneck
    mined: float = 0.9  # share of the patches, those rebuilt best, whose gradient is scaled down
    mined_gradient: float = 0.1  # what is left of it
    mining_steps: int = 1000  # over which `mined` rises from 0
    map_size: int = 256
    sigma: float = 4.0  # Gaussian smoothing of the map over 5 x 5 of its pixels; 0: none
    top: float = 0.01  # share of the map's pixels that the image score is the mean of
    resize: Filter = "bicubic"  # of the images; the authors: bilinear
    activation: str = "native"
    normalisation: str = "native"


class Dinomaly(ClippedGradients, Method[Params]):
    """Bottleneck and decoder over cached features of a frozen ViT."""

    version = "2"

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        levels = _check(params, architecture)
        return Capability(
            support="normal",
            blocks=levels,
            registers=levels if architecture.registers else (),
            class_token=False,
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            resize=params.resize,
        )

    def build(self) -> None:
        """Create bottleneck and decoder."""
        p, width = self.params, self.backbone.architecture.width
        self.decoder = Decoder(width, p.heads or max(1, width // HEAD), p.decoder_blocks, p.dropout)
        small_weights(self.decoder)
        self.groups = grouped(len(self.blocks), p.groups)

    def prepare(self, support: Support) -> None:
        """Keep the mean over each group of blocks of the normal images: their mean is what enters the decoder."""
        require_normal(len(support), "dinomaly")
        chunks = support.images.split(CHUNK)
        kept = torch.empty(0)
        for i, images in enumerate(track(chunks, "encoding the support", len(chunks))):
            features = self.encode(images)
            means = self._means(features).to(features.blocks[self.blocks[0]].dtype)
            if i == 0:  # allocated once: a whole training set of a large ViT is tens of gigabytes
                kept = means.new_empty(len(support), *means.shape[1:])
            kept[i * CHUNK : i * CHUNK + len(means)] = means
        self.data = Rows(kept).placed(self.device, self.features_gb)

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, and repeat them in a new order until the epoch has its steps."""
        return repeated(self.data, self.params.batch_size, self.params.epoch_steps, self.generator("order"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Rebuild each group's map; the mean over groups."""
        p = self.params
        target, output = self._rebuild(batch[0].float())
        mined = p.mined * min(1.0, self.global_step / p.mining_steps)
        return finite_sum(
            **loose_terms(target, output, lambda d: gradient_factors(d, mined, p.mined_gradient), self.blocks)
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """StableAdamW; the rate warms up and falls along a cosine, step by step."""
        p, steps = self.params, self.params.epochs * self.params.epoch_steps
        return stable_adamw_along_a_cosine(
            self.parameters(), p.learning_rate, p.weight_decay, p.warm_up, steps, p.final_share
        )

    def score(self, batch: Batch) -> Scores:
        """Return the smoothed distances as the map; the image score is the mean of its highest pixels."""
        return Scores(*loose_scores(self._distances(batch), self.backbone.input_size, self.params))

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the map of each group before it is smoothed, under the number of its last block."""
        distances = self._distances(batch).unbind(1)
        return {self.blocks[run[-1]]: self._map(d) for run, d in zip(self.groups, distances, strict=True)}

    def _means(self, features: Features) -> Tensor:
        p = self.params
        return group_means(features, self.blocks, p.groups, self.backbone.architecture.prefix, p.level_norm)

    def _rebuild(self, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frozen and the rebuilt patches, fp32 (B, groups, patches, width), of groups (B, groups, ...)."""
        shape = self.backbone.architecture
        rebuilt = rebuilt_groups(self.decoder(fused_groups(means, len(self.blocks))), len(self.groups))
        first = shape.prefix + shape.registers
        return means[:, :, first:], rebuilt[:, :, first:]

    def _distances(self, batch: Batch) -> Tensor:
        """Return 1 - cosine of each patch in each group, (B, groups, patches)."""
        return token_distance(*self._rebuild(self._means(batch.features)))

    def _map(self, distance: Tensor) -> Tensor:
        return loose_map(distance, self.backbone.input_size, self.params.map_size)


def gradient_factors(distance: Tensor, mined: float, left: float) -> Tensor:
    """Return `left` for the `mined` share of all patches (B, patches) that are nearest to their target, 1 for others.

    >>> gradient_factors(torch.tensor([[0.1, 0.4], [0.3, 0.2]]), mined=0.5, left=0.0).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    hard = max(1, int(distance.numel() * (1 - mined)))
    threshold = distance.flatten().topk(hard).values[-1]
    return torch.where(distance < threshold, left, 1.0)


def _check(params: Params, architecture: Architecture) -> tuple[int, ...]:
    """Return the blocks that are read; impossible parameters are an error."""
    at_least(params, 1, "epoch_steps", "decoder_blocks", "groups", "mining_steps")
    at_least(params, 1, "map_size", most=4096)
    at_least(params, 0, "warm_up", "clip_norm", "heads")
    at_least(params, 0, "sigma", most=1000)
    positive(params, "top")
    shares(params, "final_share", "dropout", "mined", "mined_gradient", "top")
    return checked_groups(params, architecture)
