"""Resolving a method: its class, its parameters, what it declares, and the network that it may bring."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from adbench.backbone.capability import Capability, DeclarationError, Fault, unmet
from adbench.backbone.config import Architecture, BackboneConfig
from adbench.backbone.faults import fault_of
from adbench.backbone.weights import architecture
from adbench.config import layers
from adbench.config.schema import OWN, Overrides
from adbench.errors import AdbenchError, MethodError, PluginError
from adbench.plugins import registry
from adbench.records.plain import plain

if TYPE_CHECKING:  # imports torch and Lightning, which a plan of methods that have been asked before does without
    from adbench.method import Method


class Asked(NamedTuple):
    """What a method is asked: its parameters and capability with these words, on a backbone of that shape."""

    name: str
    schedule: str
    words: Overrides
    backbone: str
    shape: Architecture


class Said(NamedTuple):
    """What else is read off a method's class.

    level_maps: whether it draws maps of single levels. source, source_hash: see `registry.Entry`.
    """

    level_maps: bool
    source: str | None
    source_hash: str | None


@dataclass(frozen=True, eq=False)
class ResolvedMethod:
    """What a method declares with its parameters, which are plain values here.

    load: returns its class and its typed parameters. said: what was read off the class before, or None.
    """

    asked: Asked
    plain_params: dict[str, Any]
    capability: Capability
    version: str
    load: Callable[[], tuple[type[Method[Any]], Any]]
    said: Said | None = None

    @property
    def method_class(self) -> type[Method[Any]]:
        """Its class."""
        return self.load()[0]

    @property
    def params(self) -> Any:
        """Its parameters, an object of its class's `Params`."""
        return self.load()[1]

    @property
    def level_maps(self) -> bool:
        """Whether it draws maps of single levels."""
        if self.said:
            return self.said.level_maps
        from adbench.method import Method

        return self.method_class.level_maps is not Method.level_maps

    @property
    def source(self) -> str | None:
        """What tells it from others of its name (`registry.Entry.source`)."""
        return self.said.source if self.said else registry.find("method", self.asked.name).source(self.method_class)

    @property
    def source_hash(self) -> str | None:
        """The hash of its source, where a package of somebody else brings it (`registry.Entry.source_hash`)."""
        if self.said:
            return self.said.source_hash
        return registry.find("method", self.asked.name).source_hash(self.method_class)

    @property
    def files(self) -> dict[str, Any]:
        """What each parameter of `Method.files` names; nothing where the class was not asked, see `answers`."""
        return {} if self.said else {key: getattr(self.params, key) for key in self.method_class.files}


def resolve_method(name: str, schedule: str, words: Overrides, backbone: str, shape: Architecture) -> ResolvedMethod:
    """Import a method and resolve its parameters and what it declares."""
    layers.check_installed(name)
    from adbench.method import Method, naming_the_method, said_of, unwritten

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
    try:
        with naming_the_method(called, "capability"):
            capability = method_class.capability(params, shape)
    except DeclarationError as error:
        raise _wrong(error.fault, called, backbone, params, words) from error
    if isinstance(capability, Capability) and (needed := unmet(capability, shape)):
        raise AdbenchError(
            f"{called} needs {needed}, which {backbone} (kind {shape.kind}) does not have. "
            f"Backbones that do: {', '.join(_suitable(method_class, params)) or 'none is registered'}."
        )
    if fault := fault_of(capability, shape):
        raise _wrong(fault, called, backbone, params, words)
    kept, odd = plain({"params": params, "capability": capability, "version": method_class.version})
    if odd:
        raise AdbenchError(
            f"the method {name} can't be recorded: {odd[0].partition(':')[0]}. Possible are finite numbers, texts, "
            "true, false, null, and lists and dictionaries of these."
        )
    asked = Asked(name, schedule, words, backbone, shape)
    return ResolvedMethod(asked, kept["params"], capability, method_class.version, lambda: (method_class, params))


def _wrong(fault: Fault, method: str, backbone: str, params: Any, words: Overrides) -> AdbenchError:
    """Return the error for a wrong Capability: the user's, where it passes on what the words say, else the method's."""
    for key in words:
        if _passed_on(fault, key, value := getattr(params, key, None)):
            return AdbenchError(f"method.{key}={value} is not possible: {fault.remedy}")
    return MethodError(f"capability() of the method {method} is wrong on {backbone}: {fault}.")


def _passed_on(fault: Fault, key: str, value: object) -> bool:
    """Whether a parameter is what a field of a Capability was filled with: `blocks` by blocks, levels or patch_block.

    >>> _passed_on(Fault("blocks", (0, 13)), "patch_block", 13), _passed_on(Fault("blocks", (13,)), "epochs", 13)
    (True, False)
    """
    if not isinstance(fault.value, (tuple, list)):
        return key == fault.field and value == fault.value
    names = (fault.field, fault.field.removesuffix("s"), "levels")
    if not any(key == name or key.endswith(f"_{name}") for name in names):
        return False
    return tuple(value) == tuple(fault.value) if isinstance(value, (tuple, list)) else value in fault.value


def _suitable(method_class: type[Method[Any]], params: Any) -> list[str]:
    """Return the registered backbones that have all that a method needs with these parameters."""
    from adbench.method import naming_the_method

    names = []
    for name in sorted(registry.config_files("backbone")):
        # A backbone or method of somebody else may be broken, and another depth may refuse the parameters.
        with contextlib.suppress(AdbenchError), naming_the_method(method_class.__name__, "capability"):
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
    from adbench.method import naming_the_method

    with naming_the_method(name, "own_backbone"):
        config = method.method_class.own_backbone(method.params, words.get("weights"))
    if not isinstance(config, BackboneConfig) or config.kind != OWN:
        raise MethodError(f"own_backbone() of the method {name} returned no BackboneConfig of kind {OWN}.")
    return config


def random_weights(backbone: BackboneConfig, method: str) -> str:
    """Return the warning of a run in which the method's own network is untrained before the fit."""
    return (
        f"warning: {backbone.model}, the network of {method}, has random weights. Its figures say nothing of the "
        "method as published: leave backbone.weights=random out, or name a file."
    )
