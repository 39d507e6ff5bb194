"""A backbone's architecture and weights file, known without building it.

open_clip takes seconds to import (torchvision, timm), so it is imported where it is needed only.
"""

from __future__ import annotations

import json
from importlib.resources import as_file
from pathlib import Path
from typing import Any

from adbench.backbone.config import Architecture, BackboneConfig
from adbench.data.fingerprint import digest, hash_files
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry
from adbench.system.session import NotThereError

MEMORY = "backbone-weights.json"  # of the hashes of weights files, in the folder `hashes` of the cache


def model_config(config: BackboneConfig, name: str) -> dict[str, Any]:
    """Return open_clip's configuration of the model; anything but a native ViT CLIP is refused."""
    if config.model.endswith(".json"):
        with _beside(name, config.model) as path:
            model = json.loads(path.read_text(encoding="utf-8"))
    else:
        from adbench.backbone.openclip import get_model_config, list_models

        model = get_model_config(config.model)
        if model is None:
            raise AdbenchError(f"open_clip has no model {config.model!r}: {did_you_mean(config.model, list_models())}")
    vision, text = model["vision_cfg"], model["text_cfg"]
    if (
        not isinstance(vision.get("layers"), int)
        or "hf_model_name" in text
        or "timm_model_name" in vision
        or model.get("custom_text")
    ):
        raise AdbenchError(
            f"backbone {name!r} ({config.model}) is not a native open_clip ViT: its blocks can't be read one by one. "
            "Choose one such as ViT-B-16, ViT-L-14 or ViT-L-14-336."
        )
    return {key: model[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}


def architecture(config: BackboneConfig, name: str) -> Architecture:
    """Return the shape of a backbone without building it."""
    model = model_config(config, name)
    vision, text = model["vision_cfg"], model["text_cfg"]
    return Architecture(
        vision["layers"], vision["width"], vision["patch_size"], model["embed_dim"],
        text["layers"], text["width"], text.get("context_length", 77),
    )  # fmt: skip


def model_hash(config: BackboneConfig, name: str) -> str:
    """Return a hash of open_clip's configuration: head counts and the like, which weights alone don't tell."""
    return digest(json.dumps(model_config(config, name), sort_keys=True))[:20]


def weights_file(config: BackboneConfig, name: str, offline: bool = False) -> Path | None:
    """Return the safetensors file of the weights, downloading it where it isn't there; none for random weights.

    `offline`: raise NotThereError instead of downloading.
    """
    text = config.weights
    if text == "random":
        return None
    if "." in Path(text).name or "/" in text:
        with _beside(name, text) as shipped:
            path = shipped if shipped.is_file() else Path(text).expanduser()
        if not path.is_file():
            raise AdbenchError(f"backbone.weights={text} is not a file.{_offer(config)}")
        if path.suffix != ".safetensors":
            raise AdbenchError(
                f"{path} is refused: only safetensors are loaded, never a pickle or TorchScript file.{_offer(config)}"
            )
        return path
    from adbench.backbone.openclip import download_pretrained_from_hf, list_pretrained_tags_by_model

    hub = _hub_name(config)
    if hub is None:
        tags = list_pretrained_tags_by_model(config.model)
        raise AdbenchError(
            f"backbone.weights={text} is unknown for {config.model}: {did_you_mean(text, [*tags, 'random'])}"
        )
    if offline and not _fetched(hub):
        raise NotThereError(f"the weights {text!r} of {config.model} are not fetched yet")
    try:
        return Path(download_pretrained_from_hf(hub, filename="open_clip_model.safetensors"))
    except Exception as error:  # huggingface_hub raises a dozen unrelated types when the network is absent
        raise AdbenchError(
            f"the weights {text!r} of {config.model} are not on this machine and could not be fetched "
            f"({type(error).__name__}). They are offered as open_clip_model.safetensors under {hub}; "
            "with that file at hand: backbone.weights=FILE.safetensors"
        ) from error


def _fetched(hub: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(hub, "open_clip_model.safetensors"), str)


def weights_hash(config: BackboneConfig, name: str, cache: Path, offline: bool = False, since: float = 0.0) -> str:
    """Return the SHA-256 of the weights file; for random weights, a hash of seed and model.

    `since`: seconds since 1970; a hash remembered from before is computed again.
    """
    path = weights_file(config, name, offline)
    if path is None:
        return "random-" + digest(json.dumps([config.seed, model_config(config, name)], sort_keys=True))[:57]
    return _sha256(path, cache, not offline, since)


def check_weights(path: Path | None, expected: str, cache: Path) -> None:
    """Raise AdbenchError where the file that a backbone was loaded from has no longer the SHA-256 that was expected."""
    if path is not None and _sha256(path, cache) != expected:
        raise AdbenchError(f"{path} changed after this command had hashed it. Run the command again.")


def _sha256(path: Path, cache: Path, keep: bool = True, since: float = 0.0) -> str:
    return str(hash_files([path], cache / "hashes" / MEMORY, "weights", keep, since).rows[path][0])


def _offer(config: BackboneConfig) -> str:
    hub = _hub_name(config)
    return f" open_clip's weights are offered as safetensors under {hub}." if hub else ""


def _hub_name(config: BackboneConfig) -> str | None:
    from adbench.backbone.openclip import get_pretrained_cfg

    tag = "openai" if "." in config.weights or "/" in config.weights else config.weights
    model = get_pretrained_cfg(config.model, tag)
    return model.get("hf_hub", "").rstrip("/") or None if model else None


def _beside(name: str, file: str) -> Any:
    """Return the path, as a context, of a file next to the backbone's YAML."""
    folder = next(f for f in registry.config_folders() if (f / "backbone" / f"{name}.yaml").is_file())
    return as_file(folder / "backbone" / file)
