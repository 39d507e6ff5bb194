"""Which outputs of a backbone a method reads, and which images can enter one. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adbench.backbone.config import Architecture
from adbench.errors import AdbenchError

POOLED = "pooled"


@dataclass(frozen=True)
class Outputs:
    """Which outputs of a backbone are read; see `Features` for what they are.

    vv_from: the block at which the V-V stream starts.

    >>> Outputs((12,), pooled=True, vv=(24,), vv_from=6).parts
    ('12', 'vv6-24', 'pooled')
    """

    blocks: tuple[int, ...] = ()
    pooled: bool = False
    stages: tuple[int, ...] = ()
    registers: tuple[int, ...] = ()
    vv: tuple[int, ...] = ()
    vv_from: int = 1

    @property
    def parts(self) -> tuple[str, ...]:
        """The names under which the outputs of an image are kept; where nothing is read, its pooled output."""
        names = [str(block) for block in sorted(self.blocks)]
        names += [f"stage{stage}" for stage in sorted(self.stages)]
        names += [f"registers{block}" for block in sorted(self.registers)]
        names += [f"vv{self.vv_from}-{block}" for block in sorted(self.vv)]
        return (*names, *([POOLED] if self.pooled or not names else []))

    @property
    def streams(self) -> set[int]:
        """The blocks of which the stream is read, those of register tokens and of the V-V stream with them."""
        through = range(self.vv_from - 1, max(self.vv)) if self.vv else ()
        return {*self.blocks, *self.registers, *through}

    def only(self, parts: Sequence[str]) -> Outputs:
        """Return the outputs that some of the parts need."""

        def among(kind: str, numbers: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(sorted(n for n in numbers if f"{kind}{n}" in parts))

        return Outputs(
            among("", self.blocks), POOLED in parts, among("stage", self.stages), among("registers", self.registers),
            among(f"vv{self.vv_from}-", self.vv), self.vv_from,
        )  # fmt: skip


def check_size(name: str, shape: Architecture, size: int, key: str) -> None:
    """Raise AdbenchError where square images of `size` pixels can't enter a backbone; `key` is what the user set."""
    if size < shape.patch:
        raise AdbenchError(f"{key}={size} is smaller than one patch of {name}: at least {shape.patch} pixels.")
    if (shape.kind == "vit" or shape.whole_patches) and size % shape.patch:
        below = size // shape.patch * shape.patch
        raise AdbenchError(
            f"{key}={size} is not possible for {name}: its patches of {shape.patch} pixels don't fill the image. Use "
            f"{key}={below} or {below + shape.patch}."
        )
    least = max((stage.stride for stage in shape.stages), default=1)
    if size < least:
        raise AdbenchError(f"{key}={size} is smaller than one position of {name}'s last stage: at least {least}.")
