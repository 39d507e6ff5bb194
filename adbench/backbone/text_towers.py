"""The text towers that open_clip's other CLIPs have: a transformer of its own, and those of Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adbench.backbone.hf import behind


class OwnTower:
    """open_clip's `TextTransformer`: SigLIP's attends both ways, to padding too, and reads the last position."""

    def __init__(self, text: Any) -> None:
        self.text = text

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks."""
        blocks: Sequence[nn.Module] = self.text.transformer.resblocks
        return blocks

    def ends(self, tokens: Tensor) -> Tensor:
        """Return the position (N,) at which the tower reads; the last one where all positions matter to it."""
        if self.text.pool_type == "argmax":
            return tokens.argmax(dim=1)
        if self.text.pool_type == "eos":
            return (tokens == self.text.eos_id).int().argmax(dim=1)
        return torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return word vectors (N, L, width)."""
        return self.text.token_embedding(tokens)

    def enter(self, embedded: Tensor) -> Tensor:
        """Return the stream that enters the first block: positions are added."""
        return embedded + self.text.positional_embedding[: embedded.shape[1]]

    def run(self, block: nn.Module, stream: Tensor, end: Tensor, masked: bool = True) -> Tensor:
        """Run a stream through a block; `masked`: causally, where the tower is."""
        length, mask = stream.shape[1], self.text.attn_mask
        return block(stream, attn_mask=mask[:length, :length] if masked and mask is not None else None)

    def read(self, stream: Tensor, end: Tensor) -> Tensor:
        """Return the embedding (N, embed_dim) of a stream after the last block."""
        stream = self.text.ln_final(stream)
        place = torch.zeros_like(end) if self.text.pool_type == "first" else end
        pooled, projection = stream[torch.arange(len(stream), device=end.device), place], self.text.text_projection
        if projection is None:
            return pooled
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection


class BertTower:
    """BERT and RoBERTa within open_clip's `HFTextEncoder`: they attend both ways, up to the end of the prompt."""

    def __init__(self, text: Any) -> None:
        self.text = text

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks."""
        blocks: Sequence[nn.Module] = self.text.transformer.encoder.layer
        return blocks

    def ends(self, tokens: Tensor) -> Tensor:
        """Return the position (N,) of the last token that is no padding."""
        return (tokens != self.text.config.pad_token_id).sum(1) - 1

    def embed(self, tokens: Tensor) -> Tensor:
        """Return word vectors (N, L, width)."""
        return self.text.transformer.embeddings.word_embeddings(tokens)

    def enter(self, embedded: Tensor) -> Tensor:
        """Return the stream that enters the first block: positions and types are added, and a norm is applied."""
        return self.text.transformer.embeddings(inputs_embeds=embedded)

    def run(self, block: nn.Module, stream: Tensor, end: Tensor, masked: bool = True) -> Tensor:
        """Run a stream through a block; what is behind `end` is never attended to."""
        ran = block(stream, behind(end, stream.shape[1]).to(stream.dtype))
        return ran[0] if isinstance(ran, tuple) else ran

    def read(self, stream: Tensor, end: Tensor) -> Tensor:
        """Return the embedding (N, embed_dim) of a stream after the last block, pooled as the model says."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        pooler = self.text.transformer.pooler
        out = BaseModelOutputWithPooling(stream, None if pooler is None else pooler(stream))
        mask = (torch.arange(stream.shape[1], device=end.device) <= end[:, None]).long()
        return self.text.proj(self.text.pooler(out, mask))
