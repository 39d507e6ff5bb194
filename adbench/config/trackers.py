"""Tracker keys: `logger=` and `wandb.X=`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from omegaconf import DictConfig

from adbench.config.layers import merge
from adbench.errors import AdbenchError, did_you_mean

MODES = ("online", "offline")


@dataclass
class WandbConfig:
    """The keys `wandb.X=`. `mode`: online or offline; none: as WANDB_MODE says, else online."""

    project: str = "adbench"
    entity: str | None = None
    tags: list[str] = field(default_factory=list)
    mode: str | None = None


def wandb_config(overrides: Mapping[str, Any]) -> WandbConfig:
    """Return the `wandb.X=` keys; `wandb.tags=a,b` is a list as `[a,b]` is."""
    given = dict(overrides)
    if isinstance(given.get("tags"), str):
        given["tags"] = [tag.strip() for tag in given["tags"].split(",") if tag.strip()]
    config = merge(WandbConfig, {}, DictConfig(given), "wandb")
    if config.mode not in (None, *MODES):
        raise AdbenchError(f"wandb.mode={config.mode} is not possible: {did_you_mean(str(config.mode), MODES)}")
    return config


def check_logger(logger: str, overrides: Mapping[str, Any]) -> None:
    """Raise for `wandb.X=` keys that can't be used and for a logger whose package isn't there; imports neither."""
    if overrides and logger != "wandb":
        raise AdbenchError(
            f"wandb.{next(iter(overrides))}= says how wandb tracks a run: add logger=wandb, or leave it out."
        )
    wandb_config(overrides)
    if logger == "tensorboard" and find_spec("tensorboard") is None:
        raise AdbenchError(
            "logger=tensorboard needs the package tensorboard: pip install 'adbench-medical[tensorboard]'. "
            "logger=csv needs nothing more."
        )
