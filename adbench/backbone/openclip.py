"""What adbench uses of open_clip, imported without wandb: timm, which comes with it, takes that along where it can."""

from __future__ import annotations

import sys
from typing import Any

from adbench.backbone.outline import outlines

_absent = "wandb" not in sys.modules
if _absent:
    sys.modules["wandb"] = None  # type: ignore[assignment]  # its import fails, which timm expects
try:
    from open_clip import CLIP, get_model_config, list_models
    from open_clip.model import resize_pos_embed
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock
finally:
    if _absent:
        del sys.modules["wandb"]


def outline(model: dict[str, Any]) -> CLIP:
    """Return a CLIP of open_clip's configuration without memory for its weights."""
    with outlines():
        return CLIP(**model)


__all__ = [
    "CLIP", "QuickGELU", "ResidualAttentionBlock", "SimpleTokenizer", "get_model_config",
    "get_pretrained_cfg", "list_models", "list_pretrained_tags_by_model", "outline", "resize_pos_embed",
]  # fmt: skip
