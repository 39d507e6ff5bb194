"""Bi-directional prompt association: both towers of a frozen CLIP prompt each other (a course paper, UMass).

The structure is SpLIP's (Singha et al., ECCV 2024): the image's patches become words of the text (`patches_to_text`),
the text's words become tokens of the image (`text_to_patches`), and what each text block says becomes tokens of the
image block beside it (`levels`). Cross-entropy over the cosines to one sentence for each state trains the three maps.
The paper reports no figures for it; what it leaves open is a switch each (README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

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
from adbench.blocks.validate import at_least, choices, positive, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

DIRECTIONS = ("patches_to_text", "text_to_patches", "levels")
SPEAKERS = {"both": [0, 1], "normal": [0], "abnormal": [1]}


@dataclass
class Params:
    """Facets. What the paper or SpLIP's figure says is theirs, the rest ours; README.md tells which."""

    epochs: int = 10
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    frame: str = "a photo of a"  # the words where the image comes in, and that become tokens of the image
    text_tokens: int = 0  # m: the first m tokens of the frame are the image's; 0: all
    prompts: Prompts = field(default_factory=lambda: Prompts(["normal {}"], ["anomalous {}"]))  # behind the frame
    directions: list[str] = field(default_factory=lambda: list(DIRECTIONS))
    level_tokens: int = 2  # n: tokens that each image block gets from the text block beside it
    beside: str = "proportional"  # the text block of image block l: ceil(l T / L); first: block l, or the last one
    pool: str = "attention"  # how many tokens become few: learned queries; mean: their plain mean
    width: int = 64  # of the attention
    speakers: str = "both"  # whose text blocks speak to the image: both sentences, the normal or the abnormal one
    shared: bool = True  # one map of text blocks to image tokens; false: one for each image block
    shared_frame: bool = True  # the frame's image tokens are the same before every block; false: a map for each
    insert: str = "add"  # the image is added to what its words have become; paper: replace, in front of every block
    start: str = "words"  # at first the image changes none of its words; random: its map starts as torch's layers do
    temperature: float = 0.01
    activation: str = "native"
    normalisation: str = "native"


