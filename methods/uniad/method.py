"""UniAD: a unified model for multi-class anomaly detection (You et al., NeurIPS 2022, arXiv 2206.03687).

Trained, on normal images of one or several datasets: a transformer that reconstructs the features of a frozen backbone
from features disturbed by noise. Learned queries in each decoder layer, and attention masked in each position's
neighbourhood, keep it from copying its input. Map: per position the distance between features and reconstruction.
Image score: the map's maximum after average pooling. `preset=paper` is the authors' EfficientNet-b4 (README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks import denoiser, jitter
from adbench.blocks.frozen import FrozenRows
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import in_fp32
from adbench.blocks.pyramid import Levels, chosen_levels, level_maps, patch_vectors
from adbench.blocks.training import ClippedGradients, adamw_with_a_drop, require_normal
from adbench.blocks.validate import at_least, positive, shares
from adbench.data.decode import Filter
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' where a ViT has a counterpart; README.md has the rest."""

    epochs: int = 1000
    epoch_images: int = 0  # an epoch shows at least this many images, repeated with new noise
    batch_size: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    clip_norm: float = 0.1  # of the gradient; 0: no clipping
    decay_at: float = 0.8  # after this share of the epochs the rate falls to a tenth
    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 1/4, 2/4, 3/4, 4/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 0, 1, 2 and 3
    level_norm: bool = True  # a layer norm of each level; the authors: none
    width: int = 256
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    feed_forward: int = 1024
    dropout: float = 0.1
    neighbours: int = 0  # side of the masked window, odd; 0: half of the grid, which is the authors' 7 on 14 x 14
    mask: str = "blocked"  # blocked: no position sees its window; allowed: it sees nothing else; none
    jitter_scale: float = 20.0  # 0: no noise
    jitter_channels: int = 0  # at which a scale means this share of noise; 0: those of the features
    pool: int = 0  # side of the average pooling before the image score, in input pixels; 0: one position's
    resize: Filter = "bicubic"  # of the images; the authors: bilinear
    activation: str = "native"
    normalisation: str = "native"


class UniAD(ClippedGradients, Method[Params]):
    """A masked transformer over cached features of a frozen backbone."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        _check(params)
        levels = _levels(params, architecture)
        return Capability(
            support="normal",
            blocks=levels.blocks,
            stages=levels.stages,
            class_token=False,
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            resize=params.resize,
        )

    def build(self) -> None:
        """Create both projections and the transformer."""
        p, architecture, size = self.params, self.backbone.architecture, self.backbone.input_size
        levels = _levels(p, architecture)
        self.grid = levels.grid(architecture, size)
        self.pool = p.pool or levels.stride(architecture)
        if self.pool > size:
            raise AdbenchError(f"method.pool={p.pool} is not possible: the image has {size} pixels.")
        channels = levels.channels(architecture)
        self.enter, self.leave = nn.Linear(channels, p.width), nn.Linear(p.width, channels)
        self.denoiser = denoiser.denoiser_of(p, self.grid)
        denoiser.initialise(self)

    def prepare(self, support: Support) -> None:
        """Keep the frozen features of the normal images."""
        require_normal(len(support), "uniad")
        self.rows = FrozenRows(lambda images: [self._frozen_patches(self.encode(images))], support.images).placed(
            self.device, self.features_gb
        )
        self.noise = self.generator("jitter")

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, and repeat them in a new order until `epoch_images` are shown."""
        return self.rows.loader(self.params.batch_size, self.params.epoch_images, self.generator("order"))

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Reconstruct features from disturbed ones; the target is undisturbed."""
        target = self.rows[batch[0]][0].to(self.device)
        return finite_sum(reconstruction=F.mse_loss(self._reconstructed(self._disturbed(target)), target))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; the learning rate drops once, to a tenth."""
        p = self.params
        return adamw_with_a_drop(self.parameters(), p.learning_rate, p.weight_decay, p.epochs, p.decay_at)

    def score(self, batch: Batch) -> Scores:
        """Return the distance to the reconstruction as the map; the image score is the maximum of its local means."""
        difference = self._difference(batch.features)
        maps = patch_map(difference.norm(dim=-1), self.backbone.input_size)
        return Scores(F.avg_pool2d(maps, self.pool, stride=1).flatten(1).amax(1), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the map of each level's own channels; their squares add up to that of the map's positions."""
        shape, levels = self.backbone.architecture, _levels(self.params, self.backbone.architecture)
        widths = [shape.width for _ in levels.blocks] + [shape.stage(number).channels for number in levels.stages]
        parts = self._difference(batch.features).split(widths, dim=-1)
        numbers = sorted(levels.blocks) + sorted(levels.stages)
        return {
            number: patch_map(part.norm(dim=-1), self.backbone.input_size)
            for number, part in zip(numbers, parts, strict=True)
        }

    def _frozen_patches(self, features: Features) -> Tensor:
        """Return the levels of B images, each on the coarsest one's grid, concatenated: fp32 (B, positions, C)."""
        levels = level_maps(features, self.backbone.architecture)
        return patch_vectors(levels, level_norm=self.params.level_norm, grid=self.grid, align_corners=True)

    def _disturbed(self, tokens: Tensor) -> Tensor:
        """Add noise of standard deviation scale x norm / C to each position."""
        p, channels = self.params, tokens.shape[-1]
        if not p.jitter_scale:
            return tokens
        scale = p.jitter_scale * (channels / p.jitter_channels) ** 0.5 if p.jitter_channels else p.jitter_scale
        return jitter.spatial(tokens, scale, self.noise)

    def _reconstructed(self, tokens: Tensor) -> Tensor:
        """Map (B, positions, C) to its reconstruction, fp32. Both projections stay in fp32: features may be large."""
        return in_fp32(self.leave, self.denoiser(in_fp32(self.enter, tokens)))

    def _difference(self, features: Features) -> Tensor:
        """Return the reconstruction minus the features, fp32 (B, positions, C)."""
        tokens = self._frozen_patches(features)
        return self._reconstructed(tokens) - tokens


def _levels(params: Params, architecture: Architecture) -> Levels:
    return chosen_levels(params, architecture, blocks=architecture.levels(4), stages=(0, 1, 2, 3))


def _check(p: Params) -> None:
    denoiser.check(p)
    at_least(p, 0, "clip_norm", "epoch_images", "jitter_scale", "pool")
    at_least(p, 0, "jitter_channels", most=65536)
    positive(p, "decay_at")
    shares(p, "decay_at")
    if p.jitter_channels and not p.jitter_scale:
        raise AdbenchError("method.jitter_channels has no effect with method.jitter_scale=0: leave one of the two out.")
