"""A backbone's architecture and weights file, known without building it.

open_clip takes seconds to import (torch, torchvision, timm), so it is imported where it is needed only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from importlib.resources import as_file
from pathlib import Path
from typing import Any

from adbench.backbone import clip_configs, hf
from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.model_files import read_model
from adbench.config.schema import OWN
from adbench.data.fingerprint import digest, hash_files
from adbench.errors import AbsentError, AdbenchError, did_you_mean
from adbench.plugins import registry
from adbench.system.session import NotThereError
from adbench.system.text import said

MEMORY = "backbone-weights.json"  # of the hashes of weights files, in the folder `hashes` of the cache
HUB = "hf-hub:"
PICKLES = (".bin", ".pth", ".pt", ".ckpt")


def model_config(config: BackboneConfig, name: str) -> dict[str, Any]:
    """Return what makes the model: open_clip's configuration of a CLIP, or timm's name and arguments.

    A model whose outputs can't be read one by one is refused.
    """
    if config.kind != "clip":
        return {"kind": config.kind, "model": config.model, "args": config.args}
    model = clip_config(config, name)
    if clip_configs.is_native(model):
        return {key: model[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}
    folder = text_folder(config, name)
    if folder is None and clip_configs.needs_folder(model):
        raise clip_configs.no_folder(model, config, name)
    texts = {} if folder is None else {"text_files": hf.files_of(folder)}
    return {key: model[key] for key in clip_configs.KEYS if key in model} | texts


def clip_config(config: BackboneConfig, name: str) -> dict[str, Any]:
    """Return open_clip's configuration of a CLIP; one whose blocks can't be read one by one is refused."""
    if config.model.endswith(".json"):
        with _beside(name, config.model) as path:
            model = read_model(path, config, name)
    else:
        from adbench.backbone.openclip import get_model_config, list_models

        model = get_model_config(config.model)
        if model is None:
            raise AdbenchError(f"open_clip has no model {config.model!r}: {did_you_mean(config.model, list_models())}")
    needs_folder = False
    if not clip_configs.is_native(model):
        clip_configs.refuse_unreadable(model, config, name)
        needs_folder = clip_configs.needs_folder(model)
    if needs_folder and not config.text:
        raise clip_configs.no_folder(model, config, name)
    if config.text and not needs_folder:
        raise AdbenchError(f"backbone.text={config.text} has no effect: {name} reads texts with CLIP's own tokenizer.")
    return model


def text_folder(config: BackboneConfig, name: str) -> Path | None:
    """Return the folder of a CLIP's text configuration and tokenizer; none where none is named, or it isn't there."""
    if not config.text:
        return None
    with _beside(name, config.text) as shipped:
        folder = shipped if shipped.is_dir() else Path(config.text).expanduser()
    return folder if folder.is_dir() else None


def architecture(config: BackboneConfig, name: str) -> Architecture:
    """Return the shape of a backbone without building it; of a method's own network there is nothing to read."""
    if config.kind == OWN:
        return Architecture(0, 0, 0, 0, kind=OWN, class_token=False, projection=False, word_vectors=False)
    if config.kind != "clip":
        from adbench.backbone import timm_models

        return timm_models.architecture(config, name)
    model = clip_config(config, name)
    if not clip_configs.is_native(model):
        from adbench.backbone import other_models

        return other_models.architecture(model, config, name, text_folder(config, name))
    vision, text = model["vision_cfg"], model["text_cfg"]
    return Architecture(
        vision["layers"], vision["width"], vision["patch_size"], model["embed_dim"],
        text["layers"], text["width"], text.get("context_length", 77), default_levels=config.levels,
    )  # fmt: skip


def model_hash(config: BackboneConfig, name: str) -> str:
    """Return a hash of what makes the model: head counts and the like, which weights alone don't tell.

    Its own mean and standard deviation are part of it, where no name stands for them.
    """
    own = {"mean": config.mean, "std": config.std} if config.normalisation == "own" else {}
    return digest(json.dumps(model_config(config, name) | own, sort_keys=True))[:20]


def parameters(config: BackboneConfig, name: str) -> int | None:
    """Return the number of parameters of a backbone without building it; none where its text folder has to say it."""
    if config.kind != "clip":
        from adbench.backbone import timm_models

        return timm_models.parameters(config, name)
    model = clip_config(config, name)
    if not clip_configs.is_native(model):
        folder = text_folder(config, name)
        if folder is None and "hf_model_name" in model["text_cfg"]:
            return None
        from adbench.backbone import other_models

        return other_models.parameters(model, config, name, folder)
    from adbench.backbone.openclip import outline

    with clip_configs.building(config.model, name):
        return sum(p.numel() for p in outline(model_config(config, name)).parameters())


def is_here(config: BackboneConfig, name: str) -> bool:
    """Whether the weights, and a text folder where one is named, are on this machine; nothing is fetched."""
    try:
        weights_file(config, name, offline=True)
    except (AdbenchError, NotThereError):
        return False
    return True


