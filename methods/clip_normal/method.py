"""CLIP compared with the features of a few normal images: the baseline of MVFA's Table 1 (Huang et al., CVPR 2024).

Nothing is trained, and no text is read. A memory bank holds the patch tokens of the normal support at four blocks of a
frozen CLIP. Map: each patch's cosine distance to the nearest row of the bank, averaged over the blocks, which is MVFA's
few-shot branch without its adapters. Image score: the map's maximum before it is upsampled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.config import Architecture
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.precision import l2_normalize
from adbench.blocks.validate import choices
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Hyper-parameters. The defaults are those of MVFA's paper, where it has them."""

    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    image_score: str = "map_max"  # or pooled: the distance to the nearest image embedding
    activation: str = "native"
    normalisation: str = "native"


class CLIPNormal(Method[Params]):
    """Cosine distances of frozen CLIP features to those of normal images."""

    bank_pooled: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone; read the patches of the levels, and where asked the image embedding."""
        choices(params, image_score=("map_max", "pooled"))
        return Capability(
            support="normal",
            blocks=architecture.checked_levels(params.levels) or architecture.levels(4),
            pooled=params.image_score == "pooled",
            class_token=False,
            stochastic=False,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create the empty banks."""
        for name in (*self.blocks, *(["pooled"] if self.declared.pooled else [])):
            self.register_buffer(f"bank_{name}", torch.empty(0, 0))

    def build_memory(self, support: Support) -> None:
        """Keep the unit vectors of all patches of the normal images, and of their embeddings."""
        features = self.encode(support.images, "encoding the support")
        for block, tokens in features.blocks.items():
            setattr(self, f"bank_{block}", self._patches(tokens).flatten(0, 1).to(self.device))
        if features.pooled is not None:
            self.bank_pooled = l2_normalize(features.pooled).to(self.device)

    def score(self, batch: Batch) -> Scores:
        """Return the patches' mean distance over the levels as the map; the image score is its maximum by default."""
        levels = self._levels(batch)
        distance = torch.stack([*levels.values()]).mean(0)
        image = distance.amax(1)
        if batch.features.pooled is not None:
            image = cosine_distance(l2_normalize(batch.features.pooled), self.bank_pooled)
        return Scores(image, patch_map(distance, self.backbone.input_size))

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the distances of each level as a map."""
        return {block: patch_map(d, self.backbone.input_size) for block, d in self._levels(batch).items()}

    def _levels(self, batch: Batch) -> dict[int, Tensor]:
        """Return by block the distance (B, patches) to the nearest row of the bank."""
        return {
            block: cosine_distance(self._patches(tokens), self.get_buffer(f"bank_{block}"))
            for block, tokens in batch.features.blocks.items()
        }

    def _patches(self, tokens: Tensor) -> Tensor:
        return l2_normalize(tokens[:, self.backbone.architecture.prefix :])
