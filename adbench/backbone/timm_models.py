"""What adbench uses of timm: its models by name, their shapes without building them, and their weights on the hub.

timm takes a second to import, so it is imported where it is needed only.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.backbone.config import Architecture, BackboneConfig, Stage
from adbench.backbone.outline import outlines
from adbench.backbone.tensors import read_safetensors, refuse_unfit
from adbench.errors import AdbenchError
from adbench.system.text import said

MOST_BLOCKS = 200
OWN = ("features_only", "num_classes", "out_indices", "pretrained_filter_fn", "pretrained_strict")  # not for a YAML


def new_model(config: BackboneConfig, name: str, size: int | None = None) -> Any:
    """Return timm's model of a backbone, untrained and without classifier, a ViT for images of `size` pixels.

    Raises AdbenchError for a name that timm doesn't know, arguments that the model doesn't take, and a model whose
    outputs can't be read one by one.
    """
    import timm

    own = [key for key in config.args if key in inspect.signature(timm.create_model).parameters or key in OWN]
    if own:
        raise AdbenchError(
            f"backbone.args={{{own[0]}: …}} is not possible: args are those of the model's constructor, such as depth."
        )
    empty = [key for key, value in config.args.items() if value is None or not key.isidentifier()]
    if empty:  # timm would leave it out without a word
        raise AdbenchError(f"backbone.args has {empty[0]!r} without a value: write {{depth: 3}}, with a space.")
    if "in_chans" in config.args:
        raise AdbenchError("backbone.args={in_chans: …} is not possible: images have three channels.")
    if config.args.get("depth", 1) not in range(1, MOST_BLOCKS + 1):
        raise AdbenchError(
            f"backbone.args={{depth: {config.args['depth']}}} is not possible: 1 to {MOST_BLOCKS} blocks."
        )
    kwargs: dict[str, Any] = {"num_classes": 0} | config.args
    if config.kind == "vit" and size is not None:
        kwargs["img_size"] = size
    if not timm.is_model(config.model):
        raise AdbenchError(f"timm has no model {config.model!r}: {_nearest(config.model, timm.list_models())}")
    try:
        model = timm.create_model(config.model, pretrained=False, **kwargs)
    except Exception as error:  # of any constructor of timm's, for any arguments
        raise AdbenchError(
            f"backbone {name!r}: timm can't build {config.model} with {kwargs}: {said(error)}."
        ) from error
    _refuse_others(model, config, name)
    return model


def _nearest(name: str, names: list[str]) -> str:
    """Name the three of some 1,300 models that are called most like it."""
    found = difflib.get_close_matches(name, names, 3, 0)
    return f"did you mean {', '.join(found)}? timm.list_models() has all."


def _refuse_others(model: Any, config: BackboneConfig, name: str) -> None:
    from timm.models import Eva, VisionTransformer

    if config.kind == "vit":
        refuse_other_vits(model, config.model, name)
    if config.kind == "cnn" and (
        isinstance(model, (Eva, VisionTransformer))
        or not hasattr(model, "forward_intermediates")
        or not isinstance(getattr(model, "feature_info", None), list)
    ):
        raise AdbenchError(
            f"backbone {name!r} ({config.model}) is not a CNN of timm whose stages can be read one by one. Choose one "
            "such as resnet18 or tf_efficientnet_b4."
        )


def refuse_other_vits(model: Any, model_name: str, name: str) -> None:
    """Raise AdbenchError for a model of timm whose blocks or patches can't be read one by one."""
    from timm.layers.patch_embed import PatchEmbed
    from timm.models import Eva, VisionTransformer

    if not isinstance(model, (Eva, VisionTransformer)):
        raise AdbenchError(
            f"backbone {name!r} ({model_name}) is not a ViT of timm whose blocks can be read one by one. Choose one "
            "such as vit_base_patch16_224 or vit_small_patch14_dinov2, or kind: cnn."
        )
    if not isinstance(model.patch_embed, PatchEmbed):
        raise AdbenchError(
            f"backbone {name!r} ({model_name}) is a hybrid: its patches come out of a CNN, so that their size is not "
            "known. Choose a plain ViT such as vit_base_patch16_224."
        )


def architecture(config: BackboneConfig, name: str) -> Architecture:
    """Return the shape of a timm model, found by building it without memory for its weights."""
    return _outline(config.kind, config.model, json.dumps(config.args, sort_keys=True), config.levels, name)[0]


