"""MVFA: adapting visual-language models for medical anomaly detection (Huang et al., CVPR 2024, arXiv 2403.12570).

Trained: after each of four blocks (levels) of CLIP two adapters, one for segmentation and one for detection, which read
the residual stream and write back into it; a detection loss on image labels, focal and dice losses on masks. Frozen:
CLIP and the text embeddings of both states. An adapter's bottleneck features are compared with the text (text branch)
and with a memory bank of the normal support (bank branch); both branches are rescaled and averaged. Map: the fused
branches of the segmentation adapters per pixel, a mean over the levels. Image score: the map's maximum, or the fused
branches of the detection adapters. Where paper and code differ, the code is followed, except for the fusion
(README.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks.augment import fixed_views
from adbench.blocks.fusion import Branches, bounds, fuse, widest
from adbench.blocks.losses import dice, finite_sum, focal
from adbench.blocks.maps import IMAGE_SCORES, patch_map, scored_by_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.prompts import Prompts
from adbench.blocks.rows import Rows, common, in_batches, rows_with
from adbench.blocks.similarity import TextEmbeddings, abnormal_logit
from adbench.blocks.validate import choices, positive, shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system import cores
from adbench.system.pieces import Piece, compute, split

from .adapters import KINDS, Adapters, Streams

Banks = Mapping[str, Tensor]  # by kind, (levels, rows, embed_dim)
Compare = Callable[[list[Tensor], Tensor], list[Tensor]]  # each level's features with the text or a bank
IMAGES = 8  # at most, of a piece of a training step
CHUNK = 16  # views that pass the adapted tower together when the banks are filled


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' code except for `fusion`."""

    epochs: int = 50
    batch_size: int = 1  # the code's; paper: 16
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # block numbers; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    activation: str = "gelu"  # exact GELU in both towers, whatever the weights were trained with
    normalisation: str = "none"  # images enter as [0, 1]
    adapter_activation: str = "leaky_relu"  # after both layers; relu (paper): after the first alone
    keep: float = 0.8  # share of the stream that stays, each adapter gets half of the rest; paper: 0.9
    projectors: bool = False  # feature alignment of the paper's Table 4: adapters read the stream and never write to it
    inject_untrained: bool = True  # without masks the untrained segmentation adapters still write to the stream
    views: int = 11  # fixed augmentations; 1: none
    prompts: Prompts = field(default_factory=Prompts)
    scale: float = 100.0  # of the cosines, before the softmax over both states
    pooling: str = "mean"  # of patches, in the detection loss and score; paper: max
    bce: str = "logits"  # code: the loss takes the probability as a logit; probability: plain cross-entropy
    bank_views: bool = True  # the bank holds every view of the normal images; paper: the images
    bank_cls: bool = True  # code: the class token is a row like the patches
    image_score: str = "auto"  # map_max where the support has masks, else detection; paper: detection
    fusion: str = "support"  # rescaled by the support; transductive (code): by all test images; none: the paper's Eq. 6
    score_levels: list[int] = field(default_factory=list)  # those of `levels` that score (Table 5); empty: all
    text_share: float = 0.5  # of the zero-shot branch in the fusion; 1: no bank at all


