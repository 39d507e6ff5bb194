"""Fine-tuned CLIP: the last two blocks trained as a classifier (baseline of a course paper, UMass).

Trained: copies of the last blocks of the image tower, the text tower, or both, with the cross-entropy of the cosines to
one sentence for each state. Frozen: everything before these blocks, computed once. Image score: the softmax probability
of the abnormal sentence for the class token. Map: the same probability for each patch token.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.rows import Rows, in_batches
from adbench.blocks.similarity import require_both_classes, state_logits
from adbench.blocks.validate import positive, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

NORMAL = ["a photo of a normal {}"]
ABNORMAL = ["a photo of a anomalous {}"]


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's where it gives them; README.md has the rest."""

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
    """Trained copies of CLIP's last blocks over cached features."""

    editable = ("prompts",)

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes: a classifier trained on one class always predicts it."""
        _check(params, architecture)
        trained = params.last_blocks if "vision" in params.towers else 0
        return Capability(
            support="both",
            blocks=(architecture.depth - trained,),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=0.5,
            text=True,
            projection=True,
            word_vectors=True,
        )

    def build(self) -> None:
        """Copy the last blocks of the chosen towers."""
        p = self.params
        (self.block,) = self.blocks
        self.vision, self.words = nn.ModuleList(), nn.ModuleList()
        if "vision" in p.towers:
            self.vision = _trainable_copies(self.backbone.image_blocks, p.last_blocks)
        if "text" in p.towers:
            self.words = _trainable_copies(self.backbone.text_blocks, p.last_blocks)
        self.prefixes: dict[str, tuple[Tensor, Tensor]] = {}
        self.text: dict[str, Tensor] = {}

    def prepare(self, support: Support) -> None:
        """Keep the tokens that enter the first trained block."""
        require_both_classes(support.labels, "clip_finetune")
        features = self.encode(support.images, "encoding the support")
        self.names, objects = support.objects()
        self.data = Rows(features.blocks[self.block], objects, support.labels).placed(self.device, self.features_gb)

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Cross-entropy of the class token's cosines with both states' sentences, over the temperature."""
        tokens, objects, labels = batch
        text = torch.stack([self._embed_text(name) for name in self.names])[objects]
        logits = state_logits(self._embed(tokens, patches=False), text, self.params.temperature)[:, 0]
        return finite_sum(classification=F.cross_entropy(logits, labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at a constant rate over the copied blocks."""
        return torch.optim.Adam(self.parameters(), self.params.learning_rate, fused=True)

    def build_memory(self, support: Support) -> None:
        """Drop text embeddings that were computed with earlier weights."""
        self.text = {}

    def score(self, batch: Batch) -> Scores:
        """Return the softmax probability of the abnormal state, for the class token and for every patch."""
        text = torch.stack([self._cached_text(name) for name in batch.object_names])
        vectors = self._embed(batch.features.blocks[self.block], patches=True)
        abnormal = state_logits(vectors, text, self.params.temperature).softmax(-1)[..., 1]
        return Scores(abnormal[:, 0], patch_map(abnormal[:, 1:], self.backbone.input_size))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the embedding of the class token after the trained blocks."""
        return self._embed(batch.features.blocks[self.block], patches=False)[:, 0]

    @property
    def adapted_block(self) -> None:
        """Compare with CLIP's image embedding, which is the same before training."""

    def _embed(self, tokens: Tensor, patches: bool) -> Tensor:
        """Map tokens (B, 1 + N, width) to embeddings (B, 1 + N, embed_dim), or (B, 1, embed_dim) without `patches`."""
        tokens = tokens.float()
        for block in self.vision:
            tokens = block(tokens)
        return self.backbone.project(tokens if patches else tokens[:, :1])

    def _cached_text(self, name: str) -> Tensor:
        if name not in self.text:
            self.text[name] = self._embed_text(name)
        return self.text[name]

    def _embed_text(self, name: str) -> Tensor:
        """Return unit text vectors (2, embed_dim): per state the normalised mean of its normalised sentences."""
        normal, abnormal = self.params.prompts.phrases(name)
        if name not in self.prefixes:
            last = self.backbone.architecture.text_depth - len(self.words)
            self.prefixes[name] = self.backbone.text_stream([*normal, *abnormal], last)
        stream, end = self.prefixes[name]
        for block in self.words:
            stream = self.backbone.run_text_block(block, stream, end)
        sentences = l2_normalize(self.backbone.read_text(stream, end))
        states = sentences.split([len(normal), len(abnormal)])
        return torch.stack([l2_normalize(state.mean(0)) for state in states])


def _trainable_copies(blocks: Sequence[nn.Module], count: int) -> nn.ModuleList:
    return nn.ModuleList(copy.deepcopy(block).requires_grad_(True).train() for block in list(blocks)[-count:])


def _check(p: Params, shape: Architecture) -> None:
    some_of(p, towers=("vision", "text"))
    positive(p, "temperature")
    # At least one image block stays frozen: the cache holds its output. The text tower may be trained as a whole.
    # Of a backbone without these towers nothing is said here: a run refuses it.
    depths = {"vision": shape.depth - 1, "text": shape.text_depth}
    most = min(depths[tower] for tower in p.towers)
    if shape.depth and shape.text_depth and not 1 <= p.last_blocks <= most:
        raise AdbenchError(f"method.last_blocks={p.last_blocks} is not possible: 1 to {most} blocks can be trained.")
