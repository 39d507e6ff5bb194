"""CLIP with its last two blocks fine-tuned: a course paper's baseline (UMass, "fine-tuned CLIP").

Everything in front of these blocks is frozen and computed once. The blocks themselves are copied into the method and
trained with a cross-entropy over the cosines to one sentence for each state, at CLIP's own temperature. The backbone
stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from adbench.backbone.clip import Architecture
from adbench.blocks.losses import finite
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.similarity import require_both_classes, state_logits
from adbench.blocks.validate import positive, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

NORMAL = ["a photo of a normal {}"]
ABNORMAL = ["a photo of a anomalous {}"]


@dataclass
class Params:
    """Facets. The defaults are the paper's where it speaks; README.md has the rest."""

    epochs: int = 10
    batch_size: int = 8
    learning_rate: float = 1e-5
    last_blocks: int = 2
    towers: list[str] = field(default_factory=lambda: ["vision"])  # whose last blocks are trained: vision, text
    temperature: float = 0.01
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), list(ABNORMAL)))
    activation: str = "native"
    normalisation: str = "native"


class CLIPFineTuned(Method[Params]):
    """The last blocks as a LightningModule; what enters them comes from the cache."""

    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes: a classifier shown one class learns to say it always."""
        _check(params, architecture)
        trained = params.last_blocks if "vision" in params.towers else 0
        return Capability(
            support="both",
            blocks=(architecture.depth - trained,),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=0.5,
        )

    def build(self) -> None:
        """Copy the last blocks of the chosen towers."""
        p = self.params
        (self.block,) = self.blocks
        self.vision, self.words = nn.ModuleList(), nn.ModuleList()
        if "vision" in p.towers:
            self.vision = _copied(self.backbone.model.visual.transformer.resblocks, p.last_blocks)
        if "text" in p.towers:
            self.words = _copied(self.backbone.model.transformer.resblocks, p.last_blocks)
        self.prefixes: dict[str, tuple[Tensor, Tensor]] = {}
        self.text: dict[str, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Keep each image's stream as it enters the first trained block."""
        require_both_classes(support.labels, "clip_finetune")
        features = self.encode(support.images, "encoding the support")
        self.names, objects = support.objects()
        self.data = TensorDataset(features.blocks[self.block], objects, support.labels)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffle the images anew each epoch."""
        return DataLoader(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Cross-entropy of the class token's cosines with both states' sentences, over the temperature."""
        stream, objects, labels = batch
        text = torch.stack([self._text_of(name) for name in self.names])[objects]
        logits = state_logits(self._embed(stream, patches=False), text, self.params.temperature)[:, 0]
        return finite(classification=F.cross_entropy(logits, labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over the copied blocks."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate)

    def build_memory(self, support: Support) -> None:
        """Forget text vectors of earlier weights."""
        self.text = {}

    def score(self, batch: Batch) -> Scores:
        """Return the softmax probability of the abnormal state, for the class token and for every patch."""
        text = torch.stack([self._kept_text(name) for name in batch.object_names])
        vectors = self._embed(batch.features.blocks[self.block], patches=True)
        abnormal = state_logits(vectors, text, self.params.temperature).softmax(-1)[..., 1]
        return Scores(abnormal[:, 0], patch_map(abnormal[:, 1:], self.backbone.input_size))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the class token behind the trained blocks."""
        return self._embed(batch.features.blocks[self.block], patches=False)[:, 0]

    @property
    def adapted_block(self) -> None:
        """CLIP's image embedding, which the untrained blocks give."""

    def _embed(self, stream: Tensor, patches: bool) -> Tensor:
        """Run (B, 1 + N, width) through the trained blocks into the joint space: class token, and patches if asked."""
        tokens = stream.float()
        for block in self.vision:
            tokens = block(tokens)
        return self.backbone.project(tokens if patches else tokens[:, :1])

    def _kept_text(self, name: str) -> Tensor:
        if name not in self.text:
            self.text[name] = self._text_of(name)
        return self.text[name]

    def _text_of(self, name: str) -> Tensor:
        """Return (2, D) unit text vectors of an object: per state the normalised mean of its unit sentences."""
        normal, abnormal = self.params.prompts.phrases(name)
        if name not in self.prefixes:
            last = self.backbone.architecture.text_depth - len(self.words)
            self.prefixes[name] = self.backbone.text_stream([*normal, *abnormal], last)
        stream, end = self.prefixes[name]
        mask = self.backbone.causal_mask(stream.shape[1])
        for block in self.words:
            stream = block(stream, attn_mask=mask)
        found = l2_normalize(self.backbone.read_text(stream, end))
        states = found.split([len(normal), len(abnormal)])
        return torch.stack([l2_normalize(state.mean(0)) for state in states])


def _copied(blocks: Sequence[nn.Module], count: int) -> nn.ModuleList:
    return nn.ModuleList(copy.deepcopy(block).requires_grad_(True).train() for block in list(blocks)[-count:])


def _check(p: Params, shape: Architecture) -> None:
    some_of(p, towers=("vision", "text"))
    positive(p, "temperature")
    # One frozen block at least, whose stream the cache holds; the text tower may be trained as a whole.
    depths = {"vision": shape.depth - 1, "text": shape.text_depth}
    most = min(depths[tower] for tower in p.towers)
    if not 1 <= p.last_blocks <= most:
        raise AdbenchError(f"method.last_blocks={p.last_blocks} is not possible: 1 to {most} blocks can be trained.")
