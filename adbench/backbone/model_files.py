"""Reading a CLIP's model, in open_clip's format, from a JSON file, and saying in one sentence what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adbench.backbone.clip_configs import is_native
from adbench.backbone.config import BackboneConfig
from adbench.errors import AdbenchError
from adbench.system.text import said

# What is read before anything is built, and of these what a plain CLIP has to state.
NUMBERS = {"vision_cfg": ("layers", "width", "patch_size"), "text_cfg": ("layers", "width", "context_length")}
STATED = {"vision_cfg": ("layers", "width", "patch_size"), "text_cfg": ("layers", "width")}
NAMES = {"vision_cfg": ("timm_model_name",), "text_cfg": ("hf_model_name", "hf_tokenizer_name")}


def read_model(file: Path, config: BackboneConfig, name: str) -> dict[str, Any]:
    """Return open_clip's configuration of a CLIP.

    Raises AdbenchError, naming the key, the backbone and the file, where the file can't be read or doesn't say what the
    model is.
    """
    try:
        model = json.loads(file.read_text(encoding="utf-8"))
        fault = fault_in(model)
    except FileNotFoundError:
        fault = "is not there: the JSON file of a model lies next to the backbone's YAML"
    except (OSError, ValueError, RecursionError) as error:
        fault = f"can't be read as JSON ({said(error)})"
    if fault:
        raise AdbenchError(f"backbone.model={config.model} (backbone {name!r}) is not possible: {file} {fault}.")
    return dict(model)


def fault_in(model: object) -> str | None:
    """Return what a JSON value lacks to be open_clip's configuration of a CLIP; None: nothing that is read early.

    >>> fault_in({"embed_dim": 512, "vision_cfg": {"layers": 12, "width": 768}, "text_cfg": {"layers": 12, "width": 8}})
    'has no vision_cfg.patch_size'
    """
    if not isinstance(model, dict):
        return f"holds a {type(model).__name__}, where an object with embed_dim, vision_cfg and text_cfg is needed"
    if missing := [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in model]:
        return f"has no {missing[0]}"
    if not _is_count(model["embed_dim"]):
        return _not_a_count("embed_dim", model["embed_dim"])
    for tower in NUMBERS:
        if not isinstance(model[tower], dict):
            return f"has {tower}={_shown(model[tower])}, where an object is needed"
    return next((why for tower in NUMBERS if (why := _fault_in_tower(model, tower))), None)


def _fault_in_tower(model: Mapping[str, Any], tower: str) -> str | None:
    given = model[tower]
    for key in NAMES[tower]:
        if not isinstance(given.get(key, "") or "", str):
            return f"has {tower}.{key}={_shown(given[key])}, where a name is needed"
    for key in NUMBERS[tower]:
        of_a_cnn = key == "layers" and isinstance(given.get(key), list)
        if given.get(key) is not None and not _is_count(given[key]) and not of_a_cnn:
            return _not_a_count(f"{tower}.{key}", given[key])
    if is_native(model):
        return next((f"has no {tower}.{key}" for key in STATED[tower] if given.get(key) is None), None)
    described = given.get("hf_config")
    if tower == "text_cfg" and described is not None and not isinstance(described, dict):
        return f"has {tower}.hf_config={_shown(described)}, where an object is needed"
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _not_a_count(key: str, value: object) -> str:
    return f"has {key}={_shown(value)}, where a whole number above 0 is needed"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