def parameters(config: BackboneConfig, name: str) -> int:
    """Return the number of parameters of a timm model without its classifier."""
    return _outline(config.kind, config.model, json.dumps(config.args, sort_keys=True), config.levels, name)[1]


@functools.cache
def _outline(kind: str, model_name: str, args: str, levels: tuple[int, ...], name: str) -> tuple[Architecture, int]:
    config = BackboneConfig(
        "", model_name, "random", 1, normalisation="none", kind=kind, args=json.loads(args), levels=levels
    )
    with outlines():
        model = new_model(config, name)
    count = sum(p.numel() for p in model.parameters())
    if kind == "cnn":
        found = [
            (int(math.log2(info["reduction"])) - 1, info["num_chs"], info["reduction"]) for info in model.feature_info
        ]
        stages = tuple(Stage(*stage) for stage in found)
        numbers = [stage.number for stage in stages]
        if numbers != sorted(set(numbers)) or min(numbers) < 0:
            raise AdbenchError(
                f"backbone {name!r} ({model_name}) is not possible as kind: cnn: its stages don't halve the image one "
                "after the other."
            )
        return Architecture(
            0, 0, 0, model.num_features, kind=kind, class_token=False, stages=stages, default_levels=levels
        ), count
    patch, class_token = model.patch_embed.patch_size[0], model.cls_token is not None
    if set(model.patch_embed.patch_size) != {patch}:
        raise AdbenchError(
            f"backbone {name!r} is not possible: its patches of {model.patch_embed.patch_size} are no squares."
        )
    shape = Architecture(
        len(model.blocks), model.embed_dim, patch, model.num_features, kind=kind, class_token=class_token,
        registers=model.num_prefix_tokens - class_token, default_levels=levels,
    )  # fmt: skip
    return shape, count


def hub_name(config: BackboneConfig) -> str | None:
    """Return OWNER/NAME under which timm's weights of that tag lie on the hub; none where timm has no such tag."""
    from timm.models import get_pretrained_cfg

    if config.weights not in tags(config):
        return None
    return getattr(get_pretrained_cfg(f"{config.model}.{config.weights}"), "hf_hub_id", None) or None


def tags(config: BackboneConfig) -> list[str]:
    """Return the tags of a timm model's weights."""
    import timm

    return [found.partition(".")[2] for found in timm.list_pretrained(f"{config.model}.*")]


def fitting(state: Mapping[str, Tensor], model: Any) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Return weights of a timm model in the model's own names, and what of them does not fit: missing, and extra.

    timm's filter of the model's family renames what other publishers call otherwise (DINOv2, DINOv3) and resamples the
    positions to the model's grid. A classifier, which no backbone has, is left out. missing: what the model needs, by
    name; extra: what it has no place for.
    """
    state = renamed(state, model)
    heads = (model.pretrained_cfg or {}).get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    state = {key: value for key, value in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    counters = [key for key in wanted if key.endswith("num_batches_tracked") and key not in state]
    missing = {
        key: shape
        for key, shape in wanted.items()
        if key not in counters and (key not in state or tuple(state[key].shape) != shape)
    }
    extra = {key: tuple(value.shape) for key, value in state.items() if key not in wanted}
    return state, missing, extra


def renamed(state: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Return weights in the names of a timm model, with positions resampled to its grid, by its family's filter."""
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    found = dict(state)  # the filter takes tensors out of it
    if rename is not None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints each tensor that it leaves out
                found = rename(found, model)
        except Exception as error:  # tensors of other names and shapes than its conversion expects
            raise AdbenchError(f"timm can't read them as weights of {type(model).__name__}: {said(error)}.") from error
    return found


def build_model(config: BackboneConfig, name: str, size: int, path: Path | None) -> Any:
    """Return timm's model, frozen and in eval mode, with the weights of a safetensors file, or random ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = new_model(config, name, size)
    if path is not None:
        state = read_safetensors(path)
        try:
            state, missing, extra = fitting(state, model)
        except AdbenchError as error:
            raise AdbenchError(
                f"{path} does not hold weights of {config.model} (backbone {name!r}): {error}"
            ) from error
        refuse_unfit(str(path), config, name, state, missing, extra)
        model.load_state_dict(dict(state), strict=False)  # old files hold no counters of batches
    return model.eval().requires_grad_(False)
