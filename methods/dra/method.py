"""DRA: catching both gray and black swans, open-set supervised anomaly detection (Ding et al., CVPR 2022, arXiv
2203.14506).

Trained, on normal images, a few anomalies and pseudo anomalies made of the normal images by CutMix: four heads on patch
features, with the deviation loss. Three score abnormality at each patch: like the seen anomalies, like the
pseudo anomalies, and in the residual to the mean of a few normal reference images; the fourth scores the normality of
the whole image. Frozen: the backbone. Image score: of each abnormality the mean of the highest tenth of the patches,
summed, less the normality. Map: the same sum at each patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import patch_map
from adbench.blocks.pyramid import Levels, chosen_levels, level_maps, patch_vectors
from adbench.blocks.similarity import require_both_classes
from adbench.blocks.validate import at_least, intervals, positive, shares, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

from .heads import Heads, PatchScores, losses
from .triples import TASKS, PseudoAnomalies, Triple, Triples

DRAWS = 5000  # from N(0, 1), from whose mean scores deviate


@dataclass
class Params:
    """Hyper-parameters. README.md says which are the paper's."""

    epochs: int = 30
    epoch_steps: int = 20
    batch_size: int = 16  # triples: a normal image, a seen and a pseudo anomaly, so 48 images
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    blocks: list[int] = field(default_factory=list)  # of a ViT; empty: at 2/4, 3/4 and 4/4 of the depth
    stages: list[int] = field(default_factory=list)  # of a CNN; empty: 4
    level_norm: bool = True  # a layer norm of each level; the paper: none
    adapter: int = 0  # channels of a trained layer that all heads share; 0: none, they read frozen features
    hidden: int = 256  # units of the normality head; 0: it is linear like the others
    top: float = 0.1  # share of the patches that an abnormality is the mean of
    margin: float = 5.0  # by which anomalies are to deviate, in standard deviations
    references: int = 5  # normal images of the support, or all where it has fewer
    pseudo: list[str] = field(default_factory=lambda: ["moved"])  # also cutmix, cutpaste, gauss, source; equally likely
    pseudo_images: int = 64  # made and encoded once; 0: new ones in every step, which runs the backbone each time
    sides: list[float] = field(default_factory=lambda: [0.1, 0.6])  # of the rectangle, shares of the image's
    activation: str = "native"
    normalisation: str = "native"


class DRA(Method[Params]):
    """Heads for three kinds of abnormality and for normality over cached features."""

    version = "3"
    reference: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes."""
        _check(params)
        levels = _levels(params, architecture)
        return Capability(
            support="both",
            blocks=levels.blocks,
            stages=levels.stages,
            epochs=params.epochs,
            class_token=False,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create the heads and the empty reference."""
        architecture = self.backbone.architecture
        self.heads = Heads(
            _levels(self.params, architecture).channels(architecture), self.params.adapter, self.params.hidden
        )
        self.register_buffer("reference", torch.empty(0, 0))  # (patches, width)

    def prepare(self, support: Support) -> None:
        """Encode the support, choose the reference images, make pseudo anomalies, draw what scores deviate from."""
        require_both_classes(support.labels, "dra")
        draws = torch.randn(DRAWS, generator=self.generator("reference scores"))
        self.centre, self.spread = float(draws.mean()), float(draws.std())
        p, normal = self.params, support.labels == 0
        patches = self._patches(self.encode(support.images, "encoding the support"))
        rows = patches[normal]
        self.references = rows[torch.randperm(len(rows), generator=self.generator("references"))[: p.references]]
        seed = self.generator("triples").initial_seed()
        # Those of each step have a seed of their own: a triple's number would draw its images and its anomaly alike.
        apart = seed if p.pseudo_images else self.generator("pseudo anomalies").initial_seed()
        made = PseudoAnomalies(support.images[normal], p.pseudo, p.sides, apart)
        pseudo: Tensor | PseudoAnomalies = made
        if p.pseudo_images:
            pseudo = self._patches(self.encode(made.first(p.pseudo_images), "encoding pseudo anomalies"))
        self.data = Triples(rows, patches[~normal], pseudo, seed)

    def train_dataloader(self) -> DataLoader[Triple]:
        """Draw triples; where each step has new pseudo anomalies, `loader_workers=` processes make them."""
        p, workers = self.params, 0 if self.params.pseudo_images else self.loader_workers
        count = p.epoch_steps * p.batch_size
        order = RandomSampler(self.data, replacement=True, num_samples=count, generator=self.generator("order"))
        return DataLoader(
            self.data, p.batch_size, sampler=order, num_workers=workers, persistent_workers=workers > 0,
            generator=self.generator("workers"),
        )  # fmt: skip

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Sum the losses of the four heads."""
        normal, seen, pseudo = batch
        if not self.params.pseudo_images:
            with torch.no_grad():
                pseudo = self._patches(self.backbone.features(pseudo, self.blocks, stages=self.declared.stages))
        said = self.heads(self.heads.adapted(torch.cat([normal, seen, pseudo])), self._reference())
        columns = (column.chunk(3) for column in said.pooled(self.params.top))
        of_normal, of_seen, of_pseudo = (PatchScores(*kind) for kind in zip(*columns, strict=True))
        return finite_sum(**losses(of_normal, of_seen, of_pseudo, self.centre, self.spread, self.params.margin))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate."""
        return torch.optim.Adam(
            self.parameters(), self.params.learning_rate, weight_decay=self.params.weight_decay, fused=True
        )

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Keep the mean of the reference images as the adapter sees them now."""
        self.reference = self._reference()

    def forget_training(self) -> None:
        """Drop the patches of the reference images, too."""
        super().forget_training()
        del self.references

    def score(self, batch: Batch) -> Scores:
        """Return the three abnormalities less the normality: pooled as the image score, at each patch as the map."""
        said = self.heads(self.heads.adapted(self._patches(batch.features)), self.reference)
        return Scores(said.pooled(self.params.top).total(), patch_map(said.total(), self.backbone.input_size))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the mean of the adapted patches."""
        return self.heads.adapted(self._patches(batch.features)).mean(1)

    def _reference(self) -> Tensor:
        """Return the mean (P, width) over the adapted reference images."""
        return self.heads.adapted(self.references.to(self.device)).mean(0)

    def _patches(self, features: Features) -> Tensor:
        """Return (B, P, C): all levels at each position of the finest one."""
        return patch_vectors(level_maps(features, self.backbone.architecture), "bilinear", self.params.level_norm)


def _levels(params: Params, architecture: Architecture) -> Levels:
    return chosen_levels(params, architecture, blocks=architecture.levels(4)[1:], stages=(4,))


def _check(p: Params) -> None:
    some_of(p, pseudo=TASKS)
    at_least(p, 1, "epoch_steps", "references")
    at_least(p, 0, "adapter", "hidden", most=65536)
    at_least(p, 0, "pseudo_images", most=10**5)
    positive(p, "margin", "top")
    shares(p, "top")
    intervals(p, 0.01, 1, "sides")
    if not {"moved", "cutmix"} & set(p.pseudo) and p.sides != Params().sides:
        raise AdbenchError(
            f"method.sides=[{','.join(map(str, p.sides))}] has no effect on method.pseudo=[{','.join(p.pseudo)}]: they "
            "are those of the rectangle of moved and cutmix. Leave one of the two out."
        )
