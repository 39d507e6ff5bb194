"""AnomalyCLIP: object-agnostic prompt learning for zero-shot anomaly detection (ICLR 2024).

Trained, on a set that is not tested: two prompts, "[V] object." and "[W] damaged object.", whose learnable vectors
stand for no object, and vectors inside the text tower. Frozen: CLIP. Patches are read from the V-V stream, in which
they stay local. Losses: cross-entropy of the image; focal and two Dice losses of the patches. Image score: the
probability of the second prompt for the image. Map: that of each patch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.deep_prompts import DeepPrompts
from adbench.blocks.losses import dice, finite_sum, focal_of_states
from adbench.blocks.maps import gaussian_blur, patch_map, upsample
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import PromptLearner, Prompts
from adbench.blocks.rows import Rows, common, in_batches, names_of, rows_with
from adbench.blocks.similarity import image_vectors, require_both_classes, state_logits
from adbench.blocks.validate import at_least, choices, positive
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.progress import track


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' (README.md)."""

    epochs: int = 15
    batch_size: int = 8
    learning_rate: float = 1e-3
    levels: list[int] = field(default_factory=list)  # blocks after which the V-V stream is read; empty: the last
    vv_from: int = 0  # the block at which the V-V stream starts; 0: a quarter of the depth, 6 of 24
    prompts: Prompts = field(default_factory=lambda: Prompts(["object"], ["damaged object"]))
    context_length: int = 12  # learnable vectors in front of each phrase
    deep_blocks: int = 9  # the last text block with vectors of its own, the first is 2; 0: none
    deep_length: int = 4  # vectors in each of these blocks
    temperature: float = 0.07  # of the cosines, before each softmax
    pixel_weight: float = 4.0  # of the losses of the patches; 0: no masks are used
    image_vector: str = "projected"  # the class token without the final norm; `embedding`: with it, CLIP's own
    sigma: float = 4.0  # Gaussian smoothing of the map, in pixels of the input; 0: none
    activation: str = "native"
    normalisation: str = "native"