class Pool(nn.Module):
    """Attention pooling with `count` learned queries: (B, N, inward) -> (B, count, outward)."""

    def __init__(self, count: int, inward: int, outward: int, width: int, rule: str) -> None:
        super().__init__()
        self.rule = rule
        self.norm = nn.LayerNorm(inward)
        self.key = nn.Linear(inward, width)
        self.value = nn.Linear(inward, width)
        self.query = nn.Parameter(torch.randn(count, width))
        self.leave = nn.Linear(width, outward)

    def forward(self, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        """Attend with one head to the tokens that are `there` (B, N), or all; `mean`: all alike, plus the query."""
        tokens = self.norm(tokens)
        if there is None:
            there = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        key = torch.zeros_like(tokens[..., :1]) if self.rule == "mean" else self.key(tokens)
        query = torch.zeros_like(self.query[:, :1]) if self.rule == "mean" else self.query
        seen = F.scaled_dot_product_attention(
            query.expand(len(tokens), -1, -1), key, self.value(tokens), attn_mask=there[:, None]
        )
        found: Tensor = self.leave(seen + self.query if self.rule == "mean" else seen)
        return found


class Sentences(NamedTuple):
    """Both sentences about an object: what enters text block 1 (2, L, text width), and their end tokens (2,)."""

    stream: Tensor
    end: Tensor


class CrossModal(Method[Params]):
    """Three maps as a LightningModule; gradients pass through both frozen towers."""

    editable = ("prompts", "temperature")

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; nothing behind the patch embedding is the same in two steps."""
        _check(params)
        return Capability(
            support="both",
            blocks=(0,),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=0.5,
        )

    def build(self) -> None:
        """Create the maps of the chosen directions."""
        p, shape = self.params, self.backbone.architecture
        self.framed = len(self.backbone.tokenizer.encode(p.frame))  # J - 1
        self.words = p.text_tokens or self.framed  # m
        if self.words > self.framed:
            raise AdbenchError(
                f"method.text_tokens={p.text_tokens} is not possible: method.frame={p.frame!r} has {self.framed} "
                "tokens. Take fewer, or a longer frame."
            )
        if "patches_to_text" in p.directions:
            self.to_text = Pool(self.words, shape.width, shape.text_width, p.width, p.pool)
            if p.start == "words":
                nn.init.zeros_(self.to_text.leave.weight)
                nn.init.zeros_(self.to_text.leave.bias)
        if "text_to_patches" in p.directions:
            count = 1 if p.shared_frame else shape.depth
            self.to_patches = nn.ModuleList(nn.Linear(shape.text_width, shape.width) for _ in range(count))
        if "levels" in p.directions:
            count = 1 if p.shared else shape.depth
            self.levels = nn.ModuleList(
                Pool(p.level_tokens, shape.text_width, shape.width, p.width, p.pool) for _ in range(count)
            )
        self.sentences: dict[str, Sentences] = {}

    def prepare(self, support: Support) -> None:
        """Keep each image's stream as it enters the first block."""
        require_both_classes(support.labels, "crossmodal")
        features = self.encode(support.images, "encoding the support")
        self.names, objects = support.objects()
        self.data = TensorDataset(features.blocks[0], objects, support.labels)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Shuffle the images anew each epoch."""
        return DataLoader(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Cross-entropy of the class token's cosines with both sentences, over the temperature."""
        entering, objects, labels = batch
        vectors, text = self._associate(entering, [self.names[i] for i in objects.tolist()])
        logits = state_logits(vectors[:, :1], text, self.params.temperature)[:, 0]
        return finite(classification=F.cross_entropy(logits, labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at a constant rate over the maps."""
        p = self.params
        return torch.optim.AdamW(self.parameters(), p.learning_rate, weight_decay=p.weight_decay)

    def score(self, batch: Batch) -> Scores:
        """Return the probability of the abnormal sentence, for the class token and for every patch."""
        vectors, text = self._associate(batch.features.blocks[0], batch.object_names)
        abnormal = state_logits(vectors, text, self.params.temperature).softmax(-1)[..., 1]
        return Scores(abnormal[:, 0], patch_map(abnormal[:, 1:], self.backbone.input_size))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the prompted class token."""
        return self._associate(batch.features.blocks[0], batch.object_names)[0][:, 0]

    @property
    def adapted_block(self) -> None:
        """CLIP's image embedding: the class token that nobody prompted."""

    @cached_property
    def frame(self) -> Tensor:
        """The frame's word vectors (1, J - 1, text width), without their positions."""
        return self.backbone.embed_tokens(self.backbone.tokenise([self.params.frame]))[:, 1 : 1 + self.framed]

    def _associate(self, entering: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Run both towers over (B, 1 + patches, width): the text first, then the image beside it.

        Returns embeddings of class token and patches, (B, 1 + patches, embed_dim), and unit text vectors
        (B, 2, embed_dim), normal then abnormal.
        """
        p, depth = self.params, self.backbone.architecture.depth
        stream = entering.float()  # the sum of all blocks, in which fp16 would lose what they add, or overflow
        said, there, text = self._tell(stream[:, 1:], names)
        for block in range(1, depth + 1):
            tokens = [stream]
            if "text_to_patches" in p.directions:
                to_patches = self.to_patches[0 if p.shared_frame else block - 1]
                tokens.append(to_patches(self.frame).expand(len(entering), -1, -1))
            if "levels" in p.directions:
                level = self.levels[0 if p.shared else block - 1]
                tokens.append(level(said[self._beside(block) - 1], there))
            stream = self.backbone.run_blocks(torch.cat(tokens, 1), block, block)[:, : entering.shape[1]]
        return self.backbone.project(stream), text

    def _tell(self, patches: Tensor, names: Sequence[str]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the text tower, the image's words anew before each block.

        Returns what each text block says, (B, S L, text width) with the S speaking sentences side by side; which of
        these tokens are words, not filling, (B, S L); and unit text vectors (B, 2, embed_dim).
        """
        told = [self._sentences(name) for name in names]
        longest = max(one.stream.shape[1] for one in told)
        stream = torch.cat([F.pad(one.stream, (0, 0, 0, longest - one.stream.shape[1])) for one in told])
        end = torch.cat([one.end for one in told])
        there = torch.arange(longest, device=end.device) <= end[:, None]
        p, mine, speaking = self.params, slice(1, 1 + self.words), SPEAKERS[self.params.speakers]
        words = None
        if "patches_to_text" in p.directions:
            words = self.to_text(patches).repeat_interleave(2, 0)
            if p.insert == "replace" and p.start == "words":
                words = words + stream[:, mine]
        said = []
        for block in range(1, self.backbone.architecture.text_depth + 1):
            if words is not None:
                own = words + stream[:, mine] if p.insert == "add" else words
                stream = torch.cat([stream[:, :1], own, stream[:, 1 + self.words :]], 1)
            stream = self.backbone.run_text_blocks(stream, block, block)
            said.append(stream.unflatten(0, (-1, 2))[:, speaking].flatten(1, 2))
        text = l2_normalize(self.backbone.read_text(stream, end)).unflatten(0, (-1, 2))
        return said, there.unflatten(0, (-1, 2))[:, speaking].flatten(1, 2), text

    def _beside(self, block: int) -> int:
        """Return the text block, counted from 1, that speaks to an image block."""
        shape = self.backbone.architecture
        if self.params.beside == "first":
            return min(block, shape.text_depth)
        return -(-block * shape.text_depth // shape.depth)

    def _sentences(self, name: str) -> Sentences:
        if name not in self.sentences:
            (normal,), (abnormal,) = self.params.prompts.phrases(name)
            texts = [f"{self.params.frame} {phrase}" for phrase in (normal, abnormal)]
            self.sentences[name] = Sentences(*self.backbone.text_stream(texts, 0))
        return self.sentences[name]


def _check(p: Params) -> None:
    choices(
        p, beside=("proportional", "first"), pool=("attention", "mean"), speakers=tuple(SPEAKERS),
        insert=("add", "replace"), start=("words", "random"),
    )  # fmt: skip
    some_of(p, directions=DIRECTIONS)
    positive(p, "temperature", "level_tokens", "width")
    at_least(p, 0, "text_tokens")
    for state, phrases in (("normal", p.prompts.normal), ("abnormal", p.prompts.abnormal)):
        if len(phrases) != 1:
            raise AdbenchError(
                f"method.prompts.{state} has {len(phrases)} phrases; crossmodal reads one sentence for each state."
            )
    if not p.frame.split():
        raise AdbenchError("method.frame is empty: the image needs words to stand in for, as in 'a photo of a'.")