def weights_file(config: BackboneConfig, name: str, offline: bool = False) -> Path | None:
    """Return the safetensors file of the weights, downloading it where it isn't there; none for random or no weights.

    `offline`: raise NotThereError instead of downloading.
    """
    text = config.weights
    if config.text and text_folder(config, name) is None:  # before anything large is fetched
        raise clip_configs.no_folder(clip_config(config, name), config, name)
    if text == "random" or (text == "none" and config.kind == OWN):
        return None
    if text.startswith(HUB):
        owner, model, file = _parts_of(text)
        return _from_hub(f"{owner}/{model}", file, config, offline)
    if is_path(text):
        convert = f" adbench weights convert {{}} --backbone {name} makes safetensors of a published file of tensors."
        with _beside(name, text) as shipped:
            path = shipped if shipped.is_file() else Path(text).expanduser()
        if not path.is_file():
            raise AbsentError(f"backbone.weights={text} is not a file.{_offer(config)}{convert.format('FILE')}")
        if path.suffix != ".safetensors":
            raise AdbenchError(
                f"{path} is refused: only safetensors are loaded, never a pickle or TorchScript file.{_offer(config)}"
                + (convert.format(path) if path.suffix in PICKLES else "")
            )
        return path
    hub = _hub_name(config)
    if hub is None:
        raise AdbenchError(
            f"backbone.weights={text} is unknown for {config.model}: {did_you_mean(text, [*_tags(config), 'random'])}"
        )
    return _from_hub(hub, _hub_file(config), config, offline)


def is_path(text: str) -> bool:
    """Whether a value of `weights` is a file, and no tag.

    >>> is_path("w.safetensors"), is_path("openai")
    (True, False)
    """
    return "." in Path(text).name or "/" in text


def _parts_of(text: str) -> tuple[str, str, str]:
    """Return owner, name and file of `hf-hub:OWNER/NAME/FILE.safetensors`."""
    parts = text.removeprefix(HUB).split("/", 2)
    if len(parts) != 3 or not all(parts) or not parts[2].endswith(".safetensors"):
        raise AdbenchError(f"backbone.weights={text} is not possible: write {HUB}OWNER/NAME/FILE.safetensors.")
    return parts[0], parts[1], parts[2]


def _from_hub(hub: str, file: str, config: BackboneConfig, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    what = f"the weights {config.weights!r} of {config.model}"
    if isinstance(there := try_to_load_from_cache(hub, file), str):
        return Path(there)
    if offline:
        raise NotThereError(f"{what} are not fetched yet")
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)  # it tells of each of its attempts
    try:
        return Path(hf_hub_download(hub, file, etag_timeout=5))
    except Exception as error:  # huggingface_hub raises a dozen unrelated types when the network is absent
        raise AbsentError(
            f"{what} are not on this machine, and {_why(error)}. Download "
            f"https://huggingface.co/{hub}/resolve/main/{file} elsewhere and add backbone.weights=FILE.safetensors; "
            f"or try without them: {'backbone.weights=random' if config.kind == OWN else 'backbone=phantom-clip'}."
        ) from error
    finally:
        logger.setLevel(before)


def _why(error: Exception) -> str:
    """Say why huggingface_hub fetched nothing: no network, or what the hub answered."""
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, GatedRepoError):
        return "huggingface.co gives them to those alone who accepted their terms and are logged in (hf auth login)"
    if isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so that nothing is fetched"
    if isinstance(error, (LocalEntryNotFoundError, ConnectionError)):
        return "huggingface.co could not be reached"
    return f"huggingface.co did not give them: {said(error)}"


def _tags(config: BackboneConfig) -> list[str]:
    if config.kind == "clip":
        from adbench.backbone.openclip import list_pretrained_tags_by_model

        return list(list_pretrained_tags_by_model(config.model))
    from adbench.backbone import timm_models

    return timm_models.tags(config)


def _hub_file(config: BackboneConfig) -> str:
    return "open_clip_model.safetensors" if config.kind == "clip" else "model.safetensors"


def weights_hash(config: BackboneConfig, name: str, cache: Path, offline: bool = False, since: float = 0.0) -> str:
    """Return the SHA-256 of the weights file; for random weights, a hash of seed and model; `none` where it has none.

    `since`: seconds since 1970; a hash remembered from before is computed again.
    """
    path = weights_file(config, name, offline)
    if path is None and config.weights == "none":
        return "none"
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
    if config.kind == "clip":
        hub = _hub_name(dataclasses.replace(config, weights="openai" if is_path(config.weights) else config.weights))
        return f" open_clip's weights are offered as safetensors under {hub}." if hub else ""
    return ""


def _hub_name(config: BackboneConfig) -> str | None:
    if config.kind == "clip":
        from adbench.backbone.openclip import get_pretrained_cfg

        model = get_pretrained_cfg(config.model, config.weights)
        return model.get("hf_hub", "").rstrip("/") or None if model else None
    from adbench.backbone import timm_models

    return timm_models.hub_name(config)


def _beside(name: str, file: str) -> Any:
    """Return the path, as a context, of a file next to the backbone's YAML; as it is where no YAML has that name."""
    for folder in registry.config_folders():
        if (folder / "backbone" / f"{name}.yaml").is_file():
            return as_file(folder / "backbone" / file)
    return contextlib.nullcontext(Path(file))
