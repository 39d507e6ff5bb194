"""The pretrained CLIP that a method looks through: open_clip's native ViTs, in eval mode, frozen.

Every quirk of open_clip stays in this file and in weights.py. Blocks are numbered from 1: `block 6` is what leaves the
sixth block.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from adbench.backbone.weights import Architecture, BackboneConfig, architecture, model_config, model_hash, weights_file
from adbench.errors import AdbenchError, did_you_mean

__all__ = ["ACTIVATIONS", "STATISTICS", "Architecture", "Backbone", "Features"]

ACTIVATIONS = ("gelu", "quick_gelu")
STATISTICS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Features:
    """The outputs of the frozen backbone for B images.

    `blocks[i]` is the token stream after block i, (B, 1 + patches, width), CLS first, and `blocks[0]` what enters the
    first one; `pooled` the image embedding, (B, embed_dim), not normalised, or none.
    """

    blocks: dict[int, Tensor]
    pooled: Tensor | None = None

    def to(self, device: torch.device) -> Features:
        """Return the same features on another device."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Features({i: tokens.to(device) for i, tokens in self.blocks.items()}, pooled)


def unit_range(images: Tensor) -> Tensor:
    """Return images as floats in [0, 1]: uint8 are divided by 255, floats are taken as they are.

    >>> unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [0.0, 1.0]
    """
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point() or (images.numel() and float(images.max()) > 2):
        value = f"values up to {float(images.max()):g}" if images.numel() else "no values"
        raise AdbenchError(
            f"images of type {images.dtype} with {value} can't be encoded: give uint8 (0 to 255) or floats in [0, 1]."
        )
    return images


