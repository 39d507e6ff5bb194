"""What adbench uses of open_clip, imported without what it takes along if it can: wandb, transformers and timm."""

from __future__ import annotations

import importlib
from typing import Any

from adbench.backbone.outline import outlines
from adbench.system.absent import without

with without("wandb", "transformers", "timm"):
    from open_clip import CLIP, CustomTextCLIP, get_model_config, hf_model, list_models, timm_model
    from open_clip.hf_configs import arch_dict
    from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.timm_model import TimmModel
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock


_new_timm_model = TimmModel.__init__


def _with_timm(self: TimmModel, *args: Any, **options: Any) -> None:
    if timm_model.timm is None:
        importlib.reload(timm_model)  # its classes look timm up in their module
    _new_timm_model(self, *args, **options)


TimmModel.__init__ = _with_timm  # whoever builds one; timm takes half a second to import


def outline(model: dict[str, Any]) -> CLIP:
    """Return a CLIP of open_clip's configuration without memory for its weights."""
    with outlines():
        return CLIP(**model)


def with_transformers() -> None:
    """Let open_clip's text encoders find transformers, which has to be installed."""
    if hf_model.transformers is None:
        importlib.reload(hf_model)  # its classes look transformers up in their module


__all__ = [
    "CLIP", "CustomTextCLIP", "HFTokenizer", "QuickGELU", "ResidualAttentionBlock", "SimpleTokenizer", "TimmModel",
    "arch_dict", "convert_to_custom_text_state_dict",
    "get_model_config", "get_pretrained_cfg", "hf_model", "list_models", "list_pretrained_tags_by_model",
    "outline", "resize_pos_embed", "with_transformers",
]  # fmt: skip
