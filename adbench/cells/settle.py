"""Settling a configuration: keys without effect get one value for all cells, and the rule of the epoch is checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from adbench.backbone.capability import Capability
from adbench.cells.cell import ELSEWHERE, FULL_SPLIT
from adbench.cells.methods import ResolvedMethod
from adbench.cells.protocols import LEARNS_FROM
from adbench.config.schema import OWN, RunConfig
from adbench.config.trainer import trainer_facts
from adbench.config.words import defaults
from adbench.errors import AdbenchError


def settle(config: RunConfig, method: ResolvedMethod, protocol: str) -> tuple[RunConfig, list[str]]:
    """Set the keys that can have no effect here to the values that all such cells share; return a note on each."""
    capability = method.capability
    notes: list[str] = []

    def set_to(note: str, **keys: Any) -> None:
        nonlocal config
        config = dataclasses.replace(config, **keys)
        notes.append(note)

    if capability.own_backbone and config.backbone != OWN:
        if config.backbone != defaults()["backbone"]:
            notes.append(f"{config.method_name} brings its own network: backbone={config.backbone} has no effect.")
        config = dataclasses.replace(config, backbone=OWN)
    if capability.support == "none" and (config.shots or config.draw):
        set_to(f"{config.method_name} learns from no image: shots and draw are set to 0.", shots=0, draw=0)
    if protocol in FULL_SPLIT and config.shots != "full":
        set_to("protocol=full_normal takes every normal image of the train split: shots is set to full.", shots="full")
    if config.draw and (config.shots == "full" or config.support):
        why = f"support={config.support} names its images" if config.support else "shots=full takes every image"
        set_to(f"{why}: draw is set to 0.", draw=0)
    if "support_split" in config.words("dataset") and (why := _no_support_split(config, capability, protocol)):
        rest = {key: value for key, value in config.words("dataset").items() if key != "support_split"}
        set_to(f"{why}: dataset.support_split has no effect.", overrides=config.overrides | {"dataset": rest})
    if not capability.stochastic and config.seed:
        set_to(f"{config.method_name} draws no random number here: seed is set to 0.", seed=0)
    rule, epochs = config.selection, capability.epochs
    if epochs == 0 and rule != "last":
        set_to(f"{config.method_name} has no epochs: selection is set to last.", selection="last")
    elif rule == f"fixed:{epochs}" and not _may_end_early(config, method):
        set_to(f"selection={rule} is the last epoch: selection is set to last.", selection="last")
    if not capability.maps and config.eval_size != defaults()["eval_size"]:
        note = f"{config.method_name} draws no maps here: eval_size is set to {defaults()['eval_size']}."
        set_to(note, eval_size=defaults()["eval_size"])
    unused = [f"trainer.{key}" for key in sorted(config.words("trainer").keys() - {"devices", "strategy"})]
    unused += ["loader_workers"] if config.loader_workers else []
    if epochs == 0 and unused:
        have = "has" if len(unused) == 1 else "have"
        notes.append(f"{config.method_name} has no epochs: {', '.join(unused)} {have} no effect.")
    return config, notes


def _may_end_early(config: RunConfig, method: ResolvedMethod) -> bool:
    """Whether a training may be over before its last epoch: `fixed:N` is then an error, and `last` is not.

    No method that adbench brings ends its training by itself; of others nothing declares it.
    """
    return "max_steps" in trainer_facts(config.words("trainer")) or method.source is not None


def check_selection(config: RunConfig, capability: Capability) -> None:
    """Raise AdbenchError where the training that a settled configuration asks for has no epoch as `selection=` says."""
    rule, epochs = config.selection, capability.epochs
    if epochs == 0:
        return
    if rule.startswith("fixed:") and (wanted := int(rule.removeprefix("fixed:"))) > epochs:
        raise AdbenchError(
            f"selection={rule} is not possible: {config.method_name} runs {epochs} epochs here. "
            f"Use selection=fixed:{epochs} or fewer, or method.epochs={wanted}."
        )
    if rule == "support_cv" and capability.support != "both":
        raise AdbenchError(
            f"selection=support_cv is not possible for {config.method_name}: it learns from "
            f"{LEARNS_FROM[capability.support]}. Use selection=last or fixed:N."
        )
    trainer = trainer_facts(config.words("trainer"))
    late = {"min_epochs", "min_steps"} & trainer.keys()
    if late and (rule != "last" or config.operating == "support_cv"):
        asks = f"selection={rule}" if rule != "last" else "operating=support_cv"
        raise AdbenchError(
            f"trainer.{min(late)} is not possible with {asks}, which may end a training earlier. Leave it out, or use "
            "selection=last and another operating=."
        )
    if (least := trainer.get("min_epochs", 0)) > epochs:
        raise AdbenchError(
            f"trainer.min_epochs={least} is not possible: {epochs} epochs are run. Use method.epochs={least}, or leave "
            "it out."
        )


def _no_support_split(config: RunConfig, capability: Capability, protocol: str) -> str:
    """Say why no support comes from `support_split` of the tested dataset; empty where one does."""
    if capability.support == "none":
        return f"{config.method_name} learns from no image"
    if protocol in FULL_SPLIT:
        return "protocol=full_normal takes every normal image of the train split"
    if protocol == "leave_one_out_published":
        return "protocol=leave_one_out_published learns from test splits"
    if protocol in ELSEWHERE and config.dataset not in (config.train_on or "").split("+"):
        return f"protocol={protocol} learns from other datasets"
    return ""
