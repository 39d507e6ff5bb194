"""MadCLIP: few-shot medical anomaly detection with CLIP (Shiri et al., MICCAI 2025, arXiv 2506.23810).

Trained: two adapters per level, one for the normal and one for the abnormal state, which read four levels of CLIP and
never write to it, and learnable prompts, which give a text vector for each state; a detection loss on image labels,
focal and dice losses on masks. Frozen: CLIP. A patch's score in a state's column is the product of that state's adapter
output with the difference of the two text vectors. Map: the softmax's abnormal column, summed over the levels. Image
score: the map's maximum, or the mean over the patches of the detection heads. Equations are the paper's; where its code
differs, the code is followed (README.md).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks.augment import fixed_views
from adbench.blocks.losses import dice, finite_sum, focal, siglip
from adbench.blocks.maps import IMAGE_SCORES, patch_map, scored_by_map
from adbench.blocks.precision import in_fp32, l2_normalize
from adbench.blocks.prompts import ABNORMAL, NORMAL, Phrases, PromptLearner, Prompts
from adbench.blocks.rows import Rows, common, in_batches, names_of, rows_with
from adbench.blocks.similarity import TextEmbeddings, cosines
from adbench.blocks.validate import choices
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.pieces import Piece, compute

DETECTION, SEGMENTATION = KINDS = ("detection", "segmentation")  # the heads of an adapter


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code; the README names the paper's where it differs."""

    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    activation: str = "gelu"  # exact GELU in both towers, whatever the weights were trained with
    normalisation: str = "none"  # images enter as [0, 1]
    adapter_activation: str = "leaky_relu"  # paper: relu
    adapter_norm: bool = True  # paper: none
    views: int = 16  # fixed augmentations; paper: 11, as in MVFA; 1: none
    jitter: str = "class"  # factors of the colour jitter, the 16th view: a pair for each class; support: one for all
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), [*ABNORMAL, "disease {}", "abnormal {}"]))
    context_length: int = 8
    positions: list[str] = field(default_factory=lambda: ["end", "front", "middle"])
    branches: int = 2  # ablation: 1, one adapter per level for both states
    heads: int = 2  # ablation: 1, a common head of each adapter for detection and segmentation
    learn_prompts: str = "both"  # ablations: abnormal, normal text fixed; none, both fixed (phrases in templates)
    contrast: bool = True  # ablation: false, a column's score uses its own state's text alone
    detection_loss: str = "siglip"  # ablation: softmax
    pooling: str = "mean"  # of patches, in the detection loss and score; ablations: max; both, half of each
    image_score: str = "auto"  # map_max where the support has masks, else detection; paper: detection


class Adapter(nn.Module):
    """The adapter of one level and one state: a shared layer, then a detection and a segmentation head, or one head."""

    def __init__(self, width: int, embed_dim: int, activation: str, norm: bool, heads: int = 2) -> None:
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
        if heads == 2:
            self.segmentation = nn.Sequential(nn.Linear(width, embed_dim, bias=False), act)
        self.heads = heads

    def forward(self, tokens: Tensor, kind: str) -> Tensor:
        """Map (B, patches, width) to vectors (B, patches, embed_dim), for `detection` or `segmentation`."""
        return self.head(self.shared_of(tokens), kind)

    def shared_of(self, tokens: Tensor) -> Tensor:
        """Return what both heads read (B, patches, width)."""
        return in_fp32(self.shared, tokens)

    def head(self, shared: Tensor, kind: str) -> Tensor:
        """Return the vectors of one head."""
        return in_fp32(self.get_submodule(kind if self.heads == 2 else DETECTION), shared)