class MVFA(Method[Params]):
    """Adapters in the residual stream of a frozen CLIP; features are cached up to the first level."""

    version = "2"
    editable = ("prompts",)
    has_masks: Tensor
    map_bounds: Tensor
    score_bounds: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; read the first level, after which the adapters change the stream."""
        _check(params)
        levels = _levels(params, architecture)
        return Capability(
            support="both",
            blocks=levels if params.projectors else levels[:1],
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            transductive=params.fusion == "transductive" and params.text_share < 1,
            text=True,
        )

    def build(self) -> None:
        """Create the adapters (by kind, then level), the empty banks and the fusion's bounds."""
        p, shape = self.params, self.backbone.architecture
        self.levels = _levels(p, shape)
        self.adapters = Adapters(shape, self.levels, p.adapter_activation, p.keep, p.projectors)
        for kind in KINDS:
            self.register_buffer(f"{kind}_bank", torch.empty(0, 0, 0))  # (levels, rows, embed_dim)
        for name in ("map_bounds", "score_bounds"):  # (text, bank) x (smallest, largest)
            self.register_buffer(name, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.register_buffer("has_masks", torch.tensor(False))
        self.any_masks: bool | None = None
        self.texts = TextEmbeddings(self.backbone, p.prompts)

    def prepare(self, support: Support) -> None:
        """Augment the support once and encode every view up to the first level."""
        images, masks, count = support.images.float() / 255, support.masks, self.params.views
        if count > 1:
            images, masks = fixed_views(images, masks, zooms=False, jitter=None)
        self.streams = self.encode(images, "encoding the support").blocks
        self.has_masks.fill_(bool(support.has_mask.any()))
        self.masked, self.any_masks = common(support.has_mask), bool(support.has_mask.any())
        self.adapters["segmentation"].requires_grad_(self.any_masks)
        self.names, objects = support.objects()
        columns = (column.repeat(count) for column in (support.labels, support.has_mask, objects))
        self.data = Rows(*columns, masks, *self.streams.values()).placed(self.device, self.features_gb)

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the views each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Sum the detection loss and, for images with masks, focal and dice over the levels."""
        labels, has_mask, objects, masks, *streams = batch
        text = self.texts(self.names)[objects]
        # Where no image has a mask, the authors update the detection adapters alone.
        masked = int(has_mask.sum()) if self.masked is None else self.masked * len(labels)
        self.adapters["segmentation"].requires_grad_(masked > 0)
        losses = functools.partial(self._losses, images=len(labels), masked=masked)
        some = split(IMAGES, labels, has_mask, masks, text, *streams)
        done = compute([Piece(losses, columns, self.adapters.parameters()) for columns in some])
        self.adapters["segmentation"].requires_grad_(self._learns_masks)
        names = [f"detection at block {level}" for level in self.levels]
        if masked:
            names += [f"{term} at block {level}" for level in self.levels for term in ("focal", "dice")]
        return finite_sum(
            **dict(zip(names, (torch.stack(each).sum() for each in zip(*done, strict=True)), strict=True))
        )

    def _losses(
        self, labels: Tensor, has_mask: Tensor, masks: Tensor, text: Tensor, *streams: Tensor, images: int, masked: int
    ) -> tuple[Tensor, ...]:
        """Return the shares of some of a batch's `images`, `masked` of which have masks, in the terms of its loss."""
        features = self._features(dict(zip(self.streams, streams, strict=True)))
        share = len(labels) / images
        terms = [
            share * _bce(probability, labels.float(), self.params.bce)
            for probability in self._text_scores(features["detection"], text)
        ]
        if not masked:
            return tuple(terms)
        if (rows := rows_with(has_mask, self.masked)) is None:
            return (*terms, *[torch.zeros((), device=text.device)] * (2 * len(self.levels)))
        text, masks = text[rows], masks[rows].float()
        share = len(masks) / masked
        for logit in self._map_logits([tokens[rows] for tokens in features["segmentation"]], text):
            terms += [share * focal(logit, masks), share * dice(logit.sigmoid(), masks)]
        return tuple(terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate; it works per parameter, so that one instance equals the authors' two."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999), fused=True)

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Fill the banks with the normal images and compute the bounds of both branches over the support."""
        if self.params.text_share == 1:
            return
        views = self.params.views if self.params.bank_views else 1
        normal = (support.labels == 0).nonzero()[:, 0]
        if not len(normal):
            raise AdbenchError(
                "mvfa has no normal support image to fill its memory bank with. Give it one, or method.text_share=1: "
                "the text branch alone."
            )
        features = self._normal_features((torch.arange(views)[:, None] * len(support) + normal).flatten())
        for kind, tokens in features.items():
            setattr(self, f"{kind}_bank", _rows(tokens))
        if self.params.fusion == "support":
            images = self._leave_one_out(support, features, normal.repeat(views).to(self.device))
            self._set_bounds(images, "the whole support", "Try more shots, a smaller method.learning_rate")

    def forget_training(self) -> None:
        """Drop the features of the views, too."""
        super().forget_training()
        self.streams = {}

    def observe_test_images(self, batches: Iterable[Batch]) -> None:
        """Compute the bounds of both branches over all images that will be scored, as the authors do."""
        banks = self._banks()
        images = ((batch.features.blocks, batch.object_names, banks) for batch in batches)
        self._set_bounds(images, "all images to score", "Score more images")

    def score(self, batch: Batch) -> Scores:
        """Fuse the text and bank branches per pixel; the image score is the maximum, or fused in the same way."""
        maps, scores = self._branches(batch.features.blocks, batch.object_names, self._banks())
        share = self.params.text_share
        pixel = fuse(maps, self.map_bounds, share)
        return Scores(fuse(scores, self.score_bounds, share) if scores else pixel.flatten(1).amax(1), pixel)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the text branch per pixel at each level (Fig. 4 of the paper)."""
        features, text = self._features(batch.features.blocks), self.texts(batch.object_names)
        return dict(zip(self.levels, self._text_maps(features[self._map_kind], text), strict=True))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean over the patches of the last level's detection features."""
        return self._features(batch.features.blocks)["detection"][-1][:, 1:].mean(1)

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the patches of the map's last level (B, patches, C) and its bank (M, C), none without that branch."""
        patches = self._features(batch.features.blocks)[self._map_kind][-1][:, 1:]
        return patches, self._banks()[self._map_kind][-1] if self.params.text_share < 1 else patches[0, :0]

    @property
    def adapted_block(self) -> int:
        """The last level."""
        return self.levels[-1]

    @property
    def _learns_masks(self) -> bool:
        """Whether the support has masks: known in a training, else read from the fitted state."""
        return bool(self.has_masks) if self.any_masks is None else self.any_masks

    @property
    def _map_kind(self) -> str:
        """Which adapters give the map: without masks the segmentation adapters are never trained."""
        return "segmentation" if self.has_masks else "detection"

    @property
    def _score_is_maximum(self) -> bool:
        return scored_by_map(self.params.image_score, bool(self.has_masks))

    def _features(self, streams: Streams) -> dict[str, list[Tensor]]:
        """Run the adapted tower; return by kind, per level, the unit features (B, 1 + patches, embed_dim)."""
        writers = KINDS if self._learns_masks or self.params.inject_untrained else ("detection",)
        return self.adapters.features(self.backbone, streams, writers)

    # The text branch, then the bank branch: one tensor per level, for pixels (B, H, W) or for images (B,).

    def _text_maps(self, features: list[Tensor], text: Tensor) -> list[Tensor]:
        return [logit.sigmoid() for logit in self._map_logits(features, text)]

    def _text_scores(self, features: list[Tensor], text: Tensor) -> list[Tensor]:
        return [self._pool(self._logits(tokens, text).sigmoid()) for tokens in features]

    def _map_logits(self, features: list[Tensor], text: Tensor) -> list[Tensor]:
        return [self._upsample(self._logits(tokens, text)) for tokens in features]

    def _logits(self, tokens: Tensor, text: Tensor) -> Tensor:
        """Return (B, patches) logits of the abnormal state; the class token is left out."""
        return abnormal_logit(tokens[:, 1:], text, self.params.scale)

    def _bank_maps(self, features: list[Tensor], bank: Tensor) -> list[Tensor]:
        return [self._upsample(distance) for distance in _distances(features, bank)]

    def _bank_scores(self, features: list[Tensor], bank: Tensor) -> list[Tensor]:
        if self.params.pooling == "max":
            return [self._pool(distance) for distance in _distances(features, bank)]
        # The authors average after upsampling, where patches at the border weigh less.
        return [maps.flatten(1).mean(1) for maps in self._bank_maps(features, bank)]

    def _banks(self) -> dict[str, Tensor]:
        return {kind: getattr(self, f"{kind}_bank") for kind in KINDS}

    def _normal_features(self, views: Tensor) -> dict[str, Tensor]:
        """Return by kind, of those that scoring compares, the features (V, levels, tokens, embed_dim) of some views."""
        kinds = {self._map_kind} if self._score_is_maximum else {self._map_kind, "detection"}
        first = 0 if self.params.bank_cls else 1

        def of(rows: Tensor) -> dict[str, Tensor]:
            features = self._features({block: stream[rows].to(self.device) for block, stream in self.streams.items()})
            return {kind: torch.stack(features[kind], dim=1)[:, :, first:] for kind in kinds}

        chunks = list(cores.each(of, views.split(CHUNK)))
        return {kind: torch.cat([chunk[kind] for chunk in chunks]) for kind in kinds}

    def _branches(self, streams: Streams, names: Sequence[str], banks: Banks) -> tuple[Branches, Branches | None]:
        """Return both branches for pixels (B, H, W), and for images (B,) unless the map's maximum is the image score.

        Each is a mean over the levels of `score_levels`.
        """
        p, features, text = self.params, self._features(streams), self.texts(names)
        keep = [i for i, level in enumerate(self.levels) if level in (p.score_levels or self.levels)]

        def branches(kind: str, with_text: Compare, with_bank: Compare) -> Branches:
            levels = [features[kind][i] for i in keep]
            bank = _mean(with_bank(levels, banks[kind][keep])) if p.text_share < 1 else None
            return Branches(_mean(with_text(levels, text)), bank)

        maps = branches(self._map_kind, self._text_maps, self._bank_maps)
        return maps, None if self._score_is_maximum else branches("detection", self._text_scores, self._bank_scores)

    def _leave_one_out(
        self, support: Support, features: Mapping[str, Tensor], owners: Tensor
    ) -> Iterator[tuple[Streams, Sequence[str], Banks]]:
        """Yield each support image with the banks without its own views, to which its distance would be 0.

        Row i of `features`, those of the normal views, belongs to image `owners[i]`.
        """
        banks, n = self._banks(), len(support)
        images = [i for i in range(n) if (owners != i).any()]  # a single normal image has no other to compare with
        if not images:
            raise AdbenchError(
                "method.fusion=support is not possible with a single support image: its own views are all there is to "
                "measure it against. Give it a second one, or method.fusion=none."
            )
        # The scores of one image have no range: its views are used instead.
        views = images if len(images) > 1 else [i + n * view for i in images for view in range(self.params.views)]
        for row in views:
            others = owners != row % n
            other_banks = banks if others.all() else {kind: _rows(rows[others]) for kind, rows in features.items()}
            streams = {block: stream[row : row + 1].to(self.device) for block, stream in self.streams.items()}
            yield streams, [support.object_names[row % n]], other_banks

    def _set_bounds(self, images: Iterable[tuple[Streams, Sequence[str], Banks]], where: str, advice: str) -> None:
        """Set the smallest and largest value of each branch over all images, for maps and for image scores."""

        def of(image: tuple[Streams, Sequence[str], Banks]) -> list[Tensor]:
            return [bounds(branches) for branches in self._branches(*image) if branches]

        per_image = list(cores.each(of, images))
        limits = [widest(each) for each in zip(*per_image, strict=True)]
        if not all((limit[:, 1] > limit[:, 0]).all() for limit in limits):
            raise AdbenchError(
                f"method.fusion={self.params.fusion} is not possible: over {where} a branch of mvfa gives one and the "
                f"same value. {advice}, or take method.fusion=none."
            )
        for buffer, limit in zip((self.map_bounds, self.score_bounds), limits, strict=False):
            buffer.copy_(limit)

    def _upsample(self, patches: Tensor) -> Tensor:
        return patch_map(patches, self.backbone.input_size)

    def _pool(self, patches: Tensor) -> Tensor:
        return patches.amax(1) if self.params.pooling == "max" else patches.mean(1)


def _rows(features: Tensor) -> Tensor:
    """Turn (N, levels, tokens, C) into a bank (levels, rows, C)."""
    return features.transpose(0, 1).flatten(1, 2)


def _distances(levels: list[Tensor], bank: Tensor) -> list[Tensor]:
    """Return per level the distance (B, patches) of each patch to its nearest bank row."""
    return [cosine_distance(tokens[:, 1:], rows, run_precision=True) for tokens, rows in zip(levels, bank, strict=True)]


def _mean(levels: list[Tensor]) -> Tensor:
    return torch.stack(levels).mean(0)


def _bce(probability: Tensor, labels: Tensor, rule: str) -> Tensor:
    if rule == "logits":
        return F.binary_cross_entropy_with_logits(probability, labels)
    with torch.autocast(probability.device.type, enabled=False):  # torch refuses this loss under autocast
        return F.binary_cross_entropy(probability.float(), labels)


def _levels(p: Params, architecture: Architecture) -> tuple[int, ...]:
    levels = architecture.checked_levels(p.levels or architecture.levels(4))
    if architecture.depth and not set(p.score_levels) <= set(levels):  # without blocks a run refuses it
        raise AdbenchError(
            f"method.score_levels={p.score_levels} is not possible: choose from the levels {list(levels)}."
        )
    return levels


def _check(p: Params) -> None:
    choices(
        p,
        views=(1, 11),
        adapter_activation=("leaky_relu", "relu"),
        pooling=("mean", "max"),
        bce=("logits", "probability"),
        image_score=IMAGE_SCORES,
        fusion=("support", "transductive", "none"),
    )
    shares(p, "keep", "text_share")
    positive(p, "scale")
