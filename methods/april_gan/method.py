"""APRIL-GAN: zero-/few-shot anomaly classification and segmentation (Chen et al., VAND 2023, arXiv 2305.17382).

Trained: one linear layer for each of four levels of CLIP, which projects the patch tokens into the joint space; focal
and dice losses on masks. Frozen: CLIP and the text embeddings of both states. Map: per pixel the probability of the
abnormal state plus the distance to a memory bank of normal patches, each a mean over the levels. Image score: CLIP's
zero-shot probability and the map's maximum, weighted. Nothing in it is adversarial: the name is the team's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks.losses import dice, finite_sum, focal
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.rows import Rows, in_batches
from adbench.blocks.similarity import TextEmbeddings, abnormal_logit
from adbench.blocks.validate import positive, shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code except for batch size and support (README.md)."""

    epochs: int = 15  # the authors' on VisA; 3 on MVTec AD
    batch_size: int = 16  # code: 8, at first 64, on thousands of images
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    activation: str = "gelu"  # exact GELU in both towers, whatever the weights were trained with
    normalisation: str = "clip"
    prompts: Prompts = field(default_factory=Prompts)
    scale: float = 100.0  # of the cosines, before the softmax over both states
    bank: bool = True  # false: the zero-shot track, no distance to the normal images
    map_share: float = 0.5  # of the map's maximum in the image score, the rest CLIP's probability; 0: zero-shot track


class AprilGAN(Method[Params]):
    """Linear layers over cached features of a frozen CLIP, and a memory bank."""

    version = "2"
    editable = ("prompts", "map_share")
    has_masks: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; read all levels and the image embedding."""
        shares(params, "map_share")
        positive(params, "scale")
        return Capability(
            support="both",
            blocks=architecture.checked_levels(params.levels or architecture.levels(4)),
            pooled=True,
            epochs=params.epochs,  # without masks there is no loss: the epochs pass without a step
            normalisation=params.normalisation,
            activation=params.activation,
            text=True,
            class_token=architecture.class_token,
        )

    def build(self) -> None:
        """Create a linear layer for each level, with bias, and the empty bank."""
        shape = self.backbone.architecture
        self.layers = nn.ModuleList(nn.Linear(shape.width, shape.embed_dim) for _ in self.blocks)
        self.register_buffer("bank", torch.empty(0, 0, 0))  # (levels, rows, width)
        self.register_buffer("has_masks", torch.tensor(False))
        self.texts = TextEmbeddings(self.backbone, self.params.prompts)

    def prepare(self, support: Support) -> None:
        """Encode the support once."""
        self.any_masks = bool(support.has_mask.any())
        self.has_masks.fill_(self.any_masks)
        if not self.has_masks and not self.params.bank:
            raise AdbenchError(
                "method.bank=false is not possible with a support that has no masks: neither the linear layers nor a "
                "bank would draw a map. Use method.bank=true."
            )
        streams = self.encode(support.images, "encoding the support").blocks
        self.tokens = [streams[level][:, self.backbone.architecture.prefix :] for level in self.blocks]
        self.names, objects = support.objects()
        rows = support.has_mask if self.has_masks else torch.arange(len(support)) < 1  # an epoch needs a batch
        self.data = Rows(objects[rows], support.masks[rows], *(tokens[rows] for tokens in self.tokens)).placed(
            self.device, self.features_gb
        )

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images that have masks, each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def on_train_start(self) -> None:
        """Take no steps, and print so, if no support image has a mask."""
        # Not earlier: a Trainer that clips gradients refuses to start under manual optimisation.
        self.automatic_optimization = bool(self.has_masks)
        if not self.has_masks and self.trainer.is_global_zero:
            message = "adbench: april_gan learns from masks and found none: the map is the distance to the bank."
            print(message, file=sys.stderr)

    def training_step(self, batch: list[Tensor], _: int) -> Tensor | None:
        """Sum focal and dice loss over the levels."""
        if not self.any_masks:
            return None
        objects, masks, *levels = batch
        text = self.texts(self.names)[objects]
        terms: dict[str, Tensor] = {}
        for block, logit in zip(self.blocks, self._map_logits(levels, text), strict=True):
            terms[f"focal at block {block}"] = focal(logit, masks.float())
            terms[f"dice at block {block}"] = dice(logit.sigmoid(), masks.float())
        return finite_sum(**terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over the linear layers."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999), fused=True)

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Fill the bank with the normalised patch tokens of the normal images, not projected."""
        if not self.params.bank:
            return
        normal = support.labels == 0
        if not normal.any():
            raise AdbenchError(
                "april_gan has no normal support image to fill its memory bank with. Give it one, or method.bank=false."
            )
        rows = [l2_normalize(tokens[normal]).flatten(0, 1) for tokens in self.tokens]
        self.bank = torch.stack(rows).to(self.device)

    def forget_training(self) -> None:
        """Drop the tokens of the support, too."""
        super().forget_training()
        self.tokens = []

    def score(self, batch: Batch) -> Scores:
        """Add the text probability and the distance to the bank per pixel, each a mean over the levels.

        The image score is CLIP's probability of the abnormal state and, weighted with `map_share`, the map's maximum.
        """
        pooled = batch.features.pooled
        assert pooled is not None
        text = self.texts(batch.object_names)
        levels = [batch.features.blocks[level][:, self.backbone.architecture.prefix :] for level in self.blocks]
        parts = []
        if self.has_masks:  # otherwise the layers are untrained
            parts.append(torch.stack(self._map_logits(levels, text)).sigmoid().mean(0))
        if self.params.bank:
            pairs = zip(levels, self.bank, strict=True)
            distances = [cosine_distance(l2_normalize(tokens), rows) for tokens, rows in pairs]
            parts.append(self._upsample(torch.stack(distances).mean(0)))
        image = self._logits(pooled[:, None], text)[:, 0].sigmoid()
        maps, share = torch.stack(parts).sum(0), self.params.map_share
        return Scores((1 - share) * image + share * maps.flatten(1).amax(1), maps)

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the unit patches of the last level (B, patches, C) and its bank (M, C), none without a bank."""
        patches = l2_normalize(batch.features.blocks[self.blocks[-1]][:, self.backbone.architecture.prefix :])
        return patches, self.bank[-1] if self.params.bank else patches[0, :0]

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the text probability per pixel at each level; nothing where the layers are untrained."""
        if not self.has_masks:
            return {}
        levels = [batch.features.blocks[level][:, self.backbone.architecture.prefix :] for level in self.blocks]
        logits = self._map_logits(levels, self.texts(batch.object_names))
        return {level: logit.sigmoid() for level, logit in zip(self.blocks, logits, strict=True)}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean over the patches of the last level's projected tokens."""
        tokens = batch.features.blocks[self.blocks[-1]][:, self.backbone.architecture.prefix :]
        return l2_normalize(in_fp32(self.layers[-1], tokens)).mean(1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _map_logits(self, levels: Sequence[Tensor], text: Tensor) -> list[Tensor]:
        """Return per level the logits (B, H, W) of the abnormal state, upsampled before the sigmoid."""
        pairs = zip(self.layers, levels, strict=True)
        return [self._upsample(self._logits(in_fp32(layer, tokens), text)) for layer, tokens in pairs]

    def _logits(self, vectors: Tensor, text: Tensor) -> Tensor:
        return abnormal_logit(l2_normalize(vectors), text, self.params.scale)

    def _upsample(self, patches: Tensor) -> Tensor:
        return patch_map(patches, self.backbone.input_size)
