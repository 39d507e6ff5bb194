"""Weights of SigLIP in the names of Hugging Face's transformers, as MedSigLIP's are, in open_clip's and timm's."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# From the start of a name; `N` is a block's number less 1.
SAME = {
    "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_model.final_layer_norm.": "text.ln_final.",
    "text_model.head.": "text.text_projection.",
    "vision_model.embeddings.patch_embedding.": "visual.trunk.patch_embed.proj.",
    "vision_model.embeddings.position_embedding.weight": "visual.trunk.pos_embed",
    "vision_model.post_layernorm.": "visual.trunk.norm.",
    "vision_model.head.probe": "visual.trunk.attn_pool.latent",
    "vision_model.head.attention.out_proj.": "visual.trunk.attn_pool.proj.",
    "vision_model.head.layernorm.": "visual.trunk.attn_pool.norm.",
    "vision_model.head.mlp.": "visual.trunk.attn_pool.mlp.",
}
IN_TEXT = {
    "layer_norm1.": "ln_1.", "layer_norm2.": "ln_2.", "self_attn.out_proj.": "attn.out_proj.", "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
}  # fmt: skip
IN_VISION = {"layer_norm1.": "norm1.", "layer_norm2.": "norm2.", "self_attn.out_proj.": "attn.proj.", "mlp.": "mlp."}
LAYER = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)")


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Whether weights bear the names of transformers' SigLIP."""
    return "vision_model.head.probe" in state


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of transformers' SigLIP in the names and layouts of open_clip's; other names stay."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith(".embeddings.position_ids"):
            continue
        layer = LAYER.fullmatch(name)
        if layer:
            text, number, inner = layer[1] == "text", layer[2], layer[3]
            if inner.startswith(("self_attn.k_proj.", "self_attn.v_proj.")):
                continue  # with the queries
            prefix = f"text.transformer.resblocks.{number}." if text else f"visual.trunk.blocks.{number}."
            if inner.startswith("self_attn.q_proj."):
                kind = inner.rpartition(".")[2]
                joint = torch.cat([state[name.replace(".q_proj.", f".{one}_proj.")] for one in "qkv"])
                found[prefix + (f"attn.in_proj_{kind}" if text else f"attn.qkv.{kind}")] = joint
                continue
            found[prefix + _by_start(inner, IN_TEXT if text else IN_VISION)] = value
        elif name.startswith("vision_model.head.attention.in_proj_"):
            kind, width = name.rpartition("_")[2], value.shape[0] // 3
            found[f"visual.trunk.attn_pool.q.{kind}"] = value[:width]
            found[f"visual.trunk.attn_pool.kv.{kind}"] = value[width:]
        else:
            found[_by_start(name, SAME)] = value
    found["visual.trunk.pos_embed"] = found["visual.trunk.pos_embed"][None]
    return found | {name: found[name].reshape(()) for name in ("logit_scale", "logit_bias") if name in found}


def _by_start(name: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
