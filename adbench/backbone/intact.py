"""Whether a frozen network is still the one that was built: its values, its modules, and the code that they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Marks = Mapping[str, tuple[Any, ...]]


def marks(model: nn.Module) -> Marks:
    """Return by name what changes when somebody writes into a network or patches it; nothing is read from a GPU.

    Of a parameter or buffer torch's count of writes, of a module its class, mode, own `forward` and hooks.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for name, module in model.named_modules():
        own = vars(module)
        hooks = tuple(id(hook) for kind in HOOKS for hook in own[kind].values() if not is_own(hook))
        found[name] = (id(module), type(module), module.training, id(own.get("forward")), hooks)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[name] = (id(tensor), tensor.data_ptr(), tensor._version)
    return found


def changed(before: Marks, model: nn.Module) -> str | None:
    """Say what has changed in a network since its marks were taken; None: nothing.

    >>> network = nn.Sequential(nn.Linear(2, 2))
    >>> before = marks(network)
    >>> changed(before, network)
    >>> network[0].forward = lambda x: x
    >>> changed(before, network)
    "0 runs other code than it was built with, has hooks or isn't in eval mode"
    """
    now = marks(model)
    if now == before:
        return None
    for name, mark in before.items():
        if name not in now:
            return f"{name} is gone"
        if now[name] != mark:
            of_module = isinstance(mark[1], type)
            return (
                f"{name or 'it'} runs other code than it was built with, has hooks or isn't in eval mode"
                if of_module
                else f"{name} was written into or replaced"
            )
    return None


def is_own(hook: Any) -> bool:
    """Whether a hook is one by which a backbone itself watches what enters a layer, put there when it first does so."""
    return str(getattr(hook, "__module__", "")).startswith("adbench.backbone.") and not isinstance(hook, nn.Module)
