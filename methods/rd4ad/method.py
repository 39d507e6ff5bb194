"""RD4AD: anomaly detection via reverse distillation from one-class embedding (Deng and Li, CVPR 2022, 2201.10703).

Trained, on normal images: a bottleneck, which makes one small embedding of several levels of a frozen teacher, and a
student, which repeats these levels from the embedding alone. Frozen: the backbone, which is the teacher. Map: at each
position 1 - the cosine of teacher and student, summed over the levels and smoothed. Image score: the map's maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.frozen import FrozenRows
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import gaussian_blur, patch_map
from adbench.blocks.pyramid import chosen_levels, level_maps
from adbench.blocks.training import require_normal
from adbench.blocks.validate import at_least, choices
from adbench.data.decode import Filter
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

from .networks import Bottleneck, Level, Student, initialise

ADAM = (0.5, 0.999)  # betas


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' where a ViT has a counterpart; README.md has the rest."""

    epochs: int = 200
    epoch_images: int = 0  # an epoch shows at least this many images, repeated
    batch_size: int = 16
    learning_rate: float = 5e-3
    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 1/4, 2/4 and 3/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 1, 2 and 3
    level_norm: bool = True  # a layer norm of each level at each position; the paper: none
    linear: bool = True  # a 1 x 1 convolution ends each level of the student; the paper: none
    mix: bool = False  # a 1 x 1 convolution behind the bottleneck's concatenation
    stride: int = 2  # of the embedding over the coarsest level; 1: no spatial bottleneck
    embedding: int = 0  # channels of the embedding; 0: twice the coarsest level's
    depths: list[int] = field(default_factory=list)  # residual blocks: embedding, student's stages; empty: 1 each
    loss: str = "map"  # map: the cosine of a level's whole map as one vector; position: of each position
    sigma: float = 4.0  # Gaussian smoothing of the map, in input pixels
    resize: Filter = "bicubic"  # of the images; the authors: bilinear
    activation: str = "native"
    normalisation: str = "native"


