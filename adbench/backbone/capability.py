"""What a method declares about itself, and whether a backbone has what it needs. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adbench.backbone.config import Architecture
from adbench.backbone.outputs import Outputs
from adbench.config.schema import OWN
from adbench.data.decode import Filter
from adbench.errors import AdbenchError, did_you_mean
from adbench.system.text import said_of


@dataclass(frozen=True)
class Fault:
    """What is wrong with a field of a Capability: its value, and what is needed or can be chosen instead.

    >>> str(Fault("blocks", (13,), "blocks 1 to 12 can each be named once"))
    'blocks=[13], where blocks 1 to 12 can each be named once'
    >>> Fault("normalisation", "clp", choices=("native", "clip")).remedy
    "did you mean 'clip'? Allowed: clip, native."
    """

    field: str
    value: object
    needed: str = ""
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = said_of(list(self.value) if isinstance(self.value, tuple) else self.value)
        if not self.field:
            return f"{shown} came back, where {self.needed}"
        among = f"which is none of {', '.join(self.choices)}" if self.choices else f"where {self.needed}"
        return f"{self.field}={shown}, {among}"

    @property
    def remedy(self) -> str:
        """What a user can set instead."""
        return did_you_mean(str(self.value), self.choices) if self.choices else f"{self.needed}."


class DeclarationError(AdbenchError):
    """A field of a Capability has a value that is possible on no backbone."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(f"{fault.field}={said_of(fault.value)} is not possible: {fault.remedy}")


@dataclass(frozen=True)
class Capability:
    """What a method declares about itself, from its parameters and the backbone's shape alone.

    support: the images it learns from: none, normal ones, or both classes.
    blocks, pooled, stages, registers: the outputs of the frozen backbone that it reads, which the harness computes
        once and caches: the token streams after blocks of a ViT, the image embedding, the maps of a CNN's stages, and
        the register tokens after blocks.
    vv, vv_from: the blocks after which it reads the V-V stream (AnomalyCLIP), and the block at which that starts.
    text: whether it encodes text.
    projection: whether it projects tokens of the image into the space of text, as a comparison of patches with text
        does.
    word_vectors: whether it runs word vectors through the text tower, as learnable prompts do.
    class_token: whether it expects the streams to begin with a class token; with False it finds the patches behind
        `architecture.prefix` tokens, and runs on backbones without a class token too.
    maps: whether it draws a map for each image.
    epochs: how many epochs Lightning runs; 0 is legal.
    stochastic: whether any random number touches its outcome; where none does, all seeds are one cell.
    normalisation, activation (`native`: as the weights were trained), resize, grey: how images reach the backbone.
    threshold: the method's own decision threshold on the image score, or none.
    transductive: scores depend on the other images that are scored, which `observe_test_images` sees first; a
        leaderboard shows such rows apart.
    own_backbone: whether it brings a network of its own, which `own_backbone()` describes. No backbone is built then,
        nothing is cached, images have the size that it says, and the cell runs in one process.
    least_support: with how few images of the support it can be fitted.
    gpu_share (0 to 1, of one GPU), memory_gb (of the machine): what a cell asks of a cluster.
    """

    support: Literal["none", "normal", "both"]
    blocks: tuple[int, ...] = ()
    pooled: bool = False
    maps: bool = True
    epochs: int = 0
    stochastic: bool = True
    normalisation: str = "native"
    activation: str = "native"
    resize: Filter = "bicubic"
    grey: bool = False
    threshold: float | None = None
    transductive: bool = False
    gpu_share: float = 1.0
    memory_gb: float | None = None
    text: bool = False
    stages: tuple[int, ...] = ()
    registers: tuple[int, ...] = ()
    vv: tuple[int, ...] = ()
    vv_from: int = 1
    class_token: bool = True
    projection: bool = False
    word_vectors: bool = False
    own_backbone: bool = False
    least_support: int = 1

    def __post_init__(self) -> None:
        if type(self.epochs) is not int or self.epochs < 0:
            raise DeclarationError(Fault("epochs", self.epochs, "a whole number of epochs, 0 or more, is needed"))
        if type(self.least_support) is not int or self.least_support < 1:
            raise DeclarationError(Fault("least_support", self.least_support, "1 image or more is needed"))
        if not 0 < self.gpu_share <= 1:
            raise DeclarationError(Fault("gpu_share", self.gpu_share, "a share of one GPU, as in 0.5, is needed"))
        if self.memory_gb is not None and not 0 < self.memory_gb < float("inf"):
            raise DeclarationError(Fault("memory_gb", self.memory_gb, "gigabytes above 0, or None, are needed"))

    @property
    def outputs(self) -> Outputs:
        """The outputs of the backbone that the method reads."""
        return Outputs(self.blocks, self.pooled, self.stages, self.registers, self.vv, self.vv_from)


def unmet(capability: Capability, shape: Architecture) -> str | None:
    """Return what a method needs that backbones of another kind have, such as "text"; None where it has all."""
    tokens = capability.blocks or capability.registers or capability.vv
    if shape.kind == OWN and not capability.own_backbone:
        return "a backbone"
    if capability.text and not shape.text_depth:
        return "a text tower"
    if capability.word_vectors and not (shape.text_depth and shape.word_vectors):
        return "a text tower that runs from word vectors"
    if capability.projection and not (shape.text_depth and shape.projection):
        return "a projection of patches into the space of text"
    if tokens and not shape.depth:
        return "the blocks of a ViT"
    if tokens and capability.class_token and not shape.class_token:
        return "a class token"
    if capability.registers and not shape.registers:
        return "register tokens"
    if capability.stages and not shape.stages:
        return "the stages of a CNN"
    return None
