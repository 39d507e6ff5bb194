"""The adapters of MVFA, and the tower whose residual stream they read and change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from adbench.backbone.clip import Architecture
from adbench.backbone.contract import Backbone
from adbench.blocks.precision import in_fp32, l2_normalize

KINDS = ("segmentation", "detection")
Streams = Mapping[int, Tensor]  # by block


class Adapter(nn.Module):
    """The bottleneck of one level: `down` gives the features to compare, `up` the update of the stream."""

    def __init__(self, width: int, embed_dim: int, activation: str, projector: bool) -> None:
        super().__init__()
        leaky = activation == "leaky_relu"
        act = nn.LeakyReLU(0.01) if leaky else nn.ReLU()
        self.down = nn.Sequential(nn.Linear(width, embed_dim, bias=False), act)
        if not projector:
            self.up = nn.Sequential(nn.Linear(embed_dim, width, bias=False), act if leaky else nn.Identity())


class Adapters(nn.ModuleDict):
    """An adapter for each kind and level.

    keep: the share of the stream that stays; both kinds together write the rest. projectors: nothing is written.
    """

    def __init__(
        self, shape: Architecture, levels: Sequence[int], activation: str, keep: float, projectors: bool
    ) -> None:
        super().__init__()
        self.levels, self.keep, self.projectors = tuple(levels), keep, projectors
        for kind in KINDS:
            self[kind] = nn.ModuleList(
                Adapter(shape.width, shape.embed_dim, activation, projectors) for _ in self.levels
            )

    def features(self, backbone: Backbone, streams: Streams, writers: Sequence[str]) -> dict[str, list[Tensor]]:
        """Run the tower from the first level on; return by kind, per level, unit features (B, 1 + patches, embed_dim).

        streams: after the first level, with `projectors` after each. writers: the kinds that write to the stream.
        """
        features: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
        x = streams[self.levels[0]].float()
        for i, level in enumerate(self.levels):
            if i and self.projectors:
                x = streams[level].float()
            elif i:
                x = backbone.run_blocks(x, self.levels[i - 1] + 1, level)
            bottleneck = {kind: in_fp32(self._at(kind, i).down, x) for kind in KINDS}
            for kind in KINDS:
                features[kind].append(l2_normalize(bottleneck[kind]))
            if not self.projectors and level != self.levels[-1]:
                share = (1 - self.keep) / 2
                x = (1 - share * len(writers)) * x
                for kind in writers:
                    x = x + share * in_fp32(self._at(kind, i).up, bottleneck[kind])
        return features

    def _at(self, kind: str, level: int) -> Adapter:
        adapter = self.get_submodule(f"{kind}.{level}")
        assert isinstance(adapter, Adapter)
        return adapter