class MadCLIP(Method[Params]):
    """Adapters and learnable prompts over cached features of a frozen CLIP."""

    version = "4"
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
            text=True,
            word_vectors=True,
        )

    def build(self) -> None:
        """Create the adapters (normal and abnormal, per level) and the prompt learner."""
        p, shape = self.params, self.backbone.architecture

        def adapters() -> nn.ModuleList:
            return nn.ModuleList(
                Adapter(shape.width, shape.embed_dim, p.adapter_activation, p.adapter_norm, p.heads)
                for _ in self.blocks
            )

        self.normal = adapters()
        if p.branches == 2:
            self.abnormal = adapters()
        if p.learn_prompts != "none":
            self.learner = PromptLearner(self.backbone, p.prompts, p.context_length, p.positions)
            self.learner.normal.requires_grad_(p.learn_prompts == "both")
        self.fixed = TextEmbeddings(self.backbone, p.prompts)
        self.register_buffer("has_masks", torch.tensor(False))
        self.text_cache: dict[Phrases, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Augment the support once and keep CLIP's features of every view."""
        self.object_names, objects = support.objects()
        self.has_masks.fill_(bool(support.has_mask.any()))
        self.masked = common(support.has_mask)
        images, masks, count = support.images.float() / 255, support.masks, self.params.views
        if count > 1:
            jitter = self.generator("colour jitter") if count == 16 else None
            groups = support.labels if self.params.jitter == "class" else None
            images, masks = fixed_views(images, masks, zooms=count == 16, jitter=jitter, groups=groups)
        features = self.encode(images, "encoding the support")
        columns = (column.repeat(count) for column in (objects, support.labels, support.has_mask))
        self.data = Rows(*(features.blocks[b] for b in self.blocks), *columns, masks).placed(
            self.device, self.features_gb
        )

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the views each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Sum the detection loss and, for images with masks, the segmentation losses over the levels."""
        *levels, objects, labels, has_mask, masks = batch
        text = self._text(names_of(self.object_names, objects))
        losses = functools.partial(self._level_losses, labels=labels, has_mask=has_mask, masks=masks.float())
        work = [
            Piece(functools.partial(losses, adapters=adapters), (tokens, text), _parameters(adapters))
            for tokens, adapters in zip(levels, self._adapters, strict=True)
        ]
        return finite_sum(
            **{
                f"{name} at block {block}": value
                for block, values in zip(self.blocks, compute(work), strict=True)
                for name, value in zip(("detection", "focal", "dice"), values, strict=False)
            }
        )

    def _level_losses(
        self, tokens: Tensor, text: Tensor, adapters: Sequence[Adapter], labels: Tensor, has_mask: Tensor, masks: Tensor
    ) -> tuple[Tensor, ...]:
        """Return a level's detection loss and, where images have masks, focal and dice loss over these."""
        rows = rows_with(has_mask, self.masked)
        scores = self._level_scores(tokens, text, adapters, KINDS[:1] if rows is None else KINDS)
        detection = self._detection_loss(scores[DETECTION], labels)
        if rows is None:
            return (detection,)
        logit, target = self._pixel_logit(scores[SEGMENTATION][rows]), masks[rows]
        return detection, focal(logit, target), dice(logit.sigmoid(), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over adapters and prompts."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999), fused=True)

    def build_memory(self, support: Support) -> None:
        """Drop text embeddings that were computed with earlier weights."""
        self.text_cache = {}

    def score(self, batch: Batch) -> Scores:
        """Sum the abnormal probability over the levels, per pixel; the image score is the maximum or pooled patches."""
        tokens = [batch.features.blocks[b] for b in self.blocks]
        by_map, map_kind = scored_by_map(self.params.image_score, bool(self.has_masks)), self._map_kind
        kinds = [map_kind] if by_map else list(dict.fromkeys([map_kind, DETECTION]))
        scores = self._patch_scores(tokens, self._text(batch.object_names), kinds)
        maps = _total([self._pixel_logit(level[map_kind]).sigmoid() for level in scores])
        if by_map:
            return Scores(maps.flatten(1).amax(1), maps)
        detection = [level[DETECTION] for level in scores]
        return Scores(_total([self._pool(scores.softmax(-1)[..., 1]) for scores in detection]), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the abnormal probability per pixel at each level, whose sum is the map."""
        tokens = [batch.features.blocks[b] for b in self.blocks]
        kind = self._map_kind
        levels = self._patch_scores(tokens, self._text(batch.object_names), [kind])
        return {
            block: self._pixel_logit(level[kind]).sigmoid() for block, level in zip(self.blocks, levels, strict=True)
        }

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return both detection heads' outputs at the last level, concatenated, the mean over the patches."""
        tokens = batch.features.blocks[self.blocks[-1]][:, 1:]
        return torch.cat([l2_normalize(adapter(tokens, DETECTION)).mean(1) for adapter in self._adapters[-1]], dim=-1)

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.blocks[-1]

    @property
    def _map_kind(self) -> str:
        """Which heads give the map: without masks the segmentation heads are never trained, and would give noise."""
        return SEGMENTATION if self.has_masks else DETECTION

    @property
    def _adapters(self) -> list[tuple[Adapter, Adapter]]:
        """The adapters of each level, of the normal and of the abnormal state."""
        abnormal = self.abnormal if self.params.branches == 2 else self.normal
        return cast(list[tuple[Adapter, Adapter]], list(zip(self.normal, abnormal, strict=True)))

    def _detection_loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self.params.detection_loss == "siglip":
            return siglip(scores, labels, pool=self._pool)
        # As in MVFA, the authors' loss passes a probability as a logit.
        normal, abnormal = self._pool(scores.float().softmax(-1)).unbind(-1)
        loss = F.binary_cross_entropy_with_logits
        return loss(1 - normal, labels.float()) + loss(abnormal, labels.float())

    def _pool(self, patches: Tensor) -> Tensor:
        """Pool patches (B, patches, ...) to (B, ...)."""
        if self.params.pooling == "mean":
            return patches.mean(1)
        largest = patches.amax(1)
        return largest if self.params.pooling == "max" else (patches.mean(1) + largest) / 2

    def _text(self, object_names: Sequence[str]) -> Tensor:
        """Return text vectors (2, D), normal and abnormal, or (B, 2, D) where the images show different objects."""
        if self.params.learn_prompts == "none":
            return self.fixed(object_names)
        phrases = [self.learner.prompts.phrases(name) for name in object_names]
        cache = {} if self.training else self.text_cache
        for name, key in zip(object_names, phrases, strict=True):
            if key not in cache:
                cache[key] = self._learned_text(name)
        return cache[phrases[0]] if len(set(phrases)) == 1 else torch.stack([cache[key] for key in phrases])

    def _learned_text(self, name: str) -> Tensor:
        # As the authors' code: in the run's precision in training, in fp32 in scoring.
        with nullcontext() if self.training else torch.autocast(self.device.type, enabled=False):
            text: Tensor = self.learner(self.backbone, name)
        return text if self.params.learn_prompts == "both" else torch.stack([self.fixed([name])[0, 0], text[1]])

    def _pixel_logit(self, scores: Tensor) -> Tensor:
        """Upsample (B, patches, 2) scores to (B, H, W), whose sigmoid is the softmax's abnormal column."""
        # Interpolation is linear: the softmax of two interpolated columns is the sigmoid of their difference.
        return patch_map(scores[..., 1] - scores[..., 0], self.backbone.input_size)

    def _patch_scores(self, levels: Iterable[Tensor], text: Tensor, kinds: Sequence[str]) -> list[dict[str, Tensor]]:
        """Return per level the scores (B, patches, 2) of some heads (Eq. 3): columns normal, abnormal."""
        return [
            self._level_scores(tokens, text, adapters, kinds)
            for tokens, adapters in zip(levels, self._adapters, strict=True)
        ]

    def _level_scores(
        self, tokens: Tensor, text: Tensor, adapters: Sequence[Adapter], kinds: Sequence[str]
    ) -> dict[str, Tensor]:
        t_n, t_ab = text[..., :1, :], text[..., 1:, :]
        directions = (t_n - t_ab, t_ab - t_n) if self.params.contrast else (t_n, t_ab)
        shared = [adapter.shared_of(tokens[:, 1:]) for adapter in adapters]
        scores: dict[str, Tensor] = {}
        for kind in kinds:
            if scores and self.params.heads == 1:
                return scores | {kind: scores[DETECTION]}
            columns = [
                cosines(adapter.head(each, kind), direction)
                for adapter, each, direction in zip(adapters, shared, directions, strict=True)
            ]
            scores[kind] = torch.cat(columns, dim=-1)
        return scores


def _parameters(adapters: Iterable[Adapter]) -> list[nn.Parameter]:
    return [parameter for adapter in adapters for parameter in adapter.parameters()]


def _total(levels: list[Tensor]) -> Tensor:
    return functools.reduce(torch.add, levels)


def _check(p: Params) -> None:
    choices(
        p,
        views=(1, 11, 16),
        image_score=IMAGE_SCORES,
        adapter_activation=("leaky_relu", "relu"),
        jitter=("class", "support"),
        branches=(1, 2),
        heads=(1, 2),
        learn_prompts=("both", "abnormal", "none"),
        detection_loss=("siglip", "softmax"),
        pooling=("mean", "max", "both"),
    )
    if p.jitter == "support" and p.views != 16:
        raise AdbenchError(
            f"method.jitter=support has no effect with method.views={p.views}: only the 16th view has another colour. "
            "Leave method.jitter out, or give method.views=16."
        )
