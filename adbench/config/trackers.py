"""The keys `logger=` and `wandb.X=`."""

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


def wandb_config(words: Mapping[str, Any]) -> WandbConfig:
    """Return the `wandb.X=` keys; `wandb.tags=a,b` is a list as `[a,b]` is."""
    given = dict(words)
    if isinstance(given.get("tags"), str):
        given["tags"] = [tag.strip() for tag in given["tags"].split(",") if tag.strip()]
    found = merge(WandbConfig, {}, DictConfig(given), "wandb")
    if found.mode not in (None, *MODES):
        raise AdbenchError(f"wandb.mode={found.mode} is not possible: {did_you_mean(str(found.mode), MODES)}")
    return found


def check_logger(logger: str, words: Mapping[str, Any]) -> None:
    """Raise for `wandb.X=` keys that can't be used and for a logger whose package isn't there; imports neither."""
    if words and logger != "wandb":
        raise AdbenchError(
            f"wandb.{next(iter(words))}= says how wandb tracks a run: add logger=wandb, or leave it out."
        )
    wandb_config(words)
    if logger == "tensorboard" and find_spec("tensorboard") is None:
        raise AdbenchError(
            "logger=tensorboard needs the package tensorboard: pip install 'adbench-medical[tensorboard]'. "
            "logger=csv needs nothing more."
        )
