"""PatchCore: towards total recall in industrial anomaly detection (Roth et al., CVPR 2022, arXiv 2106.08265).

Nothing is trained. A memory bank holds patch features of the normal support, thinned by a coreset. A patch's features
are pooled over its neighbourhood at two levels of the backbone and concatenated. Map: each patch's distance to its
nearest neighbour in the bank, upsampled and smoothed. Image score: the largest of these distances, re-weighted (Eq. 7).
The defaults are for a frozen CLIP; `preset=paper` is a CNN, with the authors' pooling (README.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.maps import gaussian_blur, patch_map
from adbench.blocks.memory_bank import coreset, nearest
from adbench.blocks.pyramid import check_local, chosen_levels, level_maps, local_vectors
from adbench.blocks.validate import at_least, positive, shares
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's where a ViT has a counterpart."""

    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 2/4 and 3/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 2 and 3
    neighbourhood: int = 3  # patches pooled around each patch; 1: none
    padding: str = "none"  # neighbours beyond the border: none, or zeros
    dims: int = 0  # numbers that adaptive pooling leaves of a level, and of all levels; 0: plain means, concatenated
    level_norm: bool = True  # a layer norm of each level; the paper: none
    coreset: float = 0.1  # share of the patches that the bank keeps
    neighbours: int = 9  # b of Eq. 7; 1: no re-weighting of the image score
    sigma: float = 4.0  # Gaussian smoothing of the map, in input pixels
    align_corners: bool = True  # of the map's bilinear upsampling
    activation: str = "native"
    normalisation: str = "native"


class PatchCore(Method[Params]):
    """Nearest neighbours in a memory bank of normal patches."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        check_local(params)
        at_least(params, 1, "neighbours")
        at_least(params, 0, "sigma", most=1000)
        positive(params, "coreset")
        shares(params, "coreset")
        blocks = architecture.levels(4)[1:3] or architecture.levels(1)
        levels = chosen_levels(params, architecture, blocks=blocks, stages=(2, 3))
        return Capability(
            support="normal",
            blocks=levels.blocks,
            stages=levels.stages,
            class_token=False,
            stochastic=params.coreset < 1,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create the empty bank."""
        self.register_buffer("bank", torch.empty(0, 0))

    def build_memory(self, support: Support) -> None:
        """Fill the bank with the coreset of all support patches."""
        features = self.encode(support.images, "encoding the support")
        patches = self._patches(features).flatten(0, 1)
        kept = coreset(patches, self.params.coreset, self.generator("coreset"))
        self.bank = patches[kept].to(self.device)

    def score(self, batch: Batch) -> Scores:
        """Return each patch's distance to the bank as the map; the image score is the largest, re-weighted (Eq. 7)."""
        patches = self._patches(batch.features)
        b, n, _ = patches.shape
        distance, index = (flat.view(b, n) for flat in nearest(patches.flatten(0, 1), self.bank))
        pixels = patch_map(distance, self.backbone.input_size, self.params.align_corners)
        maps = gaussian_blur(pixels, self.params.sigma)
        top, worst = distance.max(1)
        query = patches[torch.arange(b, device=worst.device), worst]
        weight = self._weight(query, index.gather(1, worst[:, None])[:, 0], top)
        return Scores(weight * top, maps)

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the patches (B, patches, C) and the coreset (M, C)."""
        return self._patches(batch.features), self.bank

    def _weight(self, query: Tensor, index: Tensor, distance: Tensor) -> Tensor:
        """Return the weights (B,) of Eq. 7, larger where the nearest bank row is itself rare.

        1 - exp(d) / sum of exp(d_i): d is the distance (B,) of the query (B, C) to bank row `index` (B,), and d_i are
        its distances to the b bank rows nearest to that row.
        """
        count = min(self.params.neighbours, len(self.bank))
        if count == 1:
            return torch.ones_like(distance)
        neighbours = torch.cdist(self.bank[index], self.bank).topk(count, largest=False).indices
        distances = (query[:, None] - self.bank[neighbours]).norm(dim=-1)
        return 1 - torch.exp(distance - torch.logsumexp(distances, dim=1))

    def _patches(self, features: Features) -> Tensor:
        """Return (B, patches, channels): the levels pooled over the neighbourhood, on one grid, concatenated."""
        return local_vectors(level_maps(features, self.backbone.architecture), self.params)