class RD4AD(Method[Params]):
    """Bottleneck and student over cached levels of a frozen teacher."""

    version = "2"

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        choices(params, loss=("map", "position"), stride=(1, 2))
        at_least(params, 0, "epoch_images")
        at_least(params, 0, "embedding", most=65536)
        at_least(params, 0, "sigma", most=1000)
        teacher = teacher_of(params, architecture)
        wanted = len(teacher.levels) + 1
        if params.depths and (len(params.depths) != wanted or not all(1 <= depth <= 100 for depth in params.depths)):
            raise AdbenchError(
                f"method.depths=[{','.join(map(str, params.depths))}] is not possible: give {wanted} numbers from 1 to "
                f"100, for the embedding and the student's {wanted - 1} stages, coarsest first."
            )
        return Capability(
            support="normal",
            blocks=teacher.blocks,
            stages=teacher.stages,
            class_token=False,
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            resize=params.resize,
        )

    def build(self) -> None:
        """Create bottleneck and student."""
        p, levels = self.params, teacher_of(self.params, self.backbone.architecture).levels
        depths = p.depths or [1] * (len(levels) + 1)
        channels = p.embedding or 2 * levels[-1].channels
        self.bottleneck = Bottleneck(levels, channels, depths[0], p.stride, p.mix)
        self.student = Student(levels, channels, depths[1:], p.stride, p.linear)
        initialise(self)

    def prepare(self, support: Support) -> None:
        """Keep the teacher's levels of the normal images."""
        require_normal(len(support), "rd4ad")
        self.rows = FrozenRows(lambda images: self._levels(self.encode(images)), support.images).placed(
            self.device, self.features_gb
        )
        side = -(-self.rows[torch.tensor([0])][-1].shape[-1] // self.params.stride)
        shown, size = max(self.params.epoch_images, len(support)), self.params.batch_size
        if side == 1 and (size == 1 or shown % size == 1):
            raise AdbenchError(
                "rd4ad can't train on a batch of one image whose embedding has one position: a batch norm needs two "
                f"values. Of {shown} images method.batch_size={size} leaves one alone: use another size of 2 or more, "
                f"repeat images (method.epoch_images={max(2, size)}), or take a larger input_size."
            )

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, and repeat them in a new order until `epoch_images` are shown."""
        return self.rows.loader(self.params.batch_size, self.params.epoch_images, self.generator("order"))

    def training_step(self, batch: Sequence[Tensor], _: int) -> Tensor:
        """Sum the student's distance to the teacher over the levels."""
        teacher = [level.to(self.device) for level in self.rows[batch[0]]]
        student = self._repeated(teacher)
        whole = self.params.loss == "map"
        pairs = zip(teacher, student, strict=True)
        return finite_sum(**{f"level {i + 1}": distance(t, s, whole).mean() for i, (t, s) in enumerate(pairs)})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=ADAM, fused=True)

    def score(self, batch: Batch) -> Scores:
        """Return the distances at each position, summed over the levels, as the map; the image score is its maximum."""
        distances = torch.stack(self._maps(batch.features)).sum(0)
        maps = gaussian_blur(distances, self.params.sigma, edge="symmetric")
        return Scores(maps.flatten(1).amax(1), maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the distance to each block of a ViT, not smoothed; nothing for a CNN, which has stages."""
        return dict(zip(sorted(self.blocks), self._maps(batch.features), strict=True)) if self.blocks else {}

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean of the embedding over its positions."""
        return self._embedding(self._levels(batch.features)).mean((2, 3))

    def _levels(self, features: Features) -> list[Tensor]:
        """Return the teacher's levels (B, C, h, w), finest first, fp32."""
        levels = level_maps(features, self.backbone.architecture)
        return [position_norm(level) for level in levels] if self.params.level_norm else levels

    def _embedding(self, teacher: Sequence[Tensor]) -> Tensor:
        """Return the bottleneck's embedding, in fp32 also under autocast: its training makes much of rounding."""
        with torch.autocast(self.device.type, enabled=False):
            embedding: Tensor = self.bottleneck(teacher)
        return embedding

    def _repeated(self, teacher: Sequence[Tensor]) -> list[Tensor]:
        """Return the student's levels, in fp32 like the embedding."""
        embedding = self._embedding(teacher)
        with torch.autocast(self.device.type, enabled=False):
            found: list[Tensor] = self.student(embedding, [level.shape[2:] for level in teacher])
        return found

    def _maps(self, features: Features) -> list[Tensor]:
        """Return for each level the distances (B, input size, input size)."""
        teacher = self._levels(features)
        pairs = zip(teacher, self._repeated(teacher), strict=True)
        return [patch_map(distance(t, s).flatten(1), self.backbone.input_size) for t, s in pairs]


class Teacher(NamedTuple):
    """What is read of the backbone, `blocks` or `stages`, and the shape of it, finest first."""

    blocks: tuple[int, ...]
    stages: tuple[int, ...]
    levels: list[Level]


def teacher_of(params: Params, architecture: Architecture) -> Teacher:
    """Return the teacher: of a ViT blocks on one grid, of a CNN stages whose strides are each a power of 2 apart."""
    chosen = chosen_levels(params, architecture, blocks=architecture.levels(4)[:3], stages=(1, 2, 3))
    blocks, stages = tuple(sorted(chosen.blocks)), tuple(sorted(chosen.stages))
    levels = [Level(architecture.width, 1)] * len(blocks)
    levels += [Level(stage.channels, stage.stride) for stage in map(architecture.stage, stages)]
    return Teacher(blocks, stages, levels)


def distance(teacher: Tensor, student: Tensor, whole: bool = False) -> Tensor:
    """Return 1 - cosine of levels (B, C, h, w): at each position (B, h, w), or (B,) of the `whole` map as one vector.

    >>> teacher = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 2, 1, 2)  # the vectors (1, 0) and (1, 0)
    >>> student = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 2, 1, 2)  # the vectors (1, 0) and (0, 1)
    >>> distance(teacher, student).tolist(), distance(teacher, student, whole=True).tolist()
    ([[[0.0, 1.0]]], [0.5])
    """
    one, other = teacher.float(), student.float()
    if whole:
        one, other = one.flatten(1), other.flatten(1)
    return 1 - F.cosine_similarity(one, other, dim=1)


def position_norm(level: Tensor) -> Tensor:
    """Return a level (B, C, h, w) whose channels have mean 0 and variance 1 at each position."""
    return F.layer_norm(level.movedim(1, -1), level.shape[1:2]).movedim(-1, 1)