class AnomalyCLIP(Method[Params]):
    """Learnable prompts over cached features of a frozen CLIP."""

    version = "2"
    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; read the V-V stream and the class token of the last block."""
        depth = architecture.depth
        _check(params, depth or 1000)
        return Capability(
            support="both",
            blocks=(depth,),
            vv=architecture.checked_levels(params.levels or (depth,)),
            vv_from=params.vv_from or max(1, round(depth / 4)),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            text=True,
            projection=True,
            word_vectors=True,
        )

    def build(self) -> None:
        """Create the vectors in front of both phrases, and those inside the text tower."""
        p = self.params
        self.learner = PromptLearner(self.backbone, p.prompts, p.context_length)
        self.deep = DeepPrompts(self.backbone, p.deep_blocks, p.deep_length)

    def prepare(self, support: Support) -> None:
        """Encode the support once: of each image its vector and those of its patches, all of unit length."""
        require_both_classes(support.labels, "anomalyclip")
        if not support.has_mask.any() and self.params.pixel_weight:
            print("adbench: anomalyclip found no masks: it learns from the labels of the images.", file=sys.stderr)
        self.names, objects = support.objects()
        self.masked = common(support.has_mask)
        rows = []
        for i in track(range(len(support)), "encoding the support", len(support)):
            image, *levels = self._read(self.encode(support.images[i : i + 1]))
            rows.append([image.cpu(), *(patches.cpu() for patches in levels)])
        vectors = [torch.cat(column) for column in zip(*rows, strict=True)]
        self.data = Rows(objects, support.labels, support.masks, support.has_mask, *vectors).placed(
            self.device, self.features_gb
        )

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images, each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("order"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Cross-entropy of the images; of the patches at each level a focal and two Dice losses, weighted."""
        p = self.params
        objects, labels, masks, has_mask, images, *levels = batch
        text = self._text(names_of(self.names, objects))
        terms = {"cross-entropy": F.cross_entropy(self._logits(images[:, None], text)[:, 0], labels)}
        rows = rows_with(has_mask, self.masked)
        if p.pixel_weight and rows is not None:
            truth, states = masks[rows].float(), text[rows]
            for level, patches in zip(self.declared.vv, levels, strict=True):
                of_states = upsample(
                    self._logits(patches[rows], states).softmax(-1), self.backbone.input_size, align_corners=False
                )
                terms[f"focal at block {level}"] = p.pixel_weight * focal_of_states(of_states, truth)
                terms[f"dice of abnormal pixels at block {level}"] = p.pixel_weight * dice(of_states[:, 1], truth)
                terms[f"dice of normal pixels at block {level}"] = p.pixel_weight * dice(of_states[:, 0], 1 - truth)
        return finite_sum(**terms)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over the prompts."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, betas=(0.5, 0.999), fused=True)

    def score(self, batch: Batch) -> Scores:
        """Return the probability of the second prompt, for the image and, as the map, for the patches of all levels."""
        image, *levels = self._read(batch.features)
        text = self._text(batch.object_names)
        maps = torch.stack([self._map(patches, text) for patches in levels]).sum(0)
        return Scores(self._logits(image[:, None], text).softmax(-1)[:, 0, 1], maps)

    def level_maps(self, batch: Batch) -> dict[int, Tensor]:
        """Return the map of each level."""
        _, *levels = self._read(batch.features)
        text = self._text(batch.object_names)
        return {level: self._map(patches, text) for level, patches in zip(self.declared.vv, levels, strict=True)}

    def _map(self, patches: Tensor, text: Tensor) -> Tensor:
        # The authors' (p_abnormal + 1 - p_normal) / 2 is p_abnormal: the two add up to 1.
        probability = self._logits(patches, text).softmax(-1)[..., 1]
        pixels = patch_map(probability, self.backbone.input_size, align_corners=False)
        return gaussian_blur(pixels, self.params.sigma, edge="symmetric")

    def _read(self, features: Features) -> list[Tensor]:
        """Return unit vectors, fp32: of the images (B, C), then of the patches (B, patches, C) at each level."""
        depth, on = self.backbone.architecture.depth, features.to(self.backbone.device)
        found = [image_vectors(self.backbone, on.blocks[depth][:, 0], self.params.image_vector)]
        with torch.autocast(self.backbone.device.type, enabled=False):
            for level in self.declared.vv:
                patches = on.vv[level][:, self.backbone.architecture.prefix :].float()
                found.append(l2_normalize(self.backbone.project(patches)))
        return found

    def _text(self, names: Sequence[str]) -> Tensor:
        """Return unit vectors (B, 2, C), normal then abnormal, for B object names; in fp32, also under autocast.

        Computed once for names with the same prompts: by default for all.
        """
        phrases = [self.params.prompts.phrases(name) for name in names]
        name_of = dict(zip(phrases, names, strict=True))
        with torch.autocast(self.backbone.device.type, enabled=False):
            embeddings = [
                self.deep(self.backbone, *self.learner.embedded(self.backbone, name)) for name in name_of.values()
            ]
        each = torch.stack([self.learner.states(of_prompts) for of_prompts in embeddings])
        places = {one: place for place, one in enumerate(name_of)}
        return each[[places[one] for one in phrases]]

    def _logits(self, vectors: Tensor, text: Tensor) -> Tensor:
        return state_logits(vectors, text, self.params.temperature)


def _check(p: Params, depth: int) -> None:
    choices(p, image_vector=("projected", "embedding"))
    positive(p, "temperature")
    at_least(p, 1, "context_length", most=70)
    at_least(p, 1, "deep_length", most=70)
    at_least(p, 0, "deep_blocks", most=1000)
    at_least(p, 0, "vv_from", most=depth)
    at_least(p, 0, "pixel_weight", "sigma", most=1000)
    if p.deep_blocks > 1 and p.deep_length > p.context_length:
        raise AdbenchError(
            f"method.deep_length={p.deep_length} is not possible with method.context_length={p.context_length}: the "
            "vectors inside the text tower take the place of learnable ones. Give as many at most."
        )
