"""How the modules of a network are put together, beyond weights: forward functions, hooks, parts and plain numbers."""

from __future__ import annotations

from typing import Any

from torch import nn

from adbench.backbone.intact import is_own

APART = ("_parameters", "_buffers", "training")  # compared as weights and mode


def wiring(model: nn.Module) -> list[tuple[str, nn.Module, dict[str, Any]]]:
    """Return name and attributes of every module; hooks and parts as copies, in their order."""
    return [(name, module, _attributes(module)) for name, module in model.named_modules()]


def rewired(before: list[tuple[str, nn.Module, dict[str, Any]]]) -> str | None:
    """Return what is other than it was, in words, or None."""
    for name, module, attributes in before:
        now, of = _attributes(module), f" of {name or 'the model'}"
        for key in sorted(now.keys() | attributes.keys()):
            if key in now and key in attributes and _same(now[key], attributes[key]):
                continue
            if key.endswith("_hooks"):
                return f"a hook on {name or 'the model'} ({key.strip('_')})"
            return f"{'parts' if key == '_modules' else key}{of} replaced"
    return None


def rewire(before: list[tuple[str, nn.Module, dict[str, Any]]]) -> None:
    """Put everything back as it was."""
    for _, module, attributes in before:
        for key in _attributes(module).keys() - attributes.keys():
            del vars(module)[key]
        for key, value in attributes.items():
            if isinstance(value, dict):
                held = vars(module)[key]
                own = {number: hook for number, hook in held.items() if is_own(hook)}
                held.clear()
                held.update(value | own)
            else:
                vars(module)[key] = value


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return hooks and parts of a module, its numbers, texts and functions, and what hides a function of its class."""
    found: dict[str, Any] = {}
    for key, value in vars(module).items():
        if key.endswith("_hooks") or key == "_modules":
            found[key] = {name: part for name, part in value.items() if not is_own(part)}
        elif key not in APART and (
            isinstance(value, (bool, int, float, str)) or (callable(value) and hasattr(type(module), key))
        ):
            found[key] = value
    return found


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(a is b for a, b in zip(one.values(), two.values(), strict=True))
    return one is two or (isinstance(one, (bool, int, float, str)) and bool(one == two))
