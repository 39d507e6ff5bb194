"""What is wrong with a Capability on a backbone of some shape. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adbench.backbone.capability import Capability, Fault
from adbench.backbone.config import ACTIVATIONS, STATISTICS, Architecture

SWITCHES = (
    "pooled", "maps", "stochastic", "grey", "transductive", "text", "class_token", "projection", "word_vectors",
    "own_backbone",
)  # fmt: skip
NUMBERS = ("blocks", "registers", "vv", "stages")


def fault_of(capability: object, shape: Architecture) -> Fault | None:
    """Return what is wrong with what `Method.capability` returned on a backbone of that shape; None: nothing.

    That the backbone is of another kind than the method needs is no fault: `unmet` says it.
    """
    if not isinstance(capability, Capability):
        return Fault("", capability, "a Capability is needed")
    choices: dict[str, tuple[str, ...]] = {
        "support": ("none", "normal", "both"),
        "resize": ("bicubic", "bilinear"),
        "activation": ("native", *ACTIVATIONS),
        "normalisation": ("native", *STATISTICS),
    }
    for name, allowed in choices.items():
        value = getattr(capability, name)
        if not isinstance(value, str) or value not in allowed:
            return Fault(name, value, choices=allowed)
    for name in SWITCHES:
        if not isinstance(value := getattr(capability, name), bool):
            return Fault(name, value, choices=("True", "False"))
    if shape.depth and capability.vv:
        start = capability.vv_from
        if type(start) is not int or not 1 <= start <= shape.depth:
            return Fault("vv_from", start, f"a block from 1 to {shape.depth} is needed")
    possible = _possible(capability, shape)
    for name in NUMBERS:
        chosen, (among, words) = getattr(capability, name), possible.get(name, (range(10**6), "numbers"))
        each = isinstance(chosen, (tuple, list)) and all(type(number) is int and number in among for number in chosen)
        if not each or len(set(chosen)) < len(chosen):
            return Fault(name, chosen, f"{words} can each be named once")
    if isinstance(capability.threshold, float) and not math.isfinite(capability.threshold):
        return Fault("threshold", capability.threshold, "a finite number, or None, is needed")
    return None


def _possible(capability: Capability, shape: Architecture) -> dict[str, tuple[Sequence[int], str]]:
    """Return the numbers that outputs of a backbone have, and what they are in words, by the Capability's field."""
    depth, possible = shape.depth, dict[str, tuple[Sequence[int], str]]()
    if depth:
        blocks = range(depth + 1), f"blocks 1 to {depth} (0: what enters the first)"
        possible |= {"blocks": blocks, "registers": blocks}
    if depth and capability.vv:
        start = capability.vv_from
        possible["vv"] = range(start, depth + 1), f"blocks {start} to {depth}"
    if shape.stages:
        numbers = [stage.number for stage in shape.stages]
        possible["stages"] = numbers, f"stages {', '.join(map(str, numbers))}"
    return possible
