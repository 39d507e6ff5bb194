"""Trainer keys, `trainer.X=`: which there are, and which of them can change a result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from adbench.config import ranges
from adbench.errors import AdbenchError, did_you_mean
from adbench.system.text import brief, said

# Keys of the Trainer that adbench itself sets, each with what to do instead.
OWNED = {
    "max_epochs": "use method.epochs=",
    "precision": "use precision=",
    "accelerator": "use device=",
    "deterministic": "use deterministic=",
    "num_nodes": "one cell runs on one machine",
    "use_distributed_sampler": "it deals out the batches itself",
    "callbacks": "there is no key for it",
    "logger": "use logger=",
    "default_root_dir": "there is no key for it",
}
# Keys that are refused, each with the reason: a cell of its own would have the same result as without them, or one that
# depends on more than its configuration.
REFUSED = {
    "max_time": "a result may not depend on the speed of a machine; use method.epochs= or trainer.max_steps=",
    "fast_dev_run": "use method.epochs=1",
    "overfit_batches": "a training learns from its whole support; use shots=",
    "barebones": "it would switch off what adbench reads of a training",
    **dict.fromkeys(
        (
            "limit_val_batches", "limit_test_batches", "limit_predict_batches", "check_val_every_n_epoch",
            "val_check_interval", "num_sanity_val_steps", "inference_mode",
        ),
        "adbench validates and tests without the Trainer, so it has no effect",
    ),
    "reload_dataloaders_every_n_epochs": "a method's data are made once, so it has no effect",
    "enable_autolog_hparams": "it has no effect",
    "model_registry": "it has no effect",
}  # fmt: skip
SWITCHES = ("detect_anomaly", "benchmark", "sync_batchnorm")
NEVER_NULL = ("max_steps", "accumulate_grad_batches")  # numbers for which Lightning takes no null
# Values with which a key is the same as left out, besides null; `benchmark` is what deterministic= makes of it.
UNSET = {
    "devices": 1, "min_epochs": 0, "max_steps": -1, "min_steps": 0, "accumulate_grad_batches": 1,
    "gradient_clip_val": 0, "gradient_clip_algorithm": "norm", "sync_batchnorm": False,
}  # fmt: skip
# Keys that change no result: how several devices work together, what is printed, logged or looked at during a training.
NOT_FACTS = (
    "strategy", "log_every_n_steps", "enable_progress_bar", "enable_model_summary", "enable_checkpointing", "profiler",
    "detect_anomaly",
)  # fmt: skip


def check_trainer(overrides: Mapping[str, Any]) -> None:
    """Raise for `trainer.X=` keys that the Trainer doesn't have or that adbench sets, and for impossible devices."""
    if not overrides:
        return
    from adbench.system.lightning import pl

    allowed = set(pl.Trainer.__init__.__annotations__) - {"return"} - set(OWNED) - set(REFUSED)
    for key in overrides:
        if key in OWNED:
            raise AdbenchError(f"trainer.{key} is set by adbench: {OWNED[key]}.")
        if key in REFUSED:
            raise AdbenchError(f"trainer.{key} is not possible: {REFUSED[key]}.")
        if key not in allowed:
            raise AdbenchError(f"unknown key 'trainer.{key}': {did_you_mean(key, allowed)}")
    ranges.check(overrides, ranges.OF_TRAINER, "trainer")
    for key in SWITCHES:
        if type(overrides.get(key) or False) is not bool:
            raise AdbenchError(f"trainer.{key}={brief(overrides[key])} is not possible: true or false is needed.")
    if overrides.get("limit_train_batches") == 0:
        raise AdbenchError(
            "trainer.limit_train_batches=0 leaves nothing to learn from: at least 1, or a share, is needed."
        )
    for key in ranges.OF_TRAINER.keys() & overrides.keys() - {"devices"}:
        if key not in NEVER_NULL and overrides[key] is None:
            continue
        if type(overrides[key]) not in (int, float):
            raise AdbenchError(
                f"trainer.{key}={brief(overrides[key])} is not possible: a number, {ranges.OF_TRAINER[key]}."
            )
    devices, strategy = overrides.get("devices", 1), overrides.get("strategy", "auto")
    if type(devices) is not int or devices < 1:
        raise AdbenchError(
            f"trainer.devices={devices} is not possible: give a number of devices of this machine, as in 2."
        )
    if strategy not in ("auto", "ddp"):
        raise AdbenchError(
            f"trainer.strategy={strategy} is not possible: the trained part of a method is small, and its copies are "
            "kept equal by trainer.strategy=ddp."
        )
    if strategy == "ddp" and devices == 1:
        raise AdbenchError(
            "trainer.strategy=ddp is for several devices: add trainer.devices=2 or more, or leave it out."
        )

    given = {key: value for key, value in overrides.items() if key not in ("devices", "strategy")}
    for key, value in given.items():
        if why := _refused({key: value}):
            raise AdbenchError(f"trainer.{key}={brief(value)} is not possible: {why}")
    if len(given) > 1 and (why := _refused(given)):
        keys = " ".join(f"trainer.{key}={brief(value)}" for key, value in given.items())
        raise AdbenchError(f"{keys} are not possible together: {why}")


def _refused(given: Mapping[str, Any]) -> str:
    """Return why Lightning makes no Trainer of these keys; empty where it does."""
    import torch

    from adbench.system.lightning import pl

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.WARNING)
    before = torch.are_deterministic_algorithms_enabled()
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    try:
        pl.Trainer(max_epochs=1, accelerator="cpu", devices=1, **{**quiet, "enable_model_summary": False, **given})
    except Exception as error:  # of many classes: Lightning checks some keys and uses others as they are
        return said(error)
    finally:
        torch.use_deterministic_algorithms(before)
    return ""


def trainer_facts(overrides: Mapping[str, Any], deterministic: bool = True) -> dict[str, Any]:
    """Return the `trainer.X=` keys that can change a result, without those whose value is the same as left out.

    >>> trainer_facts({"devices": 2, "strategy": "ddp"}), trainer_facts({"devices": 1, "gradient_clip_val": None})
    ({'devices': 2}, {})
    """
    unset = UNSET | {"benchmark": not deterministic}
    values = {key: _canonical(key, value) for key, value in overrides.items() if key not in NOT_FACTS}
    return {key: value for key, value in values.items() if value is not None and value != unset.get(key)}


def _canonical(key: str, value: Any) -> Any:
    """Return a value as all that mean the same: 1.0 as 1, but of `limit_train_batches`, where it is all, as null."""
    if isinstance(value, float) and value.is_integer():
        return None if (key, value) == ("limit_train_batches", 1) else int(value)
    return value


def num_devices(overrides: Mapping[str, Any]) -> int:
    """Return on how many devices a cell runs."""
    return int(overrides.get("devices", 1))
