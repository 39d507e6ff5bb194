"""Which of open_clip's configurations of a CLIP can be read, and what they need. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from adbench.backbone import hf
from adbench.backbone.config import BackboneConfig
from adbench.errors import AbsentError, AdbenchError, did_you_mean
from adbench.system.text import said

Model = Mapping[str, Any]  # open_clip's configuration
KEYS = ("embed_dim", "vision_cfg", "text_cfg", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale")


def is_native(model: Model) -> bool:
    """Whether a model is open_clip's plain CLIP: a ViT and a text transformer of its own, and CLIP's tokenizer."""
    vision = model["vision_cfg"]
    others = needs_folder(model) or "timm_model_name" in vision or model.get("custom_text")
    return isinstance(vision.get("layers"), int) and not others


def is_timm(model: Model) -> bool:
    """Whether the image tower is one of timm's."""
    return bool(model["vision_cfg"].get("timm_model_name"))


def needs_folder(model: Model) -> bool:
    """Whether the text tower or the tokenizer is one of Hugging Face's, which are read from a folder."""
    return bool({"hf_model_name", "hf_tokenizer_name"} & set(model["text_cfg"]))


def refuse_unreadable(model: Model, config: BackboneConfig, name: str) -> None:
    """Raise AdbenchError for a model whose blocks can't be read one by one."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    if is_timm(model):
        import timm

        trunk = vision["timm_model_name"]
        if not timm.is_model(trunk):
            raise AdbenchError(f"timm has no model {trunk!r}: {did_you_mean(trunk, timm.list_models())}")
    elif not isinstance(vision.get("layers"), int):
        raise _unreadable(config, name, "its image tower is a CNN, or its vision_cfg has no number of layers")
    if "multimodal_cfg" in model or text.get("embed_cls"):
        raise _unreadable(config, name, "it writes captions (CoCa), and its text tower has a class token")


def _unreadable(config: BackboneConfig, name: str, why: str) -> AdbenchError:
    return AdbenchError(
        f"backbone {name!r} ({config.model}) has no ViT with a text tower whose blocks can be read one by one: {why}. "
        "Choose one such as ViT-B-16, ViT-L-14-336 or ViT-B-16-SigLIP2."
    )


@contextlib.contextmanager
def building(model_name: str, name: str) -> Iterator[None]:
    """Turn what open_clip, timm or transformers say of impossible values into one sentence."""
    try:
        yield
    except AdbenchError:
        raise
    except Exception as error:  # of any constructor of theirs, for any arguments
        raise AdbenchError(f"backbone {name!r}: open_clip can't build {model_name}: {said(error)}.") from error


def no_folder(model: Model, config: BackboneConfig, name: str) -> AbsentError:
    """Return the error that the folder of the text files is missing."""
    given = f"backbone.text={config.text} is not a folder." if config.text else "backbone.text=FOLDER is missing."
    return AbsentError(f"{given} {hf.ask(name, config.text or 'FOLDER', model['text_cfg'])}")
