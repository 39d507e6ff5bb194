"""INP-Former: exploring intrinsic normal prototypes within a single image (Luo et al., CVPR 2025).

Trained, on normal images: prototypes that collect the patches of an image, and a decoder that rebuilds the patch
features of a frozen ViT from these prototypes alone. So an image is compared with what is normal in itself. What is
rebuilt are the means of groups of blocks, as in Dinomaly; badly rebuilt patches count more. Map: per patch 1 - cosine
between frozen and rebuilt features. Image score: the mean of its highest pixels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.augment import regad_views
from adbench.blocks.frozen import FrozenRows
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

from .decoder import PrototypeDecoder, coherence


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code (README.md)."""

    epochs: int = 200
    epoch_steps: int = 0  # whatever the size of the support; 0: each image once, without an incomplete batch
    batch_size: int = 16
    few: int = 32  # an image of a data set with at most so many in the support is shown in 22 views; 0: none is
    learning_rate: float = 1e-3
    final_share: float = 0.1  # of the learning rate, at the last step
    warm_up: int = 100  # steps over which the rate rises from 0
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # of the gradient; 0: no clipping
    levels: list[int] = field(default_factory=list)  # blocks of the backbone; empty: eight in the middle
    level_norm: bool = False  # a layer norm of each token at each of these blocks; the paper: none
    groups: int = 2  # of these blocks; their number: block by block
    prototypes: int = 6  # of each image
    decoder_blocks: int = 8
    heads: int = 0  # of all attention; 0: of 64 channels each
    dropout: float = 0.0  # of the bottleneck; Dinomaly's noise, which the paper leaves out
    mining: float = 3.0  # a patch's gradient is multiplied by (distance / mean distance) to this power; 0: by 1
    coherence: float = 0.2  # weight of the loss that draws prototypes to the patches
    map_size: int = 256
    sigma: float = 4.0  # Gaussian smoothing of the map over 5 x 5 of its pixels; 0: none
    top: float = 0.01  # share of the map's pixels that the image score is the mean of
    resize: Filter = "bicubic"  # of the images; the authors: bilinear
    activation: str = "native"
    normalisation: str = "native"


class INPFormer(ClippedGradients, Method[Params]):
    """Prototypes, bottleneck and decoder over cached features of a frozen ViT."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        return Capability(
            support="normal",
            blocks=_check(params, architecture),
            class_token=False,
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            resize=params.resize,
        )

    def build(self) -> None:
        """Create prototypes, bottleneck and decoder."""
        p, width = self.params, self.backbone.architecture.width
        self.decoder = PrototypeDecoder(
            width, p.heads or max(1, width // HEAD), p.decoder_blocks, p.prototypes, p.dropout
        )
        small_weights(self.decoder)
        self.groups = grouped(len(self.blocks), p.groups)

    def prepare(self, support: Support) -> None:
        """Augment the images of small data sets, and read the mean over each group of blocks of all images."""
        require_normal(len(support), "inpformer")
        sizes = Counter(support.datasets)
        few = torch.tensor([sizes[name] <= self.params.few for name in support.datasets])
        images = torch.cat([support.images[~few], regad_views(support.images[few])]) if few.any() else support.images
        self.rows = FrozenRows(self._read, images).placed(self.device, self.features_gb)

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images; where `epoch_steps` asks for more of them they are repeated in a new order."""
        numbers = Rows(torch.arange(len(self.rows.images)))
        return repeated(numbers, self.params.batch_size, self._epoch_steps(), self.generator("order"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Rebuild each group's map, the mean over groups; the prototypes' distance from the patches is added."""
        p = self.params
        (means,) = self.rows[batch[0]]
        target, output, apart = self._rebuild(means.to(self.device).float())
        terms = loose_terms(target, output, partial(soft_factors, power=p.mining), self.blocks)
        return finite_sum(**terms, coherence=p.coherence * apart)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """StableAdamW; the rate warms up and falls along a cosine, step by step."""
        p, steps = self.params, self.params.epochs * self._epoch_steps()
        return stable_adamw_along_a_cosine(
            self.parameters(), p.learning_rate, p.weight_decay, p.warm_up, steps, p.final_share
        )

    def score(self, batch: Batch) -> Scores:
        """Return the smoothed distances as the map; the image score is the mean of its highest pixels."""
        return Scores(*loose_scores(self._distances(batch), self.backbone.input_size, self.params))

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the map of each group before it is smoothed, under the number of its last block."""
        maps = [loose_map(d, self.backbone.input_size, self.params.map_size) for d in self._distances(batch).unbind(1)]
        return {self.blocks[run[-1]]: found for run, found in zip(self.groups, maps, strict=True)}

    def _epoch_steps(self) -> int:
        return self.params.epoch_steps or max(1, len(self.rows.images) // self.params.batch_size)

    def _read(self, images: Tensor) -> list[Tensor]:
        """Return the patches' means over each group of blocks, (B, groups, patches, width), as precise as a block."""
        features = self.encode(images)
        return [self._means(features).to(features.blocks[self.blocks[0]].dtype)]

    def _means(self, features: Features) -> Tensor:
        p, prefix = self.params, self.backbone.architecture.prefix
        return group_means(features, self.blocks, p.groups, prefix, p.level_norm)[:, :, prefix:]

    def _rebuild(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the frozen and the rebuilt patches, fp32 (B, groups, patches, width), and the coherence loss."""
        fused = fused_groups(means, len(self.blocks))
        outputs, prototypes = self.decoder(fused)
        return means, rebuilt_groups(outputs, len(self.groups)), coherence(fused, prototypes)

    def _distances(self, batch: Batch) -> Tensor:
        """Return 1 - cosine of each patch in each group, (B, groups, patches)."""
        target, output, _ = self._rebuild(self._means(batch.features))
        return token_distance(target, output)


def soft_factors(distance: Tensor, power: float) -> Tensor:
    """Return (distance / mean distance)^power of all patches (B, patches): soft mining.

    >>> soft_factors(torch.tensor([[0.1, 0.3]]), power=2.0).tolist()
    [[0.25, 2.25]]
    """
    distance = distance.clamp(min=0)  # an exact copy may be a rounding error below
    return (distance / distance.mean().clamp(min=torch.finfo(distance.dtype).tiny)) ** power


def _check(params: Params, architecture: Architecture) -> tuple[int, ...]:
    """Return the blocks that are read; impossible parameters are an error."""
    at_least(params, 1, "decoder_blocks", "groups", "prototypes")
    at_least(params, 1, "map_size", most=4096)
    at_least(params, 0, "epoch_steps", "few", "warm_up", "clip_norm", "heads", "coherence")
    at_least(params, 0, "mining", most=10)
    at_least(params, 0, "sigma", most=1000)
    positive(params, "top")
    shares(params, "final_share", "dropout", "top")
    return checked_groups(params, architecture)
