"""MadCLIP: few-shot medical anomaly detection with CLIP (Shiri et al., MICCAI 2025, arXiv 2506.23810).

Two adapters, one that looks for the normal and one for the abnormal, read four levels of a frozen CLIP and never write
to it. Learnable prompts give a text vector for each state. A patch is scored by how much closer it is to its adapter's
own state than to the other one. Equations are the paper's; where its code differs, the code is followed (README.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from adbench.backbone.clip import Architecture
from adbench.blocks.augment import fixed_views
from adbench.blocks.losses import dice, finite, focal, siglip
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import ABNORMAL, NORMAL, PromptLearner, Prompts, Words
from adbench.blocks.similarity import TextEmbeddings
from adbench.blocks.validate import choices
from adbench.method import Batch, Capability, Method, Scores, Support

NOTHING = torch.zeros(())  # where a sum over levels begins


@dataclass
class Params:
    """Facets. The defaults are the authors' code; the README names the paper's where it differs."""

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    activation: str = "gelu"  # exact GELU in both towers, whatever the weights were trained with
    normalisation: str = "none"  # images enter as [0, 1]
    adapter_activation: str = "leaky_relu"  # paper: relu
    adapter_norm: bool = True  # paper: none
    views: int = 16  # fixed augmentations; paper: 11, as in MVFA; 1: none
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), [*ABNORMAL, "disease {}", "abnormal {}"]))
    context_length: int = 8
    positions: list[str] = field(default_factory=lambda: ["end", "front", "middle"])
    branches: int = 2  # ablation: 1, one adapter per level speaks for both states
    learn_prompts: str = "both"  # ablations: abnormal, the normal text is fixed; none: both are, phrases in templates
    contrast: bool = True  # ablation: false, a patch's score in a column leaves the other state's text out
    detection_loss: str = "siglip"  # ablation: softmax
    pooling: str = "mean"  # of patches, in the detection loss and score; ablations: max; both, half of each
    image_score: str = "auto"  # map_max where the support has masks, else detection; paper: detection


class Adapter(nn.Module):
    """One level's view of one state: a shared layer, then a detection and a segmentation head."""

    def __init__(self, width: int, embed_dim: int, activation: str, norm: bool) -> None:
        super().__init__()
        act = nn.LeakyReLU(0.01) if activation == "leaky_relu" else nn.ReLU()
        # The code's instance norm over (token, image, channel) is a layer norm without parameters.
        layers = [
            nn.Linear(width, width, bias=False),
            act,
            nn.LayerNorm(width, elementwise_affine=False) if norm else nn.Identity(),
        ]
        self.shared = nn.Sequential(*layers)
        self.detection = nn.Sequential(nn.Linear(width, embed_dim, bias=False), act)
        self.segmentation = nn.Sequential(nn.Linear(width, embed_dim, bias=False), act)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, patches, width) to unit vectors (B, patches, embed_dim) for detection and for segmentation."""
        shared = in_fp32(self.shared, tokens)
        heads = (in_fp32(head, shared) for head in (self.detection, self.segmentation))
        detection, segmentation = (l2_normalize(head) for head in heads)
        return detection, segmentation


class MadCLIP(Method[Params]):
    """MadCLIP as a LightningModule; trunk features come from the cache, an epoch touches adapters and prompts only."""

    version = "2"
    editable = ("prompts",)
    has_masks: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; the whole image tower is frozen."""
        _check(params)
        return Capability(
            support="both",
            blocks=architecture.checked_levels(params.levels or architecture.levels(4)),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create the adapters (normal and abnormal, per level) and the prompt learner."""
        p, shape = self.params, self.backbone.architecture

        def adapters() -> nn.ModuleList:
            return nn.ModuleList(
                Adapter(shape.width, shape.embed_dim, p.adapter_activation, p.adapter_norm) for _ in self.blocks
            )

        self.normal = adapters()
        if p.branches == 2:
            self.abnormal = adapters()
        if p.learn_prompts != "none":
            self.learner = PromptLearner(self.backbone, p.prompts, p.context_length, p.positions)
            self.learner.normal.requires_grad_(p.learn_prompts == "both")
        self.fixed = TextEmbeddings(self.backbone, p.prompts)
        self.register_buffer("has_masks", torch.tensor(False))
        self.text: dict[Words, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Augment the support once and keep the trunk's features of every view."""
        self.object_names, named = support.objects()
        self.has_masks.fill_(bool(support.has_mask.any()))
        images, masks, count = support.images.float() / 255, support.masks, self.params.views
        if count > 1:
            jitter = self.generator("colour jitter") if count == 16 else None
            images, masks = fixed_views(images, masks, zooms=count == 16, jitter=jitter)
        features = self.encode(images, "encoding the support")
        facts = (column.repeat(count) for column in (named, support.labels, support.has_mask))
        self.data = TensorDataset(*(features.blocks[b] for b in self.blocks), *facts, masks)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffle the views anew each epoch."""
        return DataLoader(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Sum the detection loss and, for images with masks, the segmentation losses over the levels."""
        *levels, named, labels, masked, masks = batch
        seen = slice(None) if masked.all() else masked  # picking every row costs a copy, forth and back
        masks = masks[seen].float()
        text = self._text_of([self.object_names[i] for i in named.tolist()])
        terms: dict[str, Tensor] = {}
        for block, detection, segmentation in zip(self.blocks, *self._patch_scores(levels, text), strict=True):
            terms[f"detection at block {block}"] = self._detection_loss(detection, labels)
            if masked.any():
                logit = self._pixel_logit(segmentation[seen])
                terms[f"focal at block {block}"] = focal(logit, masks)
                terms[f"dice at block {block}"] = dice(logit.sigmoid(), masks)
        return finite(**terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over adapters and prompts."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999))

    def build_memory(self, support: Support) -> None:
        """Forget text vectors of earlier weights."""
        self.text = {}

    def score(self, batch: Batch) -> Scores:
        """Sum the abnormal probability over the levels, per pixel; the image score is its maximum, or the patches'."""
        tokens = [batch.features.blocks[b] for b in self.blocks]
        detection, segmentation = self._patch_scores(tokens, self._text_of(batch.object_names))
        # An image-level support never trains the segmentation heads: their maps would be noise.
        mapped = segmentation if self.has_masks else detection
        pixel = sum((self._pixel_logit(scores).sigmoid() for scores in mapped), NOTHING)
        rule = self.params.image_score
        if rule == "map_max" or (rule == "auto" and bool(self.has_masks)):
            return Scores(pixel.flatten(1).amax(1), pixel)
        return Scores(sum((self._pool(scores.softmax(-1)[..., 1]) for scores in detection), NOTHING), pixel)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the terms of the map's sum."""
        tokens = [batch.features.blocks[b] for b in self.blocks]
        detection, segmentation = self._patch_scores(tokens, self._text_of(batch.object_names))
        mapped = segmentation if self.has_masks else detection
        return {block: self._pixel_logit(scores).sigmoid() for block, scores in zip(self.blocks, mapped, strict=True)}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return what both detection adapters make of the last level, side by side, the mean over the patches."""
        tokens = batch.features.blocks[self.blocks[-1]][:, 1:]
        return torch.cat([adapters[-1](tokens)[0].mean(1) for adapters in self._branches()], dim=-1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    def _branches(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        return self.normal, self.abnormal if self.params.branches == 2 else self.normal

    def _detection_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.params.detection_loss == "siglip":
            return siglip(scores, labels, pool=self._pool)
        # As in MVFA, the authors' loss takes a probability for a logit.
        normal, abnormal = self._pool(scores.float().softmax(-1)).unbind(-1)
        loss = F.binary_cross_entropy_with_logits
        return loss(1 - normal, labels.float()) + loss(abnormal, labels.float())

    def _pool(self, patches: Tensor) -> Tensor:
        """Make (B, ...) of (B, patches, ...)."""
        if self.params.pooling == "mean":
            return patches.mean(1)
        most = patches.amax(1)
        return most if self.params.pooling == "max" else (patches.mean(1) + most) / 2

    def _text_of(self, object_names: Sequence[str]) -> Tensor:
        """Return text vectors (2, D), normal and abnormal, or (B, 2, D) where the images show different objects."""
        if self.params.learn_prompts == "none":
            return self.fixed(object_names)
        words = [self.learner.prompts.phrases(name) for name in object_names]
        kept = {} if self.training else self.text
        for name, own in zip(object_names, words, strict=True):
            if own not in kept:
                kept[own] = self._learned(name)
        return kept[words[0]] if len(set(words)) == 1 else torch.stack([kept[own] for own in words])

    def _learned(self, name: str) -> Tensor:
        # The authors encode the text in the run's precision to learn, and in fp32 to score.
        with nullcontext() if self.training else torch.autocast(self.device.type, enabled=False):
            text: Tensor = self.learner(self.backbone, name)
        return text if self.params.learn_prompts == "both" else torch.stack([self.fixed([name])[0, 0], text[1]])

    def _pixel_logit(self, scores: Tensor) -> Tensor:
        """Upsample (B, patches, 2) scores; the sigmoid of the result (B, H, W) is the softmax's abnormal column."""
        # Interpolation is linear: the softmax of two interpolated columns is the sigmoid of their difference.
        return patch_map(scores[..., 1] - scores[..., 0], self.backbone.input_size)

    def _patch_scores(self, levels: Iterable[Tensor], text: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return per level (B, patches, 2) scores of detection and segmentation (Eq. 3): columns normal, abnormal."""
        t_n, t_ab = text[..., 0, :, None], text[..., 1, :, None]
        direction = t_n - t_ab
        detection: list[Tensor] = []
        segmentation: list[Tensor] = []
        for tokens, normal, abnormal in zip(levels, *self._branches(), strict=True):
            for scores, n, a in zip(
                (detection, segmentation), normal(tokens[:, 1:]), abnormal(tokens[:, 1:]), strict=True
            ):
                columns = [n @ direction, -(a @ direction)] if self.params.contrast else [n @ t_n, a @ t_ab]
                scores.append(torch.cat(columns, dim=-1))
        return detection, segmentation


def _check(p: Params) -> None:
    choices(
        p,
        views=(1, 11, 16),
        image_score=("auto", "map_max", "detection"),
        adapter_activation=("leaky_relu", "relu"),
        branches=(1, 2),
        learn_prompts=("both", "abnormal", "none"),
        detection_loss=("siglip", "softmax"),
        pooling=("mean", "max", "both"),
    )
