"""Building anomalib's module, with its own preprocessing and network, and nothing else of its pipeline."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adbench.backbone.tensors import read_safetensors, refuse_endless
from adbench.backbone.timm_models import fitting
from adbench.data.fingerprint import CONTENT
from adbench.errors import AdbenchError

from .models import Model

OFF = {"post_processor": False, "evaluator": False, "visualizer": False}
# Both Lightnings log through the logger of the one that was imported last.
LOGGERS = ("anomalib", "lightning.pytorch", "lightning.fabric", "pytorch_lightning", "lightning_fabric", "timm")


@contextlib.contextmanager
def apart(seed: int) -> Iterator[None]:
    """Run a block of anomalib's with every global generator seeded, silently, and leave no trace in timm or torch.

    It draws from the global generators of torch, NumPy and Python, logs, warns, and makes timm's ViTs resample their
    positions without antialiasing in the whole process.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        vit: Any = importlib.import_module("timm.models.vision_transformer")
        kept = random.getstate(), np.random.get_state()  # noqa: NPY002
        resample, levels = vit.resample_abs_pos_embed, {name: logging.getLogger(name).level for name in LOGGERS}
        torch.manual_seed(seed), random.seed(seed), np.random.seed(seed % 2**32)  # noqa: NPY002
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            random.setstate(kept[0]), np.random.set_state(kept[1])  # noqa: NPY002
            vit.resample_abs_pos_embed = resample
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def build(
    name: str, row: Model, args: Mapping[str, Any], size: int, weights: Path | None = None, fetches: bool = False
) -> Any:
    """Return anomalib's module for square images of `size` pixels.

    weights: a safetensors file for its network; None: random weights, or no network. fetches: the constructor takes the
    pretrained weights of that name from the Hugging Face cache.
    """
    import anomalib.models.image as image_models

    model_class = getattr(image_models, name)
    asked: dict[str, Any] = dict(args) | OFF | {"pre_processor": preprocessing(model_class, size)}
    if row.switch:
        asked["pre_trained"] = fetches
    try:
        inner = model_class(**asked)
    except (TypeError, ValueError, OSError, RuntimeError, KeyError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise AdbenchError(f"anomalib's {name} can't be built with method.args={dict(args)}: {reason}") from error
    if weights is not None:
        _load(inner, weights, name)
    return inner


def was_fitted_with(textures: str | None) -> bool:
    """Whether this is the hash of pictures, which a record has in place of their folder: nothing more is fitted."""
    return (textures or "").startswith(CONTENT)


@contextlib.contextmanager
def pictures(folder: str | None) -> Iterator[str]:
    """Give the folder of the pictures that a model pastes; an empty one to a model that was fitted with them.

    Without a folder anomalib would fetch one.
    """
    if folder is not None and not was_fitted_with(folder):
        yield str(Path(folder).expanduser())
        return
    with tempfile.TemporaryDirectory() as empty:
        yield empty


def preprocessing(model_class: Any, size: int) -> Any:
    """Return a model's pre-processor for another size, and without centre crop: maps are of the whole image."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import CenterCrop, Compose, Resize

    default = model_class.configure_pre_processor().transform
    steps = []
    for step in getattr(default, "transforms", [default]):
        if isinstance(step, Resize):
            steps.append(Resize((size, size), interpolation=step.interpolation, antialias=True))
        elif not isinstance(step, CenterCrop):
            steps.append(step)
    return PreProcessor(Compose(steps))


def sort_pictures(inner: Any, name: str) -> None:
    """Bring the pictures that a model pastes into one order on every file system; without any, it would paste noise."""
    found = [one.anomaly_source_paths for one in vars(inner).values() if hasattr(one, "anomaly_source_paths")]
    found += [one.anomaly_source_paths for one in inner.modules() if hasattr(one, "anomaly_source_paths")]
    if not any(found):
        raise AdbenchError(f"method.textures= names a folder without pictures, which anomalib's {name} pastes.")
    for paths in found:
        paths.sort()


def _load(inner: Any, weights: Path, name: str) -> None:
    """Load a file into the one timm model that a module holds."""
    networks = {id(one): one for one in inner.modules() if getattr(one, "pretrained_cfg", None)}
    if len(networks) != 1:
        raise AdbenchError(
            f"anomalib's {name} holds {len(networks)} networks of timm's: a file can be loaded into one."
        )
    (network,) = networks.values()
    state, missing, _ = fitting(read_safetensors(weights), network)
    if missing:
        raise AdbenchError(
            f"{weights} does not hold {next(iter(missing))}, which the network of anomalib's {name} needs."
        )
    used = {key: value for key, value in state.items() if key in network.state_dict()}
    refuse_endless(str(weights), used)
    network.load_state_dict(used)
