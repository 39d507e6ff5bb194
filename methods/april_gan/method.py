"""APRIL-GAN: zero-/few-shot anomaly classification and segmentation (Chen et al., VAND 2023, arXiv 2305.17382).

A linear layer at each of four levels of a frozen CLIP takes the patch tokens into the joint space, where they are
compared with fixed text for the normal and the abnormal state; focal and dice train these layers. A memory bank of the
plain tokens of normal images adds a distance. The image score starts from CLIP's own zero-shot answer. Nothing is
adversarial in it: the name is the team's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from adbench.backbone.clip import Architecture
from adbench.blocks.losses import dice, finite, focal
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.similarity import TextEmbeddings, abnormal_logit
from adbench.blocks.validate import shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Facets. The defaults are the authors' code, but for the batch and the support (README.md)."""

    epochs: int = 15  # the authors' on VisA; 3 on MVTec AD
    batch_size: int = 16  # code: 8, at first 64, on thousands of images
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    activation: str = "gelu"  # exact GELU in both towers, whatever the weights were trained with
    normalisation: str = "clip"
    prompts: Prompts = field(default_factory=Prompts)
    scale: float = 100.0  # of the cosines, before the softmax over both states
    bank: bool = True  # false: the zero-shot track, no distance to the normal images
    map_share: float = 0.5  # of the map's maximum in the image score, beside CLIP's probability; 0: zero-shot track


class AprilGAN(Method[Params]):
    """APRIL-GAN as a LightningModule; the whole image tower is frozen, an epoch touches four linear layers only."""

    version = "2"
    editable = ("prompts", "map_share")
    has_masks: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; ask for all levels and the pooled embedding."""
        shares(params, "map_share")
        return Capability(
            support="both",
            blocks=architecture.checked_levels(params.levels or architecture.levels(4)),
            pooled=True,
            epochs=params.epochs,  # without masks, which the layers learn from, they pass without a step
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create a linear layer for each level, with bias, and the empty bank."""
        shape = self.backbone.architecture
        self.layers = nn.ModuleList(nn.Linear(shape.width, shape.embed_dim) for _ in self.blocks)
        self.register_buffer("bank", torch.empty(0, 0, 0))  # (levels, rows, width)
        self.register_buffer("has_masks", torch.tensor(False))
        self.texts = TextEmbeddings(self.backbone, self.params.prompts)

    def prepare(self, support: Support) -> None:
        """Encode the support once: nothing in it changes."""
        self.has_masks.fill_(bool(support.has_mask.any()))
        if not self.has_masks and not self.params.bank:
            raise AdbenchError(
                "method.bank=false is not possible with a support that has no masks: neither the linear layers nor a "
                "bank would draw a map. Use method.bank=true."
            )
        streams = self.encode(support.images, "encoding the support").blocks
        self.tokens = [streams[level][:, 1:] for level in self.blocks]
        self.names, objects = support.objects()
        seen = support.has_mask if self.has_masks else torch.arange(len(support)) < 1  # an epoch needs a batch
        self.data = TensorDataset(objects[seen], support.masks[seen], *(tokens[seen] for tokens in self.tokens))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffle the images that have masks anew each epoch."""
        return DataLoader(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def on_train_start(self) -> None:
        """Say so if there is nothing to learn from, and take no step then."""
        # Here and not earlier: a Trainer that is told to cut gradients refuses to begin without a loss.
        self.automatic_optimization = bool(self.has_masks)
        if not self.has_masks and self.trainer.is_global_zero:
            found = "adbench: april_gan learns from masks and found none: the map is the distance to the bank."
            print(found, file=sys.stderr)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor | None:
        """Sum focal and dice over the levels."""
        if not self.has_masks:
            return None
        objects, masks, *levels = batch
        text = self.texts(self.names)[objects]
        terms: dict[str, Tensor] = {}
        for block, logit in zip(self.blocks, self._map_logits(levels, text), strict=True):
            terms[f"focal at block {block}"] = focal(logit, masks.float())
            terms[f"dice at block {block}"] = dice(logit.sigmoid(), masks.float())
        return finite(**terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over the linear layers."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999))

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Fill the bank with the plain, normalised patch tokens of the normal images."""
        if not self.params.bank:
            return
        normal = support.labels == 0
        if not normal.any():
            raise AdbenchError(
                "april_gan has no normal support image to fill its memory bank with. Give it one, or method.bank=false."
            )
        rows = [l2_normalize(tokens[normal]).flatten(0, 1) for tokens in self.tokens]
        self.bank = torch.stack(rows).to(self.device)

    def score(self, batch: Batch) -> Scores:
        """Add the distance to the bank to what the text says of each pixel, means over the levels.

        The image score is CLIP's probability of the abnormal state and the map's maximum, `map_share` of it.
        """
        pooled = batch.features.pooled
        assert pooled is not None
        text = self.texts(batch.object_names)
        levels = [batch.features.blocks[level][:, 1:] for level in self.blocks]
        parts = []
        if self.has_masks:  # layers that learned nothing have nothing to say
            parts.append(torch.stack(self._map_logits(levels, text)).sigmoid().mean(0))
        if self.params.bank:
            pairs = zip(levels, self.bank, strict=True)
            far = [cosine_distance(l2_normalize(tokens), rows) for tokens, rows in pairs]
            parts.append(self._pixels(torch.stack(far).mean(0)))
        image = self._logits(pooled[:, None], text)[:, 0].sigmoid()
        maps, share = torch.stack(parts).sum(0), self.params.map_share
        return Scores((1 - share) * image + share * maps.flatten(1).amax(1), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return what the text says of every pixel at each level, where the layers have learnt it."""
        if not self.has_masks:
            return {}
        levels = [batch.features.blocks[level][:, 1:] for level in self.blocks]
        found = self._map_logits(levels, self.texts(batch.object_names))
        return {level: logit.sigmoid() for level, logit in zip(self.blocks, found, strict=True)}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the last level behind its linear layer, the mean over the patches."""
        tokens = batch.features.blocks[self.blocks[-1]][:, 1:]
        return l2_normalize(in_fp32(self.layers[-1], tokens)).mean(1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _map_logits(self, levels: Sequence[Tensor], text: Tensor) -> list[Tensor]:
        """Return per level the logit (B, H, W) of the abnormal state: upsampled before any softmax."""
        pairs = zip(self.layers, levels, strict=True)
        return [self._pixels(self._logits(in_fp32(layer, tokens), text)) for layer, tokens in pairs]

    def _logits(self, vectors: Tensor, text: Tensor) -> Tensor:
        return abnormal_logit(l2_normalize(vectors), text, self.params.scale)

    def _pixels(self, patches: Tensor) -> Tensor:
        return patch_map(patches, self.backbone.input_size)
