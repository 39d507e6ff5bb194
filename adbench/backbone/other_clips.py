"""open_clip's other CLIPs as backbones: SigLIP 2, MedSigLIP and BiomedCLIP are among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adbench.backbone import clip_configs, hf, other_models
from adbench.backbone.clip import CLIP, clip_tokenizer, clip_tokens
from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.backbone.text_towers import BertTower, OwnTower
from adbench.backbone.vit import ViT
from adbench.backbone.weights import clip_config, text_folder
from adbench.errors import AdbenchError


class OtherText(Backbone):
    """A text tower that is an object of its own, with CLIP's tokenizer or one of Hugging Face's."""

    def build(self, config: BackboneConfig) -> None:
        """Build open_clip's model, and its tokenizer or that of the folder `text`."""
        name, input_size = self.name, self.input_size
        described, folder = clip_config(config, name), text_folder(config, name)
        self.words: hf.Words | None = None
        if folder is not None:
            self.words = hf.Words(name, folder, described["text_cfg"])
        elif clip_configs.needs_folder(described):
            raise clip_configs.no_folder(described, config, name)
        self.tokenizer: Any = clip_tokenizer(self.architecture.context) if self.words is None else self.words
        self.lead = 1 if self.words is None else self.words.lead
        self.model = other_models.build_model(described, config, name, folder, input_size, self.weights_path)
        own = "hf_model_name" not in described["text_cfg"]
        self._tower = OwnTower(self.model.text) if own else BertTower(self.model.text)

    @classmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """The one of its weights alone."""
        return (config.activation,)

    @property
    def tower(self) -> OwnTower | BertTower:
        """The text tower, where it can be run from word vectors."""
        if not self.architecture.word_vectors:
            self._without("text tower that runs from word vectors")
        return self._tower

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Return (N, context) token ids; a text that doesn't fit is an error, never cut."""
        context = self.architecture.context
        if self.words is None:
            return clip_tokens(self.name, context, texts).to(self.device)
        for text in texts:
            if (length := self.words.length(text)) > context:
                raise AdbenchError(
                    f"the prompt {text!r} takes {length} tokens; {self.name} reads at most {context}. Shorten it."
                )
        tokens = self.words.ids(texts)
        if tokens.numel() and int(tokens.max()) >= self.model.vocab_size:
            raise AdbenchError(
                f"the tokenizer of {self.name} has {int(tokens.max()) + 1} tokens or more, and its text tower "
                f"{self.model.vocab_size}: backbone.text= is the folder of another model."
            )
        return tokens.to(self.device)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Return (N, L, text width) word vectors, before positions are added."""
        return self.tower.embed(tokens)

    def enter_text(self, embedded: Tensor) -> Tensor:
        """Return the stream (N, L, text width) of word vectors as it enters the first text block: positions added."""
        return self.tower.enter(embedded)

    def encode_embedded(self, embedded: Tensor, end: Tensor, causal: bool) -> Tensor:
        """Run word vectors (N, L, text width) through the text tower; `end` (N,) are the prompts' ends.

        Returns (N, embed_dim), not normalised. causal: under the tower's causal mask, where it has one.
        """
        stream = self.enter_text(embedded)
        for block in self.tower.blocks:
            stream = self.tower.run(block, stream, end, causal)
        return self.tower.read(stream, end)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return (N, embed_dim) embeddings, not normalised, of fixed prompts: open_clip's own forward."""
        embeddings: Tensor = self.model.encode_text(self.tokenise(texts))
        return embeddings

    @torch.no_grad()
    def text_stream(self, texts: Sequence[str], last: int) -> tuple[Tensor, Tensor]:
        """Return the stream (N, L, text width) of fixed prompts after text block `last` (0: as it enters) and its ends.

        L is the longest prompt's length, or the whole context of a tower to which its padding matters.
        """
        tokens = self.tokenise(texts)
        end = self.ends(tokens)
        stream = self.tower.enter(self.embed_tokens(tokens[:, : int(end.max()) + 1]))
        return self.run_text_blocks(stream, 1, last, end), end

    def ends(self, tokens: Tensor) -> Tensor:
        """Return the position (N,) at which each row of token ids (N, L) ends."""
        return self.tower.ends(tokens)

    @property
    def text_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the text tower."""
        return self.tower.blocks

    def run_text_block(self, block: nn.Module, stream: Tensor, end: Tensor) -> Tensor:
        """Run a stream (N, L, text width) through one text block, or a copy of it, under the tower's own mask."""
        return self.tower.run(block, stream, end)

    def read_text(self, stream: Tensor, end: Tensor) -> Tensor:
        """Map a stream (N, L, text width) after the last text block to (N, embed_dim)."""
        return self.tower.read(stream, end)

    def _linear(self) -> None:
        if not self.architecture.projection:
            self._without("projection of patches into the space of text: its pooling is not linear")


class TimmCLIP(OtherText, ViT):
    """An image tower of timm: SigLIP 2, MedSigLIP, BiomedCLIP."""

    @property
    def trunk(self) -> Any:
        """The model of timm."""
        return self.model.visual.trunk

    def pooled(self, last: Tensor) -> Tensor:
        """Return the image embedding (B, embed_dim) of what leaves timm's last norm."""
        embedding: Tensor = self.model.visual.head(self.trunk.forward_head(last))
        return embedding

    def project(self, tokens: Tensor, final_norm: bool = True) -> Tensor:
        """Map last-block tokens (..., width) into the joint space (..., embed_dim): final norm, then projection."""
        self._linear()
        embeddings: Tensor = self.model.visual.head(self.trunk.head(self.norm(tokens) if final_norm else tokens))
        return embeddings


class OwnImageCLIP(OtherText, CLIP):
    """open_clip's own image tower with another text tower."""

    def project(self, tokens: Tensor, final_norm: bool = True) -> Tensor:
        """Map last-block tokens (..., width) into the joint space (..., embed_dim): final norm, then projection."""
        self._linear()
        return CLIP.project(self, tokens, final_norm)
