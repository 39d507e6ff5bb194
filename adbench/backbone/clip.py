"""The pretrained CLIP that a method looks through: open_clip's native ViTs, in eval mode, frozen.

Every quirk of open_clip's models stays in this file and in weights.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adbench.backbone import halves
from adbench.backbone.attention import with_one_product
from adbench.backbone.clip_configs import building
from adbench.backbone.config import ACTIVATIONS, STATISTICS, Architecture, BackboneConfig
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.entering import entering
from adbench.backbone.outputs import Outputs
from adbench.backbone.tensors import read_safetensors, refuse_unfit
from adbench.backbone.vv import attend, vv_stream
from adbench.backbone.weights import model_config
from adbench.errors import AdbenchError
from adbench.system import pieces

PROMPTS = 24  # at most, of a piece of the text tower
SPLIT = 8  # prompts, from which on there are pieces; three prompts alone may go through another kernel
__all__ = ["ACTIVATIONS", "CLIP", "STATISTICS", "Architecture", "Backbone", "Features"]


class CLIP(Backbone):
    """An image tower with blocks and a text tower, in one joint space."""

    def build(self, config: BackboneConfig) -> None:
        """Build open_clip's model, and its tokenizer."""
        self.model = _build(self.name, config, self.input_size, self.activation, self.weights_path)
        self.tokenizer = clip_tokenizer(self.architecture.context)

    @classmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """GELU and its approximation of OpenAI's models."""
        return ACTIVATIONS

    def read(self, images: Tensor, wanted: Outputs) -> Features:
        """Read blocks, the V-V stream and the image embedding."""
        if not wanted.blocks and not wanted.vv:
            return Features({}, self.model.encode_image(images))
        blocks = wanted.streams
        later = sorted(blocks - {0})
        with entering(self.model.visual.ln_pre) as stream:
            out = self.model.visual.forward_intermediates(
                images, indices=[b - 1 for b in later or [1]], stop_early=not wanted.pooled,
                intermediates_only=not wanted.pooled, output_fmt="NLC", output_extra_tokens=True,
            )  # fmt: skip
        streams = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        by_block = dict(zip(later, (torch.cat(pair, dim=1) for pair in streams), strict=False))
        if 0 in blocks:
            by_block = {0: stream[0], **by_block}
        vv = vv_stream(by_block, wanted, self._attend_values)
        asked = {block: stream for block, stream in by_block.items() if block in wanted.blocks}
        return Features(asked, out.get("image_features"), vv=vv)

    def _attend_values(self, number: int, stream: Tensor) -> Tensor:
        block = self.model.visual.transformer.resblocks[number - 1]
        width = stream.shape[-1]
        weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
        values = nn.functional.linear(block.ln_1(stream), weight, bias)
        return block.ls_1(block.attn.out_proj(attend(values, block.attn.num_heads)))

    def run_blocks(self, tokens: Tensor, first: int, last: int) -> Tensor:
        """Run a stream (B, 1 + patches, width), as it enters block `first`, onward through block `last`.

        The blocks are frozen but pass gradients on to the stream, for methods that write into it.
        """
        self.check_run(first, last)
        for block in self.image_blocks[first - 1 : last]:
            tokens = halves.run(block, tokens) if halves.helps(block, tokens) else block(tokens)
        return tokens

    @property
    def image_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the image tower."""
        blocks: Sequence[nn.Module] = self.model.visual.transformer.resblocks
        return blocks

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The same blocks, for torch.compile."""
        return self.image_blocks

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the final norm of the image tower to last-block tokens (..., width)."""
        normed: Tensor = self.model.visual.ln_post(tokens)
        return normed

    def project(self, tokens: Tensor, final_norm: bool = True) -> Tensor:
        """Map last-block tokens (..., width) into the joint space (..., embed_dim): final norm, then projection."""
        return (self.norm(tokens) if final_norm else tokens) @ self.model.visual.proj

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Return (N, context) token ids; a text that doesn't fit is an error, never cut."""
        return clip_tokens(self.name, self.architecture.context, texts).to(self.device)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Return (N, L, text width) word vectors, before positions are added."""
        return self.model.token_embedding(tokens)

    def enter_text(self, embedded: Tensor) -> Tensor:
        """Return the stream (N, L, text width) of word vectors as it enters the first text block: positions added."""
        return embedded + self.model.positional_embedding[: embedded.shape[1]].to(embedded.dtype)

    def encode_embedded(self, embedded: Tensor, end: Tensor, causal: bool) -> Tensor:
        """Run word vectors (N, L, text width) through the text tower; read it at positions `end` (N,).

        Returns (N, embed_dim), not normalised. Learnable-prompt methods run without the causal mask, in which case
        every one of the L positions matters, padding included.
        """
        model, length = self.model, embedded.shape[1]
        mask = model.attn_mask[:length, :length] if causal else None

        def run(some: Tensor, ends: Tensor) -> Tensor:
            x, at = self.enter_text(some), torch.arange(len(some), device=some.device)
            *blocks, last = model.transformer.resblocks
            for block in blocks:
                x = block(x, attn_mask=mask)
            # Of the last block only what leaves at the end is read: one query attends to all positions.
            normed = last.ln_1(x)
            own = None if mask is None else mask[ends, None].repeat_interleave(last.attn.num_heads, 0)
            attended = last.attn(normed[at, ends, None], normed, normed, need_weights=False, attn_mask=own)[0]
            z = x[at, ends] + last.ls_1(attended[:, 0])
            z = z + last.ls_2(last.mlp(last.ln_2(z)))
            return model.ln_final(z) @ model.text_projection

        return run(embedded, end) if len(embedded) < SPLIT else pieces.rows(run, PROMPTS, embedded, end)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return (N, embed_dim) embeddings, not normalised, of fixed prompts with the causal mask.

        With that mask no later token reaches the end token, so the prompts are cut after it: exact.
        """
        tokens = self.tokenise(texts)
        end = self.ends(tokens)
        tokens = tokens[:, : int(end.max()) + 1]
        return self.encode_embedded(self.embed_tokens(tokens), end, causal=True)

    @torch.no_grad()
    def text_stream(self, texts: Sequence[str], last: int) -> tuple[Tensor, Tensor]:
        """Return the stream (N, L, text width) of fixed prompts after text block `last` (0: as it enters) and its ends.

        Under the causal mask; L is the longest prompt's length, which is exact, as in `encode_text`.
        """
        tokens = self.tokenise(texts)
        end = self.ends(tokens)
        tokens = tokens[:, : int(end.max()) + 1]
        x = self.embed_tokens(tokens) + self.model.positional_embedding[: tokens.shape[1]]
        return self.run_text_blocks(x, 1, last, end), end

    def ends(self, tokens: Tensor) -> Tensor:
        """Return the position (N,) of the end token, which has the highest id."""
        return tokens.argmax(dim=1)

    @property
    def text_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the text tower."""
        blocks: Sequence[nn.Module] = self.model.transformer.resblocks
        return blocks

    def run_text_block(self, block: nn.Module, stream: Tensor, end: Tensor) -> Tensor:
        """Run a stream (N, L, text width) through one text block, or a copy of it, under the causal mask."""
        length = stream.shape[1]
        ran: Tensor = block(stream, attn_mask=self.model.attn_mask[:length, :length])
        return ran

    def read_text(self, stream: Tensor, end: Tensor) -> Tensor:
        """Map a stream (N, L, text width) after the last text block to (N, embed_dim), read at `end` (N,)."""
        x = self.model.ln_final(stream)
        return x[torch.arange(len(x), device=x.device), end] @ self.model.text_projection


@functools.cache
def clip_tokenizer(context: int) -> Any:
    """Return CLIP's tokenizer; reading its vocabulary takes a tenth of a second."""
    from adbench.backbone.openclip import SimpleTokenizer

    return SimpleTokenizer(context_length=context)