class Backbone:
    """A frozen CLIP, deliberately no torch Module: a method that holds one neither saves, moves nor trains it."""

    def __init__(
        self,
        name: str,
        config: BackboneConfig,
        input_size: int,
        activation: str = "native",
        normalisation: str = "native",
    ) -> None:
        self.name = name
        self.architecture = architecture(config, name)
        self.model_hash = model_hash(config, name)
        self.input_size = input_size
        self.activation = _choice("activation", activation, config.activation, ACTIVATIONS)
        self.normalisation = _choice("normalisation", normalisation, config.normalisation, tuple(STATISTICS))
        if input_size < self.architecture.patch:
            raise AdbenchError(
                f"input_size={input_size} is smaller than one patch of {self.architecture.patch} pixels."
            )
        self.grid = input_size // self.architecture.patch
        self.weights_path = weights_file(config, name)
        self.model = _build(name, config, input_size, self.activation, self.weights_path)
        self.tokenizer = _tokenizer(self.architecture.context)
        mean, std = STATISTICS[self.normalisation]
        self._mean, self._std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> Backbone:
        """Move the model and its statistics."""
        self.model, self.device = self.model.to(device), device
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Apply the mean and standard deviation to images in [0, 1]."""
        return (images - self._mean) / self._std

    def features(self, images: Tensor, blocks: Sequence[int], pooled: bool = False) -> Features:
        """Run (B, 3, H, W) images, uint8 or floats in [0, 1], through the image tower: the streams after `blocks`.

        Block 0 is the stream as it enters the first block: patches embedded, positions added, normed.
        """
        images = self.normalise(unit_range(images.to(self.device)))
        if not blocks:
            return Features({}, self.model.encode_image(images))
        entering: list[Tensor] = []
        hook = self.model.visual.ln_pre.register_forward_hook(lambda _module, _in, out: entering.append(out))
        later = sorted(set(blocks) - {0})
        out = self.model.visual.forward_intermediates(
            images, indices=[b - 1 for b in later or [1]], stop_early=not pooled, intermediates_only=not pooled,
            output_fmt="NLC", output_extra_tokens=True,
        )  # fmt: skip
        hook.remove()
        streams = zip(out["image_intermediates_prefix"], out["image_intermediates"], strict=True)
        by_block = dict(zip(later, (torch.cat(pair, dim=1) for pair in streams), strict=False))
        if 0 in blocks:
            by_block = {0: entering[0], **by_block}
        return Features(by_block, out.get("image_features"))

    def run_blocks(self, tokens: Tensor, first: int, last: int) -> Tensor:
        """Run a stream (B, 1 + patches, width), as it enters block `first`, onward through block `last`.

        The blocks are frozen but pass gradients on to the stream, for methods that write into it.
        """
        if not 1 <= first <= last <= self.architecture.depth:
            raise AdbenchError(
                f"blocks {first} to {last} of {self.name} can't be run: it has blocks 1 to {self.architecture.depth}."
            )
        for block in self.model.visual.transformer.resblocks[first - 1 : last]:
            tokens = block(tokens)
        return tokens

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the final norm of the image tower to last-block tokens (..., width)."""
        normed: Tensor = self.model.visual.ln_post(tokens)
        return normed

    def project(self, tokens: Tensor) -> Tensor:
        """Map last-block tokens (..., width) into the joint space (..., embed_dim): final norm, then projection."""
        return self.norm(tokens) @ self.model.visual.proj

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Return (N, context) token ids; a text that doesn't fit is an error, never cut."""
        context = self.architecture.context
        tokens = torch.zeros(len(texts), context, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = _token_ids(context, text)
            if len(ids) > context:
                raise AdbenchError(
                    f"the prompt {text!r} takes {len(ids)} tokens; {self.name} reads at most {context}. Shorten it."
                )
            tokens[row, : len(ids)] = torch.tensor(ids)
        return tokens.to(self.device)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Return (N, L, text width) word vectors, before positions are added."""
        return self.model.token_embedding(tokens)

    def encode_embedded(self, embedded: Tensor, end: Tensor, causal: bool) -> Tensor:
        """Run word vectors (N, L, text width) through the text tower; read it at positions `end` (N,).

        Returns (N, embed_dim), not normalised. Learnable-prompt methods run without the causal mask, in which case
        every one of the L positions matters, padding included.
        """
        model, length = self.model, embedded.shape[1]
        x = embedded + model.positional_embedding[:length].to(embedded.dtype)
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length] if causal else None)
        x = model.ln_final(x)
        return x[torch.arange(len(x), device=x.device), end] @ model.text_projection

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return (N, embed_dim) embeddings, not normalised, of fixed prompts with the causal mask.

        With that mask no later token reaches the end token, so the prompts are cut after it: exact.
        """
        tokens = self.tokenise(texts)
        end = tokens.argmax(dim=1)
        tokens = tokens[:, : int(end.max()) + 1]
        return self.encode_embedded(self.embed_tokens(tokens), end, causal=True)

    @torch.no_grad()
    def text_stream(self, texts: Sequence[str], last: int) -> tuple[Tensor, Tensor]:
        """Return the stream (N, L, text width) of fixed prompts after text block `last` (0: as it enters) and its ends.

        Under the causal mask; L is the longest prompt's length, which is exact, as in `encode_text`.
        """
        tokens = self.tokenise(texts)
        end = tokens.argmax(dim=1)
        tokens = tokens[:, : int(end.max()) + 1]
        x = self.embed_tokens(tokens) + self.model.positional_embedding[: tokens.shape[1]]
        return self.run_text_blocks(x, 1, last), end

    def run_text_blocks(self, stream: Tensor, first: int, last: int) -> Tensor:
        """Run a stream (N, L, text width), as it enters text block `first`, onward through `last`, causally masked.

        The blocks are frozen but pass gradients on to the stream; none is run where `last` is less than `first`.
        """
        mask = self.causal_mask(stream.shape[1])
        for block in self.model.transformer.resblocks[first - 1 : last]:
            stream = block(stream, attn_mask=mask)
        return stream

    def causal_mask(self, length: int) -> Tensor:
        """Return the text tower's mask (length, length): minus infinity where a token comes later."""
        mask: Tensor = self.model.attn_mask[:length, :length]
        return mask

    def read_text(self, stream: Tensor, end: Tensor) -> Tensor:
        """Map a stream (N, L, text width) after the last text block to (N, embed_dim), read at `end` (N,)."""
        x = self.model.ln_final(stream)
        return x[torch.arange(len(x), device=x.device), end] @ self.model.text_projection

    def parameters(self) -> int:
        """Return the number of parameters of both towers."""
        return sum(p.numel() for p in self.model.parameters())


def _choice(key: str, asked: str, native: str, allowed: Sequence[str]) -> str:
    chosen = native if asked == "native" else asked
    if chosen not in allowed:
        raise AdbenchError(f"{key}={chosen} is not possible: {did_you_mean(chosen, ['native', *allowed])}")
    return chosen


@functools.cache
def _tokenizer(context: int) -> Any:
    """Return CLIP's tokenizer; reading its vocabulary takes a tenth of a second."""
    from adbench.backbone.openclip import SimpleTokenizer

    return SimpleTokenizer(context_length=context)


@functools.lru_cache(maxsize=2**14)
def _token_ids(context: int, text: str) -> tuple[int, ...]:
    """Return the tokens of a text between those of start and end; the cells of a sweep embed the same prompts."""
    tokenizer = _tokenizer(context)
    return tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id


def _build(name: str, config: BackboneConfig, input_size: int, activation: str, path: Path | None) -> Any:
    from adbench.backbone.openclip import CLIP, QuickGELU, ResidualAttentionBlock

    model_kwargs = model_config(config, name)
    model_kwargs["vision_cfg"] = {**model_kwargs["vision_cfg"], "image_size": input_size, "patch_dropout": 0.0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = CLIP(**model_kwargs, quick_gelu=activation == "quick_gelu")
    if path is not None:
        _load(model, path, name, config)
    for module in model.modules():
        if isinstance(module, ResidualAttentionBlock):
            built = type(module.mlp.gelu)
            assert built is {"gelu": nn.GELU, "quick_gelu": QuickGELU}[activation], (
                f"{built.__name__} was built, {activation} was asked for"
            )
    return model.eval().requires_grad_(False)


def _load(model: nn.Module, path: Path, name: str, config: BackboneConfig) -> None:
    from adbench.backbone.openclip import resize_pos_embed

    try:
        state = {key: value.float() for key, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise AdbenchError(f"{path} is not a readable safetensors file: {error}.") from error
    resize_pos_embed(state, model)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    wrong = [key for key in sorted(wanted) if key not in state or state[key].shape != wanted[key]]
    wrong += sorted(set(state) - set(wanted))
    if wrong:
        key = wrong[0]
        has = tuple(state[key].shape) if key in state else "nothing"
        needs = tuple(wanted[key]) if key in wanted else "nothing"
        raise AdbenchError(
            f"{path} does not hold weights of {config.model} (backbone {name!r}): {len(wrong)} tensors differ, the "
            f"first is {key}: the file has {has}, the model needs {needs}. Choose the backbone "
            "that the weights belong to."
        )
    model.load_state_dict(state)
