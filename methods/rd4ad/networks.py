"""RD4AD's bottleneck and student: bottleneck blocks of a ResNet, downward and upward."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

INNER = 2  # channels that leave a residual block, over those inside of it; WideResNet-50-2's


class Level(NamedTuple):
    """A level of the teacher: `channels`, and pixels of the image from one position to the next."""

    channels: int
    stride: int


def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
    """Return a layer and a batch norm."""
    return [layer, nn.BatchNorm2d(channels)]


def spatial(enter: int, leave: int, stride: int, up: bool) -> nn.Module:
    """Return the layer that changes the grid: a 3 x 3 convolution, or upward a transposed one of side `stride`."""
    if up and stride > 1:
        return nn.ConvTranspose2d(enter, leave, stride, stride, bias=False)
    return nn.Conv2d(enter, leave, 3, stride, 1, bias=False)


class Residual(nn.Module):
    """A bottleneck block of a ResNet: 1 x 1, 3 x 3 and 1 x 1 convolutions, each with batch norm, and a shortcut.

    stride: of the middle convolution; `up`: it is a transposed one, of 2 x 2 for a stride of 2, as is the shortcut's.
    """

    def __init__(self, enter: int, leave: int, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        inner = max(1, leave // INNER)
        self.body = nn.Sequential(
            *normed(nn.Conv2d(enter, inner, 1, bias=False), inner), nn.ReLU(),
            *normed(spatial(inner, inner, stride, up), inner), nn.ReLU(),
            *normed(nn.Conv2d(inner, leave, 1, bias=False), leave),
        )  # fmt: skip
        wider = up and stride > 1
        through = spatial(enter, leave, stride, up) if wider else nn.Conv2d(enter, leave, 1, stride, bias=False)
        same = enter == leave and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*normed(through, leave))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, enter, h, w) to (B, leave, h', w')."""
        return torch.relu(self.body(x) + self.shortcut(x))


def stage(enter: int, leave: int, depth: int, stride: int, up: bool = False) -> nn.Sequential:
    """Return `depth` residual blocks, the first of which has the stride."""
    rest = (Residual(leave, leave) for _ in range(depth - 1))
    return nn.Sequential(Residual(enter, leave, stride, up), *rest)


class Bottleneck(nn.Module):
    """The one-class bottleneck: all levels on the coarsest one's grid, concatenated, and a stage on top of them.

    A level comes down by 3 x 3 convolutions of stride 2, each with batch norm and ReLU, which double its channels; the
    last one gives it the coarsest level's. mix: a 1 x 1 convolution with batch norm and ReLU behind the concatenation.
    """

    def __init__(self, levels: Sequence[Level], leave: int, depth: int, stride: int, mix: bool) -> None:
        super().__init__()
        self.down = nn.ModuleList(self._down(level, levels[-1]) for level in levels)
        together, coarsest = len(levels) * levels[-1].channels, levels[-1].channels
        mixing = [*normed(nn.Conv2d(together, coarsest, 1, bias=False), coarsest), nn.ReLU()] if mix else []
        self.mix = nn.Sequential(*mixing)
        self.embed = stage(coarsest if mix else together, leave, depth, stride)

    @staticmethod
    def _down(level: Level, coarsest: Level) -> nn.Sequential:
        steps = (coarsest.stride // level.stride).bit_length() - 1
        widths = [level.channels * 2**i for i in range(steps)] + [coarsest.channels]
        layers: list[nn.Module] = []
        for enter, leave in itertools.pairwise(widths):
            layers += [*normed(spatial(enter, leave, 2, up=False), leave), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map levels (B, C, h, w), finest first, to the embedding (B, leave, h', w')."""
        down = [layers(level) for layers, level in zip(self.down, levels, strict=True)]
        embedding: Tensor = self.embed(self.mix(torch.cat(down, dim=1)))
        return embedding


class Student(nn.Module):
    """The decoder: a stage for each level, coarsest first, which ends with the level's own channels and grid.

    linear: a 1 x 1 convolution makes the level of its stage, whose ReLU gives no value below zero.
    """

    def __init__(self, levels: Sequence[Level], enter: int, depths: Sequence[int], stride: int, linear: bool) -> None:
        super().__init__()
        above = [Level(enter, levels[-1].stride * stride), *reversed(levels)]
        self.up = nn.ModuleList(
            stage(upper.channels, level.channels, depth, upper.stride // level.stride, up=True)
            for (upper, level), depth in zip(itertools.pairwise(above), depths, strict=True)
        )
        ends = (nn.Conv2d(level.channels, level.channels, 1) if linear else nn.Identity() for level in above[1:])
        self.ends = nn.ModuleList(ends)

    def forward(self, embedding: Tensor, grids: Sequence[torch.Size]) -> list[Tensor]:
        """Map an embedding to levels (B, C, h, w), finest first; `grids` (h, w) are the teacher's, finest first.

        A grid of an odd side comes back one too large; its last row and column are dropped.
        """
        x, found = embedding, []
        for up, end, (h, w) in zip(self.up, self.ends, reversed(grids), strict=True):
            x = up(x)[..., :h, :w]
            found.append(end(x))
        return found[::-1]


def initialise(module: nn.Module) -> None:
    """He's normal initialisation of convolutions, by their outputs, as for ResNets; transposed ones keep torch's."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
