"""SimpleNet: a simple network for image anomaly detection and localization (Liu et al., CVPR 2023, arXiv 2303.15140).

Trained: a linear adapter of PatchCore's patch vectors, and a discriminator that tells the adapted vectors of normal
images from the same vectors with Gaussian noise. Frozen: the backbone. Map: how little normal the discriminator finds
each patch, upsampled and smoothed. Image score: the highest of the patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.frozen import FrozenRows
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import gaussian_blur, patch_map
from adbench.blocks.precision import in_fp32
from adbench.blocks.pyramid import Levels, check_local, chosen_levels, level_maps, local_vectors
from adbench.blocks.training import require_normal
from adbench.blocks.validate import at_least, choices, positive
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's where a ViT has a counterpart; README.md has the rest."""

    epochs: int = 160
    epoch_images: int = 0  # an epoch shows at least this many images, repeated with new noise
    batch_size: int = 8  # images; all their patches are a step
    learning_rate: float = 2e-4  # of the discriminator
    adapter_rate: float = 1e-4
    weight_decay: float = 1e-5
    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 2/4 and 3/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 2 and 3
    neighbourhood: int = 3  # patches pooled around each patch; 1: none
    padding: str = "none"  # neighbours beyond the border: none, or zeros
    dims: int = 0  # numbers that adaptive pooling leaves of a level, and of all levels; 0: plain means, concatenated
    level_norm: bool = True  # a layer norm of each level; the paper: none
    noise: float = 0.1  # standard deviation of the noise on adapted vectors; the paper: 0.015, without a layer norm
    hidden: int = 1024  # units of the discriminator
    threshold: float = 0.5  # beyond which the loss asks for no more
    image_score: str = "patches"  # the highest of the patches, as published; `map`: of the smoothed map's pixels
    sigma: float = 4.0  # Gaussian smoothing of the map, in input pixels
    activation: str = "native"
    normalisation: str = "native"


class Discriminator(nn.Module):
    """Linear, batch norm, leaky ReLU and a linear unit: vectors (..., C) to (...), large where they are normal."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2))
        self.unit = nn.Linear(hidden, 1, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """In training the statistics of the norm are those of all vectors together."""
        rows: Tensor = self.unit(self.body(vectors.flatten(0, -2)))
        return rows.view(vectors.shape[:-1])


class SimpleNet(Method[Params]):
    """Adapter and discriminator over cached patch vectors; both run in fp32, as half precision would lose the noise."""

    version = "2"

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        check_local(params)
        choices(params, image_score=("patches", "map"))
        at_least(params, 0, "epoch_images", "threshold", "weight_decay")
        at_least(params, 0, "sigma", most=1000)
        at_least(params, 1, "hidden", most=65536)
        positive(params, "noise", "adapter_rate")
        levels = _levels(params, architecture)
        return Capability(
            support="normal",
            blocks=levels.blocks,
            stages=levels.stages,
            class_token=False,
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create adapter and discriminator."""
        p, shape = self.params, self.backbone.architecture
        channels = p.dims or _levels(p, shape).channels(shape)
        self.adapter, self.discriminator = nn.Linear(channels, channels), Discriminator(channels, p.hidden)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)

    def prepare(self, support: Support) -> None:
        """Keep the patch vectors of the normal images."""
        require_normal(len(support), "simplenet")
        self.rows = FrozenRows(lambda images: (self._patches(self.encode(images)),), support.images).placed(
            self.device, self.features_gb
        )
        self.randoms = self.generator("noise")

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, and repeat them in a new order until `epoch_images` are shown."""
        return self.rows.loader(self.params.batch_size, self.params.epoch_images, self.generator("order"))

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Tell adapted vectors from the same ones with noise, in one pass."""
        (vectors,) = self.rows[batch[0]]
        normal = in_fp32(self.adapter, vectors.to(self.device))
        noise = self.params.noise * torch.randn(normal.shape, generator=self.randoms)
        found = in_fp32(self.discriminator, torch.cat([normal, normal + noise.to(normal)]))
        of_normal, of_noised = found.chunk(2)
        threshold = self.params.threshold
        return finite_sum(normal=hinge(of_normal, threshold), noised=hinge(-of_noised, threshold))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, with a rate for each of the two."""
        p = self.params
        groups = [
            {"params": self.adapter.parameters(), "lr": p.adapter_rate},
            {"params": self.discriminator.parameters(), "lr": p.learning_rate},
        ]
        return torch.optim.Adam(groups, weight_decay=p.weight_decay, fused=True)

    def score(self, batch: Batch) -> Scores:
        """Return minus what the discriminator finds of each patch as the map; the highest is the image score."""
        abnormal = -in_fp32(self.discriminator, self._adapted(batch.features))
        maps = patch_map(abnormal, self.backbone.input_size, align_corners=False)
        maps = gaussian_blur(maps, self.params.sigma, edge="symmetric")
        return Scores((abnormal if self.params.image_score == "patches" else maps).flatten(1).amax(1), maps)

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean over the patches of the adapted vectors."""
        return self._adapted(batch.features).mean(1)

    def _adapted(self, features: Features) -> Tensor:
        return in_fp32(self.adapter, self._patches(features))

    def _patches(self, features: Features) -> Tensor:
        """Return (B, patches, channels): PatchCore's patch vectors."""
        return local_vectors(level_maps(features, self.backbone.architecture), self.params)


def hinge(found: Tensor, threshold: float) -> Tensor:
    """Return the mean of max(0, threshold - found): one half of the paper's truncated L1 loss.

    >>> float(hinge(torch.tensor([0.5, 2.0, 0.0, -1.5]), 0.5))
    0.625
    """
    return F.relu(threshold - found).mean()


def _levels(params: Params, architecture: Architecture) -> Levels:
    blocks = architecture.levels(4)[1:3] or architecture.levels(1)
    return chosen_levels(params, architecture, blocks=blocks, stages=(2, 3))
