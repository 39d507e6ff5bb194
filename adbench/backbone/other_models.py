"""What open_clip's other CLIPs are made of: their shapes without building them, the models, and weights that fit.

The image tower is one of timm or open_clip's own; the text tower is an object of its own, or one of Hugging Face's.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adbench.backbone import hf, siglip_names
from adbench.backbone.attention import with_one_product
from adbench.backbone.clip_configs import KEYS, Model, building, is_timm, no_folder
from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.outline import outlines
from adbench.backbone.tensors import read_safetensors, refuse_unfit
from adbench.backbone.timm_models import refuse_other_vits, renamed
from adbench.errors import AdbenchError

# What adbench reads of text_cfg and vision_cfg, and open_clip does not: some of `config.json`, known before its folder
# is there, and the arguments of the GELU of timm's model, such as {"approximate": "tanh"}.
OWN_TEXT, TRUNK_ACT = "hf_config", "trunk_act_kwargs"
NO_TOKENS = ("input_resolution", "context_length", "vocab_size")  # numbers that some files keep among the tensors


def architecture(model: Model, config: BackboneConfig, name: str, folder: Path | None) -> Architecture:
    """Return the shape of a model without building it; without its folder, as far as its file says.

    Raises AdbenchError where neither the folder nor `hf_config` says what the text tower is.
    """
    vision, text = model["vision_cfg"], model["text_cfg"]
    if "hf_model_name" in text:
        found = text.get("hf_config") if folder is None else hf.text_config(name, folder, text)
        if not found:
            raise no_folder(model, config, name)
        depth, width, from_words = hf.shape_of(found)
    else:
        depth, width, from_words = text.get("layers", 12), text.get("width", 512), True
    both = model["embed_dim"], depth, width, text.get("context_length", 77)
    if not is_timm(model):
        return Architecture(
            vision["layers"], vision.get("width", 768), vision.get("patch_size", 16), *both,
            default_levels=config.levels, projection=not vision.get("attentional_pool"), word_vectors=from_words,
        )  # fmt: skip
    tower = _image_outline(model["embed_dim"], json.dumps(_vision(vision), sort_keys=True), config.model, name)
    trunk = tower.trunk
    class_token = trunk.cls_token is not None
    # The pooled output is a linear map of a token, or of the tokens' mean: then patches have a place in it too.
    linear = trunk.global_pool in ("token", "avg") and set(dict(tower.head.named_children())) <= {"drop", "proj"}
    return Architecture(
        len(trunk.blocks), trunk.embed_dim, trunk.patch_embed.patch_size[0], *both, class_token=class_token,
        registers=trunk.num_prefix_tokens - class_token, default_levels=config.levels, projection=linear,
        word_vectors=from_words, whole_patches=True,
    )  # fmt: skip


def _vision(vision: Mapping[str, Any], size: int | None = None) -> dict[str, Any]:
    own = {"timm_model_pretrained": False} if vision.get("timm_model_name") else {}
    sized = {} if size is None else {"image_size": size}
    plain = {key: value for key, value in vision.items() if key != TRUNK_ACT}
    return {**plain, **own, **sized, "patch_dropout": 0.0}


@functools.cache
def _image_outline(embed_dim: int, vision: str, model_name: str, name: str) -> Any:
    from adbench.backbone.openclip import CustomTextCLIP

    with outlines(), building(model_name, name):
        tower = CustomTextCLIP(embed_dim, json.loads(vision), {"layers": 1, "width": 64, "heads": 1}).visual
    refuse_other_vits(tower.trunk, model_name, name)
    return tower


def new_model(model: Model, config: BackboneConfig, name: str, folder: Path | None, size: int | None = None) -> Any:
    """Return open_clip's model, untrained, for images of `size` pixels, by default of the size it is published for."""
    from timm.layers.mlp import Mlp

    from adbench.backbone.openclip import CustomTextCLIP

    given: dict[str, Any] = {key: model[key] for key in KEYS if key in model}
    given["vision_cfg"] = _vision(model["vision_cfg"], size)
    text = {key: value for key, value in model["text_cfg"].items() if key != OWN_TEXT}
    if "hf_model_name" in text:
        if folder is None:
            raise no_folder(model, config, name)
        hf.check_transformers_config(name, folder)
        text |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    with building(config.model, name):
        built = CustomTextCLIP(**(given | {"text_cfg": text}), quick_gelu=config.activation == "quick_gelu").float()
        if is_timm(model):
            refuse_other_vits(built.visual.trunk, config.model, name)
            for module in built.visual.trunk.modules():
                if TRUNK_ACT in model["vision_cfg"] and isinstance(module, Mlp):
                    module.act = nn.GELU(**model["vision_cfg"][TRUNK_ACT])
            side = given["vision_cfg"].get("image_size", 224)
            if built.visual.trunk.patch_embed.img_size != (side, side):
                built.visual.set_input_size(side)
    return built


def parameters(model: Model, config: BackboneConfig, name: str, folder: Path | None) -> int:
    """Return the number of parameters of both towers."""
    with outlines():
        return sum(p.numel() for p in new_model(model, config, name, folder).parameters())


def build_model(
    model: Model, config: BackboneConfig, name: str, folder: Path | None, size: int, path: Path | None
) -> Any:
    """Return open_clip's model, frozen and in eval mode, with the weights of a safetensors file, or random ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        built = new_model(model, config, name, folder, size)
    if path is not None:
        try:
            state, missing, extra = fitting(read_safetensors(path), built)
        except AdbenchError as error:
            raise AdbenchError(
                f"{path} does not hold weights of {config.model} (backbone {name!r}): {error}"
            ) from error
        refuse_unfit(str(path), config, name, state, missing, extra)
        built.load_state_dict(state)
    with_one_product(built)
    return built.eval().requires_grad_(False)


def fitting(state: Mapping[str, Tensor], model: Any) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Return weights in the names of a model of open_clip, and what of them does not fit: missing, and extra.

    Positions of the image tower are resampled to the model's grid. Numbers that old files keep among the tensors are
    left out: the positions' own numbers of Hugging Face's text towers, and OpenAI's.
    """
    from adbench.backbone.openclip import convert_to_custom_text_state_dict, resize_pos_embed

    if siglip_names.is_transformers(state):
        state = siglip_names.renamed(state)
    state = convert_to_custom_text_state_dict(dict(state))  # of files that keep a text tower next to the image's
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    left_out = ("embeddings.position_ids", *NO_TOKENS)
    found = {key: value for key, value in state.items() if key in wanted or not key.endswith(left_out)}
    trunk = "visual.trunk."
    if hasattr(model.visual, "trunk"):
        inside = {key.removeprefix(trunk): value for key, value in found.items() if key.startswith(trunk)}
        found = {key: value for key, value in found.items() if not key.startswith(trunk)}
        found |= {trunk + key: value for key, value in renamed(inside, model.visual.trunk).items()}
    else:
        resize_pos_embed(found, model)
    missing = {key: shape for key, shape in wanted.items() if key not in found or tuple(found[key].shape) != shape}
    extra = {key: tuple(value.shape) for key, value in found.items() if key not in wanted}
    return found, missing, extra
