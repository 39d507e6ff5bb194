"""Building a backbone of any kind; the modules of the kinds are imported where they are needed."""

from __future__ import annotations

from adbench.backbone import other_models
from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import clip_config
from adbench.config.schema import OWN


def build(
    name: str, config: BackboneConfig, input_size: int, activation: str = "native", normalisation: str = "native"
) -> Backbone:
    """Build a frozen backbone for square images of `input_size` pixels; raises AdbenchError for what can't be built.

    activation, normalisation: `native` is as the weights were trained.
    """
    if config.kind == OWN:
        from adbench.backbone.own import OwnBackbone as Kind
    elif config.kind == "clip":
        model = clip_config(config, name)
        if other_models.is_native(model):
            from adbench.backbone.clip import CLIP as Kind  # type: ignore[assignment]
        elif other_models.is_timm(model):
            from adbench.backbone.other_clips import TimmCLIP as Kind  # type: ignore[assignment]
        else:
            from adbench.backbone.other_clips import OwnImageCLIP as Kind
    elif config.kind == "vit":
        from adbench.backbone.vit import ViT as Kind  # type: ignore[assignment]
    else:
        from adbench.backbone.cnn import CNN as Kind  # type: ignore[assignment]
    return Kind(name, config, input_size, activation, normalisation)
