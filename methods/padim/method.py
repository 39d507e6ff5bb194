"""PaDiM: a patch distribution modeling framework for anomaly detection and localization (Defard et al., ICPR Workshops
2020, arXiv 2011.08785).

Nothing is trained. At each position of the grid the features of the normal support, levels of the backbone
concatenated, are a multivariate Gaussian over a random subset of the channels. Map: the Mahalanobis distance of each
patch to the Gaussian at its own position, upsampled and smoothed. Image score: the map's maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.maps import gaussian_blur, patch_map
from adbench.blocks.pyramid import Levels, chosen_levels, level_maps, patch_vectors
from adbench.blocks.validate import at_least, positive
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.progress import track

from .gaussians import Gaussians, fitted, mahalanobis

CHUNK = 32  # images of the support whose features are held at once
TOGETHER = 4  # images of which all channels are put on one grid at once


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's where a ViT has a counterpart."""

    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 1/4, 2/4 and 3/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 1, 2 and 3
    dims: int | None = None  # channels drawn at random from all levels; 0: all; None: 100, and 550 of 1,792 and more
    epsilon: float = 0.01  # added to the covariance's diagonal
    level_norm: bool = True  # a layer norm of each level; the paper: none
    sigma: float = 4.0  # Gaussian smoothing of the map, in input pixels
    activation: str = "native"
    normalisation: str = "native"


class PaDiM(Method[Params]):
    """A Gaussian of normal patches at each position."""

    channels: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        at_least(params, 0, *(["dims"] if params.dims is not None else []), "sigma", most=10**4)
        positive(params, "epsilon")
        levels = _levels(params, architecture)
        dims, channels = drawn(params, levels.channels(architecture)), levels.channels(architecture)
        if dims > channels:
            raise AdbenchError(
                f"method.dims={dims} is not possible: the backbone has {channels} channels at these levels. Take "
                "fewer, or method.dims=0 for all."
            )
        return Capability(
            support="normal",
            blocks=levels.blocks,
            stages=levels.stages,
            class_token=False,
            stochastic=dims > 0,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Draw the channels and create the empty Gaussians."""
        architecture = self.backbone.architecture
        total = _levels(self.params, architecture).channels(architecture)
        order = torch.randperm(total, generator=self.generator("channels"))
        self.register_buffer("channels", order[: drawn(self.params, total) or total].sort().values)
        for name in Gaussians._fields:
            self.register_buffer(name, torch.empty(0))

    def build_memory(self, support: Support) -> None:
        """Fit a Gaussian to the support's patches at each position."""
        some = fitted(self._encoded(support), len(support), self.params.epsilon)
        for name, value in some._asdict().items():
            setattr(self, name, value.to(self.device))

    def _encoded(self, support: Support) -> Iterator[Tensor]:
        chunks = support.images.split(CHUNK)
        for images in track(chunks, "encoding the support", len(chunks)):
            yield self._patches(self.encode(images))

    def score(self, batch: Batch) -> Scores:
        """Return each patch's distance to its position's Gaussian as the map; the image score is its maximum."""
        some = Gaussians(*(self.get_buffer(name) for name in Gaussians._fields))
        distance = mahalanobis(self._patches(batch.features), some, self.params.epsilon)
        maps = gaussian_blur(patch_map(distance, self.backbone.input_size), self.params.sigma)
        return Scores(maps.flatten(1).amax(1), maps)

    def _patches(self, features: Features) -> Tensor:
        """Return (B, patches, dims): the drawn channels of all levels at each position of the finest one."""
        levels = [level.split(TOGETHER) for level in level_maps(features, self.backbone.architecture)]
        parts = (patch_vectors(some, "nearest", self.params.level_norm) for some in zip(*levels, strict=True))
        return torch.cat([part[..., self.channels.to(part.device)] for part in parts])


def drawn(params: Params, channels: int) -> int:
    """Return how many of so many channels are drawn: the paper's for ResNet-18 (448) and WideResNet-50-2 (1,792).

    >>> drawn(Params(), 448), drawn(Params(), 1792), drawn(Params(dims=0), 448)
    (100, 550, 0)
    """
    if params.dims is not None:
        return params.dims
    return 550 if channels >= 1792 else 100


def _levels(params: Params, architecture: Architecture) -> Levels:
    return chosen_levels(params, architecture, blocks=architecture.levels(4)[:3], stages=(1, 2, 3))
