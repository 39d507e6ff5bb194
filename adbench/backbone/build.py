"""Building a backbone of any kind; the modules of the kinds are imported where they are needed."""

from __future__ import annotations

from adbench.backbone import clip_configs
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
    return _kind(name, config)(name, config, input_size, activation, normalisation)


def _kind(name: str, config: BackboneConfig) -> type[Backbone]:
    if config.kind == OWN:
        from adbench.backbone.own import OwnBackbone

        return OwnBackbone
    if config.kind == "vit":
        from adbench.backbone.vit import ViT

        return ViT
    if config.kind == "cnn":
        from adbench.backbone.cnn import CNN

        return CNN
    model = clip_config(config, name)
    if clip_configs.is_native(model):
        from adbench.backbone.clip import CLIP

        return CLIP
    from adbench.backbone.other_clips import OwnImageCLIP, TimmCLIP

    return TimmCLIP if clip_configs.is_timm(model) else OwnImageCLIP
