"""What a backbone's YAML says, and the shape of what comes out of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adbench.config import ranges
from adbench.config.schema import OWN
from adbench.errors import AdbenchError, did_you_mean

KINDS = ("clip", "vit", "cnn")
ACTIVATIONS = ("gelu", "quick_gelu")
STATISTICS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(unsafe_hash=True)
class BackboneConfig:
    """The keys of configs/backbone/*.yaml.

    `kind`: `clip`, an image and a text tower of open_clip; `vit` or `cnn`, an image tower of timm. `model`: the name
    that open_clip or timm gives the model, or of a CLIP a JSON file next to the YAML; `args`: of timm's models,
    arguments of its constructor. `weights`: a tag of open_clip or timm, `hf-hub:OWNER/NAME/FILE.safetensors`, a
    safetensors file, or `random` (initialised from `seed`).

    `activation` and `normalisation` are those that the weights were trained with: of a CLIP `gelu` or `quick_gelu`, of
    timm's models always `own`; a name of `STATISTICS`, or `own` with `mean` and `std` of three numbers in [0, 1].

    `text`: of a CLIP whose text tower or tokenizer is one of Hugging Face's, the folder of its `config.json` and of the
    tokenizer's files, next to the YAML or anywhere.

    `levels`: the blocks at which methods read where they say nothing (`Architecture.levels`); empty: any. A
    `stand_in` has only ever seen drawings: its figures are compared with no published ones, and every board says so.
    `licence` is that of the weights.

    Of the network that a method brings (`Method.own_backbone`) `kind` is `own`, and `weights` may also be `none`: it
    is trained from scratch. No YAML says so.
    """

    title: str
    model: str
    weights: str
    input_size: int
    activation: str = "own"
    normalisation: str = "own"
    seed: int = 0
    stand_in: bool = False
    kind: str = "clip"
    args: dict[str, Any] = field(default_factory=dict, hash=False)
    levels: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    licence: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        """Raise AdbenchError for a value that is not possible."""
        ranges.check(self, ranges.OF_BACKBONE, "backbone")
        self.levels, self.mean, self.std = tuple(self.levels), tuple(self.mean), tuple(self.std)
        if self.kind not in (*KINDS, OWN):
            raise _unknown("kind", self.kind, KINDS)
        if self.normalisation not in (allowed := ("own", *STATISTICS)):
            raise _unknown("normalisation", self.normalisation, allowed)
        three = len(self.mean) == len(self.std) == 3
        three = three and all(0 <= m <= 1 for m in self.mean) and all(0 < s <= 1 for s in self.std)
        if (self.normalisation == "own") != bool(self.mean or self.std) or ((self.mean or self.std) and not three):
            raise AdbenchError(
                f"backbone.normalisation={self.normalisation} with mean={list(self.mean)}, std={list(self.std)} is not "
                "possible: `own` needs a mean from 0 to 1 and a standard deviation above 0, at most 1, for each of "
                "three channels, and a named one has neither."
            )
        if self.kind == "clip" and self.activation == "own":
            raise AdbenchError("backbone.activation is missing: a CLIP was trained with `gelu` or `quick_gelu`.")
        if self.kind == "clip" and self.activation not in ACTIVATIONS:
            raise _unknown("activation", self.activation, ACTIVATIONS)
        if self.kind != "clip" and self.activation != "own":
            raise AdbenchError(
                f"backbone.activation={self.activation} is not possible: a {self.kind} of timm's has its own."
            )
        if self.text and self.kind != "clip":
            raise AdbenchError(f"backbone.text={self.text} is for kind: clip; {self.kind} reads images alone.")
        if self.args and self.kind == "clip":
            raise AdbenchError("backbone.args= is for kind: vit and cnn; a CLIP of other sizes is a JSON file, model=.")

    def facts(self) -> dict[str, Any]:
        """Return what enters a cell's key besides name, weights, model, activation and normalisation.

        Empty for a CLIP without levels of its own.
        """
        facts: dict[str, Any] = {} if self.kind == "clip" else {"kind": self.kind}
        return facts | ({"backbone_levels": list(self.levels)} if self.levels else {})


def _unknown(key: str, value: str, allowed: Sequence[str]) -> AdbenchError:
    return AdbenchError(f"backbone.{key}={value} is not possible: {did_you_mean(value, allowed)}")


NOTHING = BackboneConfig("no network", "none", "none", 224, normalisation="none", kind=OWN)  # of which nothing is read


class Stage(NamedTuple):
    """One level of a CNN's pyramid. Stage s halves the image s + 1 times: of a ResNet, stage 1 is `layer1`, 0 the stem.

    channels: C of its map (B, C, h, w). stride: pixels of the image from one position to the next.
    """

    number: int
    channels: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """The shape of a backbone: sizes in tokens, channels and blocks.

    A CNN has `stages` and neither blocks nor patches: depth, width and patch are 0. Without a text tower, text_depth,
    text_width and context are 0, and embed_dim is the length of the pooled output.

    class_token: whether the stream of a block begins with one. registers: how many further tokens the model has, which
    are left out of the stream. default_levels: the blocks of which `levels` chooses; empty: all.

    projection: whether the image tower's last layer is linear, so that it maps patches into the space of text too.
    word_vectors: whether word vectors of one's own can be run through the text tower. whole_patches: whether its image
    has to be a multiple of a patch.
    """

    depth: int
    width: int
    patch: int
    embed_dim: int
    text_depth: int = 0
    text_width: int = 0
    context: int = 0
    kind: str = "clip"
    class_token: bool = True
    registers: int = 0
    stages: tuple[Stage, ...] = ()
    default_levels: tuple[int, ...] = ()
    projection: bool = True
    word_vectors: bool = True
    whole_patches: bool = False

    def __post_init__(self) -> None:
        """Raise AdbenchError for default levels that the backbone doesn't have."""
        levels = list(self.default_levels)
        if levels != sorted(set(levels)) or not all(1 <= level <= self.depth for level in levels):
            raise AdbenchError(
                f"backbone.levels={levels} is not possible: "
                + (
                    f"give rising block numbers from 1 to {self.depth}."
                    if self.depth
                    else "the backbone has no blocks."
                )
            )

    @property
    def prefix(self) -> int:
        """How many tokens stand before the patches in the stream of a block: 1, the class token, or 0."""
        return int(self.class_token)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of its blocks, 0 for what enters the first, or of its stages."""
        return tuple(range(self.depth + 1)) if self.depth else tuple(stage.number for stage in self.stages)

    @property
    def named(self) -> str:
        """What `numbers` are, in words: "blocks from 0 to 12"."""
        return f"{'blocks' if self.depth else 'stages'} from {self.numbers[0]} to {self.numbers[-1]}"

    def levels(self, n: int = 4) -> tuple[int, ...]:
        """Return the blocks at 1/n, 2/n, ..., n/n of the depth: 6, 12, 18, 24 for ViT-L.

        Where the backbone's YAML names its levels, they are chosen from those in the same way: of 9, 10, 11, 12 all
        for n = 4, and the last for n = 1; of fewer than n each once. Of a backbone without blocks it is 0: a run
        refuses a method that reads it.
        """
        among = self.default_levels or range(1, self.depth + 1) or (0,)
        places = (max(round(len(among) * (i + 1) / n) - 1, 0) for i in range(n))
        return tuple(dict.fromkeys(among[place] for place in places))

    def checked_levels(self, levels: Sequence[int]) -> tuple[int, ...]:
        """Return a method's `levels`; anything but rising block numbers from 1 to the depth is an error.

        Of a backbone without blocks they are returned as they are: a run refuses a method that reads them.
        """
        if not self.depth:
            return tuple(levels)
        if list(levels) != sorted(set(levels)) or not all(1 <= level <= self.depth for level in levels):
            raise AdbenchError(
                f"method.levels={list(levels)} is not possible: give rising block numbers from 1 to {self.depth}."
            )
        return tuple(levels)

    def stage(self, number: int) -> Stage:
        """Return the stage of a number; one that the backbone doesn't have is an error."""
        for stage in self.stages:
            if stage.number == number:
                return stage
        have = ", ".join(str(stage.number) for stage in self.stages) or "none"
        raise AdbenchError(f"stage {number} is not possible: the backbone has {have}.")
