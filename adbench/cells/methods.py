"""Resolving a method: its class, its parameters, what it declares, and the network that it may bring."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Any

from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.weights import architecture
from adbench.config import layers
from adbench.config.schema import OWN, Overrides
from adbench.errors import AdbenchError, MethodError, PluginError
from adbench.method import Capability, Method, fault_in, naming_the_method, said_of, unmet, unwritten
from adbench.plugins import registry
from adbench.records.plain import plain


@dataclass(frozen=True, eq=False)
class ResolvedMethod:
    """A method's class, its parameters (also as plain values) and its capability."""

    method_class: type[Method[Any]]
    params: Any
    plain_params: dict[str, Any]
    capability: Capability


def resolve_method(name: str, schedule: str, words: Overrides, backbone: str, shape: Architecture) -> ResolvedMethod:
    """Import a method and resolve its parameters and what it declares."""
    layers.check_installed(name)
    method_class = registry.find("method", name).load()
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        raise PluginError(f"the method {name!r} is {said_of(method_class)}, which is no subclass of adbench.Method.")
    called = name.rpartition(":")[2]
    if missing := unwritten(method_class):
        raise MethodError(f"the method {missing}.")
    if not dataclasses.is_dataclass(getattr(method_class, "Params", None)):
        raise MethodError(f"the method {called} has no dataclass Params: class {called}(Method[Params]) names it.")
    if not isinstance(method_class.version, str):
        raise MethodError(f"the method {called} has version={said_of(method_class.version)}, where a text is needed.")
    with naming_the_method(called, "Params"):
        params = layers.method_params(method_class.Params, name, schedule, words)
    with naming_the_method(called, "capability"):
        capability = method_class.capability(params, shape)
    if isinstance(capability, Capability) and (needed := unmet(capability, shape)):
        raise AdbenchError(
            f"{called} needs {needed}, which {backbone} (kind {shape.kind}) does not have. "
            f"Backbones that do: {', '.join(_suitable(method_class, params)) or 'none is registered'}."
        )
    if fault := fault_in(capability, shape):
        raise MethodError(f"capability() of the method {called} is wrong on {backbone}: {fault}.")
    kept, odd = plain({"params": params, "capability": capability, "version": method_class.version})
    if odd:
        raise AdbenchError(
            f"the method {name} can't be recorded: {odd[0].partition(':')[0]}. Possible are finite numbers, texts, "
            "true, false, null, and lists and dictionaries of these."
        )
    return ResolvedMethod(method_class, params, kept["params"], capability)


def _suitable(method_class: type[Method[Any]], params: Any) -> list[str]:
    """Return the registered backbones that have all that a method needs with these parameters."""
    names = []
    for name in sorted(registry.config_files("backbone")):
        with contextlib.suppress(AdbenchError):  # a YAML of somebody else, or parameters that another depth refuses
            shape = architecture(layers.section(BackboneConfig, "backbone", name), name)
            if unmet(method_class.capability(params, shape), shape) is None:
                names.append(name)
    return names


def own_backbone(method: ResolvedMethod, name: str, words: Overrides) -> BackboneConfig:
    """Return what a method says of the network that it brings, with the user's `backbone.weights=`."""
    if odd := sorted(set(words) - {"weights"}):
        raise AdbenchError(
            f"backbone.{odd[0]}= has no effect: {name} brings its own network, of which backbone.weights= can be set."
        )
    with naming_the_method(name, "own_backbone"):
        config = method.method_class.own_backbone(method.params, words.get("weights"))
    if not isinstance(config, BackboneConfig) or config.kind != OWN:
        raise MethodError(f"own_backbone() of the method {name} returned no BackboneConfig of kind {OWN}.")
    return config


def random_weights(backbone: BackboneConfig, method: str) -> str:
    """Return the warning of a run in which the method's own network is untrained before the fit."""
    return (
        f"WARNING: {backbone.model}, the network of {method}, has random weights. Its figures say nothing of the "
        "method as published: leave backbone.weights=random out, or name a file."
    )