def clip_tokens(name: str, context: int, texts: Sequence[str]) -> Tensor:
    """Return CLIP's token ids (N, context); a text that doesn't fit is an error, never cut."""
    tokens = torch.zeros(len(texts), context, dtype=torch.long)
    for row, text in enumerate(texts):
        ids = _token_ids(context, text)
        if len(ids) > context:
            raise AdbenchError(
                f"the prompt {text!r} takes {len(ids)} tokens; {name} reads at most {context}. Shorten it."
            )
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens


@functools.lru_cache(maxsize=2**14)
def _token_ids(context: int, text: str) -> tuple[int, ...]:
    """Return the tokens of a text between those of start and end; the cells of a sweep embed the same prompts."""
    tokenizer = clip_tokenizer(context)
    return tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id


def _build(name: str, config: BackboneConfig, input_size: int, activation: str, path: Path | None) -> Any:
    from adbench.backbone import openclip
    from adbench.backbone.openclip import QuickGELU, ResidualAttentionBlock

    model_kwargs = model_config(config, name)
    model_kwargs["vision_cfg"] = {**model_kwargs["vision_cfg"], "image_size": input_size, "patch_dropout": 0.0}
    with torch.random.fork_rng(devices=[]), building(config.model, name):
        torch.manual_seed(config.seed)
        model = openclip.CLIP(**model_kwargs, quick_gelu=activation == "quick_gelu")
    if path is not None:
        _load(model, path, name, config)
    for module in model.modules():
        if isinstance(module, ResidualAttentionBlock):
            built = type(module.mlp.gelu)
            assert built is {"gelu": nn.GELU, "quick_gelu": QuickGELU}[activation], (
                f"{built.__name__} was built, {activation} was asked for"
            )
    with_one_product(model)
    return model.eval().requires_grad_(False)


def _load(model: nn.Module, path: Path, name: str, config: BackboneConfig) -> None:
    from adbench.backbone.openclip import resize_pos_embed

    state = read_safetensors(path)
    resize_pos_embed(state, model)
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    missing = {key: shape for key, shape in wanted.items() if key not in state or tuple(state[key].shape) != shape}
    extra = {key: tuple(value.shape) for key, value in state.items() if key not in wanted}
    refuse_unfit(str(path), config, name, state, missing, extra)
    model.load_state_dict(state)
