"""timm's CNNs as backbones: the maps of their stages, as PatchCore, PaDiM and UniAD read them. Images only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.outputs import Outputs
from adbench.backbone.timm_models import build_model


class CNN(Backbone):
    """A timm CNN, in eval mode: batch norms use the statistics of their training."""

    def build(self, config: BackboneConfig) -> None:
        """Build timm's model."""
        self.model = build_model(config, self.name, self.input_size, self.weights_path)

    @classmethod
    def activations(cls, config: BackboneConfig) -> Sequence[str]:
        """The model's own alone."""
        return ("own",)

    def read(self, images: Tensor, wanted: Outputs) -> Features:
        """Read stages and the pooled embedding."""
        asked = sorted(wanted.stages)
        if not asked:
            return Features({}, self.model.forward_head(self.model.forward_features(images), pre_logits=True))
        numbers = [stage.number for stage in self.architecture.stages]
        out = self.model.forward_intermediates(
            images, indices=[numbers.index(number) for number in asked], stop_early=not wanted.pooled,
            intermediates_only=not wanted.pooled,
        )  # fmt: skip
        last, maps = out if wanted.pooled else (None, out)
        pooled = self.model.forward_head(last, pre_logits=True) if wanted.pooled else None
        return Features({}, pooled, dict(zip(asked, maps, strict=True)))
