"""What stands in place of a backbone where a method brings its own network: a device, a size and a weights file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.outputs import Outputs


class OwnBackbone(Backbone):
    """No network: nothing can be read. The method builds its own, from `weights_path` where that is a file."""

    def build(self, config: BackboneConfig) -> None:
        """Keep what describes the method's network."""
        self.config = config
        self.model = nn.Identity().eval()

    @classmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """The network's own alone."""
        return ("own",)

    def read(self, images: Tensor, wanted: Outputs) -> Features:
        """Return an empty embedding (B, 0)."""
        return Features({}, torch.empty(len(images), 0, device=images.device))
