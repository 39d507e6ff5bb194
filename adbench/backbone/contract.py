"""What every backbone offers, of whatever kind: frozen outputs of images, at blocks or stages, and perhaps text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from adbench.backbone.config import STATISTICS, Architecture, BackboneConfig
from adbench.backbone.outputs import POOLED, Outputs, check_size
from adbench.backbone.weights import architecture, model_hash, weights_file
from adbench.errors import AdbenchError, did_you_mean


@dataclass(frozen=True)
class Features:
    """The outputs of the frozen backbone for B images.

    blocks: the token stream after each block, (B, 1 + patches, width), class token first, or (B, patches, width) of a
        backbone without one; `blocks[0]` is what enters the first block. No final norm: `Backbone.norm` applies it.
    pooled: the image embedding, (B, embed_dim), not normalised, or none.
    stages: the maps of a CNN's stages, (B, channels, h, w).
    registers: the register tokens after each block, (B, registers, width).
    vv: the V-V stream after each block, shaped as `blocks`; see `Capability`.
    """

    blocks: dict[int, Tensor]
    pooled: Tensor | None = None
    stages: dict[int, Tensor] = field(default_factory=dict)
    registers: dict[int, Tensor] = field(default_factory=dict)
    vv: dict[int, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Features:
        """Return the same features on another device."""

        def moved(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {number: tensor.to(device) for number, tensor in tensors.items()}

        pooled = None if self.pooled is None else self.pooled.to(device)
        return Features(moved(self.blocks), pooled, moved(self.stages), moved(self.registers), moved(self.vv))

    @classmethod
    def of(cls, parts: Mapping[str, Tensor], outputs: Outputs) -> Features:
        """Return the features that `tensors` takes apart; `outputs` are all that `parts` holds."""

        def by_number(kind: str, numbers: Sequence[int]) -> dict[int, Tensor]:
            return {number: parts[f"{kind}{number}"] for number in sorted(numbers)}

        return cls(
            by_number("", outputs.blocks), parts.get(POOLED), by_number("stage", outputs.stages),
            by_number("registers", outputs.registers), by_number(f"vv{outputs.vv_from}-", outputs.vv),
        )  # fmt: skip

    def tensors(self, vv_from: int = 1) -> Iterator[tuple[str, Tensor]]:
        """Yield each output with the name of its part (`Outputs.parts`)."""
        for kind, tensors in (
            ("", self.blocks), ("stage", self.stages), ("registers", self.registers), (f"vv{vv_from}-", self.vv),
        ):  # fmt: skip
            yield from ((f"{kind}{number}", tensor) for number, tensor in tensors.items())
        if self.pooled is not None:
            yield POOLED, self.pooled


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


class Backbone(ABC):
    """A frozen network, deliberately no torch Module: a method that holds one neither saves, moves nor trains it.

    Blocks are numbered from 1: `block 6` is what leaves the sixth block. A backbone without a text tower refuses the
    functions that read text, and one without blocks those that read tokens; `architecture` says what it has, and
    `Capability` what a method needs, so that a run is refused before anything is built.
    """

    model: Any
    tokenizer: Any  # `encode(text)` returns the ids of its words alone
    kernels: Mapping[str, bool] = MappingProxyType({})  # `RunConfig.kernels`, where it is on a GPU
    lead = 1  # how many tokens stand before a prompt's words

    def __init__(
        self,
        name: str,
        config: BackboneConfig,
        input_size: int,
        activation: str = "native",
        normalisation: str = "native",
    ) -> None:
        self.name = name
        self.architecture: Architecture = architecture(config, name)
        self.model_hash = model_hash(config, name)
        self.input_size = input_size
        self.activation = _choice("activation", activation, config.activation, self.activations(config))
        self.normalisation = _choice("normalisation", normalisation, config.normalisation, tuple(STATISTICS))
        check_size(name, self.architecture, input_size, "input_size")
        self.grid = input_size // self.architecture.patch if self.architecture.patch else 0
        self.weights_path: Path | None = weights_file(config, name)
        own = config.mean, config.std
        mean, std = own if self.normalisation == "own" else STATISTICS[self.normalisation]
        self._mean, self._std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        self.device = torch.device("cpu")
        self.build(config)

    @abstractmethod
    def build(self, config: BackboneConfig) -> None:
        """Build `model`, frozen and in eval mode, and where it reads text `tokenizer`; all else is set already."""

    @classmethod
    @abstractmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """Return the activations that can be asked for."""

    def to(self, device: torch.device) -> Backbone:
        """Move the model and its statistics."""
        self.model, self.device = self.model.to(device), device
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Apply the mean and standard deviation to images in [0, 1]."""
        return (images - self._mean) / self._std

    def prepared(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W), uint8 or floats in [0, 1], as they enter the model."""
        return self.normalise(unit_range(images.to(self.device)))

    def features(
        self, images: Tensor, blocks: Sequence[int], pooled: bool = False, *, stages: Sequence[int] = (),
        registers: Sequence[int] = (), vv: Sequence[int] = (), vv_from: int = 1,
    ) -> Features:  # fmt: skip
        """Run (B, 3, H, W) images, uint8 or floats in [0, 1], through the image tower: the outputs that are named.

        Where none is, the pooled one. Block 0 is the stream as it enters the first block.
        """
        wanted = Outputs(tuple(blocks), pooled, tuple(stages), tuple(registers), tuple(vv), vv_from)
        self._refuse_what_is_not_there(wanted)
        return self.read(self.prepared(images), wanted)

    @abstractmethod
    def read(self, images: Tensor, wanted: Outputs) -> Features:
        """Run images as they enter the model; `wanted` was checked to be there."""

    def _refuse_what_is_not_there(self, wanted: Outputs) -> None:
        shape = self.architecture
        there = {stage.number for stage in shape.stages}
        for kind, asked, possible in (
            ("block", {*wanted.blocks, *wanted.registers, *wanted.vv}, range(shape.depth + bool(shape.depth))),
            ("stage", set(wanted.stages), there),
        ):
            for number in sorted(asked - set(possible)):
                has = f"{min(possible)} to {max(possible)}" if possible else "none"
                raise AdbenchError(f"{kind} {number} of {self.name} can't be read: it has {kind}s {has}.")
        if wanted.registers and not shape.registers:
            raise AdbenchError(f"{self.name} has no register tokens.")
        if wanted.vv and not 1 <= wanted.vv_from <= min(wanted.vv):
            raise AdbenchError(f"a V-V stream from block {wanted.vv_from} has no block {min(wanted.vv)}.")

    def fits(self, part: str, shape: tuple[int, ...]) -> bool:
        """Whether the output of one image, kept under the name `part`, can have a shape."""
        own = self.architecture
        if part == POOLED:
            return shape == (own.embed_dim,)
        if part.startswith("stage"):
            stage = own.stage(int(part.removeprefix("stage")))
            near = all(abs(side * stage.stride - self.input_size) < stage.stride for side in shape[1:])
            return len(shape) == 3 and shape[0] == stage.channels and near
        if part.startswith("registers"):
            return shape == (own.registers, own.width)
        return shape == (own.prefix + self.grid**2, own.width)

    def run_blocks(self, tokens: Tensor, first: int, last: int) -> Tensor:
        """Run a stream (B, 1 + patches, width), as it enters block `first`, onward through block `last`.

        The blocks are frozen but pass gradients on to the stream, for methods that write into it.
        """
        self._without("blocks that a stream can be run through from outside")

    def check_run(self, first: int, last: int) -> None:
        """Raise AdbenchError for blocks that a stream can't be run through."""
        if not 1 <= first <= last <= self.architecture.depth:
            raise AdbenchError(
                f"blocks {first} to {last} of {self.name} can't be run: it has blocks 1 to {self.architecture.depth}."
            )

    def norm(self, tokens: Tensor) -> Tensor:
        """Apply the final norm of the image tower to last-block tokens (..., width)."""
        self._without("final norm of tokens")

    def project(self, tokens: Tensor, final_norm: bool = True) -> Tensor:
        """Map last-block tokens (..., width) into the joint space (..., embed_dim): final norm, then projection.

        Without `final_norm` the projection alone, as AnomalyCLIP maps the class token.
        """
        self._without("joint space with text")

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Return (N, context) token ids; a text that doesn't fit is an error, never cut."""
        self._without("text tower")

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Return (N, L, text width) word vectors, before positions are added."""
        self._without("text tower")

    def enter_text(self, embedded: Tensor) -> Tensor:
        """Return the stream (N, L, text width) of word vectors as it enters the first text block: positions added."""
        self._without("text tower")

    def encode_embedded(self, embedded: Tensor, end: Tensor, causal: bool) -> Tensor:
        """Run word vectors (N, L, text width) through the text tower; `end` (N,) are the prompts' ends.

        Returns (N, embed_dim), not normalised. Learnable-prompt methods run without the causal mask, in which case
        every one of the L positions matters to a CLIP, padding included.
        """
        self._without("text tower")

    def ends(self, tokens: Tensor) -> Tensor:
        """Return the position (N,) at which each row of token ids (N, L) ends."""
        self._without("text tower")

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return (N, embed_dim) embeddings, not normalised, of fixed prompts."""
        self._without("text tower")

    def text_stream(self, texts: Sequence[str], last: int) -> tuple[Tensor, Tensor]:
        """Return the stream (N, L, text width) of fixed prompts after text block `last` (0: as it enters) and its ends.

        Under the tower's own mask; where that is causal, L is the longest prompt's length, as in `encode_text`.
        """
        self._without("text tower")

    def run_text_blocks(self, stream: Tensor, first: int, last: int, end: Tensor) -> Tensor:
        """Run a stream (N, L, text width), as it enters text block `first`, onward through `last`.

        Under the tower's own mask, for prompts that end at `end` (N,). The blocks are frozen but pass gradients on to
        the stream; none is run where `last` is less than `first`.
        """
        for block in self.text_blocks[first - 1 : last]:
            stream = self.run_text_block(block, stream, end)
        return stream

    def run_text_block(self, block: nn.Module, stream: Tensor, end: Tensor) -> Tensor:
        """Run a stream (N, L, text width) through one text block, or a copy of it, under the tower's own mask."""
        self._without("text tower")

    @property
    def text_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the text tower, for methods that train copies of them."""
        self._without("text tower")

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks of the image tower, for torch.compile; empty where there are none that are alike."""
        return ()

    @property
    def image_blocks(self) -> Sequence[nn.Module]:
        """The blocks of the image tower, each a function of a stream, for methods that train copies of them."""
        self._without("blocks that a stream can be run through from outside")

    def read_text(self, stream: Tensor, end: Tensor) -> Tensor:
        """Map a stream (N, L, text width) after the last text block to (N, embed_dim), of prompts that end at `end`."""
        self._without("text tower")

    def parameters(self) -> int:
        """Return the number of parameters of all towers."""
        return sum(p.numel() for p in self.model.parameters())

    def _without(self, what: str) -> NoReturn:
        raise AdbenchError(f"the backbone {self.name} (kind {self.architecture.kind}) has no {what}.")


def _choice(key: str, asked: str, native: str, allowed: Sequence[str]) -> str:
    chosen = native if asked == "native" else asked
    if chosen not in allowed and not (chosen == native == "own" and key == "normalisation"):
        raise AdbenchError(f"{key}={chosen} is not possible: {did_you_mean(chosen, ['native', *allowed])}")
    return chosen
