"""Bi-directional prompt association: both towers of a frozen CLIP prompt each other (a course paper, UMass).

The structure is SpLIP's (Singha et al., ECCV 2024). Trained: three maps, from image patches to words of the text
(`patches_to_text`), from words to tokens of the image (`text_to_patches`), and from the output of each text block to
tokens of the corresponding image block (`levels`); cross-entropy over the cosines to one sentence for each state.
Frozen: both towers. Image score: the softmax probability of the abnormal sentence for the class token. Map: the same
probability for each patch token. The paper reports no figures; for each point that it leaves open there is a
hyper-parameter (README.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from adbench.backbone.clip import Architecture
from adbench.blocks.losses import finite_sum
from adbench.blocks.maps import patch_map
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import Prompts
from adbench.blocks.rows import Rows, in_batches, names_of
from adbench.blocks.similarity import require_both_classes, state_logits
from adbench.blocks.validate import at_least, choices, positive, some_of
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

DIRECTIONS = ("patches_to_text", "text_to_patches", "levels")
SPEAKERS = {"both": [0, 1], "normal": [0], "abnormal": [1]}


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's or SpLIP's where they give them; README.md lists the others."""

    epochs: int = 10
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    frame: str = "a photo of a"  # words that take in the image and that become tokens of the image
    text_tokens: int = 0  # m: the image enters the first m tokens of the frame; 0: all
    prompts: Prompts = field(default_factory=lambda: Prompts(["normal {}"], ["anomalous {}"]))  # follow the frame
    directions: list[str] = field(default_factory=lambda: list(DIRECTIONS))
    level_tokens: int = 2  # n: tokens for each image block from its text block
    beside: str = "proportional"  # text block of image block l: ceil(l T / L); first: block l, or the last one
    pool: str = "attention"  # of many tokens into few: learned queries; mean: their plain mean
    width: int = 64  # of the attention
    speakers: str = "both"  # sentences whose text blocks give tokens to the image: both, normal or abnormal
    shared: bool = True  # one map of text blocks to image tokens; false: one for each image block
    shared_frame: bool = True  # the same tokens of the frame enter every image block; false: a map for each
    insert: str = "add"  # the image is added to its words before every text block; paper: it replaces them
    start: str = "words"  # at first the image changes no word; random: its map starts as torch's layers do
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

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend with one head to the tokens where `mask` (B, N) is true; `mean`: equal weights, the query is added."""
        tokens = self.norm(tokens)
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        key = torch.zeros_like(tokens[..., :1]) if self.rule == "mean" else self.key(tokens)
        query = torch.zeros_like(self.query[:, :1]) if self.rule == "mean" else self.query
        pooled = F.scaled_dot_product_attention(
            query.expand(len(tokens), -1, -1), key, self.value(tokens), attn_mask=mask[:, None]
        )
        out: Tensor = self.leave(pooled + self.query if self.rule == "mean" else pooled)
        return out


class Sentences(NamedTuple):
    """Both sentences about an object: the tokens that enter text block 1 (2, L, text width), and their ends (2,)."""

    stream: Tensor
    end: Tensor


class CrossModal(Method[Params]):
    """Trained maps between the towers; gradients pass through both frozen towers."""

    editable = ("prompts", "temperature")

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; only the patch embedding, before block 1, can be cached."""
        _check(params)
        return Capability(
            support="both",
            blocks=(0,),
            epochs=params.epochs,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=0.5,
            text=True,
            projection=True,
            word_vectors=True,
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
        """Keep the tokens that enter the first block."""
        require_both_classes(support.labels, "crossmodal")
        features = self.encode(support.images, "encoding the support")
        self.names, objects = support.objects()
        self.data = Rows(features.blocks[0], objects, support.labels).placed(self.device, self.features_gb)

    def train_dataloader(self) -> DataLoader[list[Tensor]]:
        """Shuffle the images each epoch."""
        return in_batches(self.data, self.params.batch_size, shuffle=True, generator=self.generator("shuffle"))

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """Cross-entropy of the class token's cosines with both sentences, over the temperature."""
        entering, objects, labels = batch
        vectors, text = self._associate(entering, names_of(self.names, objects))
        logits = state_logits(vectors[:, :1], text, self.params.temperature)[:, 0]
        return finite_sum(classification=F.cross_entropy(logits, labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at a constant rate over the maps."""
        p = self.params
        return torch.optim.AdamW(self.parameters(), p.learning_rate, weight_decay=p.weight_decay, fused=True)

    def score(self, batch: Batch) -> Scores:
        """Return the probability of the abnormal sentence, for the class token and for every patch."""
        vectors, text = self._associate(batch.features.blocks[0], batch.object_names)
        abnormal = state_logits(vectors, text, self.params.temperature).softmax(-1)[..., 1]
        return Scores(abnormal[:, 0], patch_map(abnormal[:, 1:], self.backbone.input_size))

    def adapted_features(self, batch: Batch) -> Tensor:
        """Return the embedding of the prompted class token."""
        return self._associate(batch.features.blocks[0], batch.object_names)[0][:, 0]

    @property
    def adapted_block(self) -> None:
        """Compare with CLIP's unprompted image embedding."""

    @cached_property
    def frame(self) -> Tensor:
        """The frame's word vectors (1, J - 1, text width), without positional embedding."""
        lead = self.backbone.lead
        return self.backbone.embed_tokens(self.backbone.tokenise([self.params.frame]))[:, lead : lead + self.framed]

    def _associate(self, entering: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Run the text tower, then the image tower, over tokens (B, 1 + patches, width) that enter the first block.

        Returns embeddings of class token and patches, (B, 1 + patches, embed_dim), and unit text vectors
        (B, 2, embed_dim), normal then abnormal.
        """
        p, depth = self.params, self.backbone.architecture.depth
        stream = entering.float()  # a residual stream in fp16 would lose small updates, or overflow
        text_tokens, mask, text = self._run_text(stream[:, 1:], names)
        for block in range(1, depth + 1):
            tokens = [stream]
            if "text_to_patches" in p.directions:
                to_patches = self.to_patches[0 if p.shared_frame else block - 1]
                tokens.append(to_patches(self.frame).expand(len(entering), -1, -1))
            if "levels" in p.directions:
                level = self.levels[0 if p.shared else block - 1]
                tokens.append(level(text_tokens[self._text_block(block) - 1], mask))
            stream = self.backbone.run_blocks(torch.cat(tokens, 1), block, block)[:, : entering.shape[1]]
        return self.backbone.project(stream), text

    def _run_text(self, patches: Tensor, names: Sequence[str]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the text tower, inserting the image's words before each block.

        Returns the output of each text block, (B, S L, text width), where the S sentences of `speakers` are
        concatenated; a mask (B, S L), false for padding; and unit text vectors (B, 2, embed_dim).
        """
        sentences = [self._sentences(name) for name in names]
        longest = max(pair.stream.shape[1] for pair in sentences)
        stream = torch.cat([F.pad(pair.stream, (0, 0, 0, longest - pair.stream.shape[1])) for pair in sentences])
        end = torch.cat([pair.end for pair in sentences])
        mask = torch.arange(longest, device=end.device) <= end[:, None]
        p, lead, speakers = self.params, self.backbone.lead, SPEAKERS[self.params.speakers]
        inserted = slice(lead, lead + self.words)
        words = None
        if "patches_to_text" in p.directions:
            words = self.to_text(patches).repeat_interleave(2, 0)
            if p.insert == "replace" and p.start == "words":
                words = words + stream[:, inserted]
        outputs = []
        for block in range(1, self.backbone.architecture.text_depth + 1):
            if words is not None:
                merged = words + stream[:, inserted] if p.insert == "add" else words
                stream = torch.cat([stream[:, :lead], merged, stream[:, inserted.stop :]], 1)
            stream = self.backbone.run_text_blocks(stream, block, block, end)
            outputs.append(stream.unflatten(0, (-1, 2))[:, speakers].flatten(1, 2))
        text = l2_normalize(self.backbone.read_text(stream, end)).unflatten(0, (-1, 2))
        return outputs, mask.unflatten(0, (-1, 2))[:, speakers].flatten(1, 2), text

    def _text_block(self, block: int) -> int:
        """Return the text block, counted from 1, whose output becomes tokens of an image block."""
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
    positive(p, "temperature")
    at_least(p, 1, "level_tokens", most=1024)
    at_least(p, 1, "width", most=65536)
    at_least(p, 0, "text_tokens", most=1024)
    for state, phrases in (("normal", p.prompts.normal), ("abnormal", p.prompts.abnormal)):
        if len(phrases) != 1:
            raise AdbenchError(
                f"method.prompts.{state} has {len(phrases)} phrases; crossmodal reads one sentence for each state."
            )
    if not p.frame.split():
        raise AdbenchError("method.frame is empty: the image needs words to stand in for, as in 'a photo of a'.")
